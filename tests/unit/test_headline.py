"""The main figure of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from raylike.commits import Commit
from raylike.headline import headline
from raylike.tables import TABLES
from raylike.workspace import Workspace


def row(model: str, features: str, evaluation: str, ap: float) -> dict[str, Any]:
    names = ("roc_auc", "accuracy", "spearman", "pair_accuracy")
    figures = {f"{name}{end}": 0.5 for name in names for end in ("", "_low", "_high")}
    return {
        "model": model, "features": features, "evaluation": evaluation, "n": 150, "positive_rate": 0.48,
        "ap": ap, "ap_low": ap - 0.05, "ap_high": ap + 0.05, **figures, "weights": "none",
        "parameters": "{}", "seconds": 1.0,
    }  # fmt: skip


def fill(workspace: Workspace, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=TABLES["results"].schema)
    workspace.write("results", table, Commit("classify", "x"))


def test_there_is_none_before_a_model_was_tested(workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    assert headline(workspace) is None
    fill(workspace, [row("oracle", "truth", "test", 0.7), row("LinearSVC", "fc6", "cross-validation", 0.6)])
    assert headline(workspace) is None


def test_the_best_is_chosen_by_cross_validation_and_stands_between_chance_and_oracle(
    workspace_path: Path,
) -> None:
    workspace = Workspace(workspace_path)
    scores = [
        ("LinearSVC", "fc6", 0.60, 0.66),
        ("RandomForest", "fc7", 0.63, 0.61),
        ("hours", "metadata", 0.9, 0.9),
    ]
    rows = [
        row(model, features, evaluation, ap)
        for model, features, validated, tested in scores
        for evaluation, ap in (("cross-validation", validated), ("test", tested))
    ]
    fill(workspace, [*rows, row("oracle", "truth", "test", 0.7)])
    assert headline(workspace) == (
        "best on 150 test photos: RandomForest on fc7, average precision 0.610 (95 % 0.560 to 0.660); "
        "chance 0.480, oracle 0.700"
    )
