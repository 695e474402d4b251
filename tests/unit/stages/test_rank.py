"""Test photos in order, by the model that cross-validation preferred and by the fine-tuned one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raylike.errors import StageError
from raylike.stages import rank
from raylike.tables import RESULTS
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import context, write


def write_results(path: Path, aps: dict[tuple[str, str, str], float]) -> None:
    columns: dict[str, Any] = {field.name: [0.5] * len(aps) for field in RESULTS.schema}
    columns["model"], columns["features"], columns["evaluation"] = (
        list(part) for part in zip(*aps, strict=True)
    )
    columns |= {
        "ap": list(aps.values()),
        "n": [3] * len(aps),
        "weights": [""] * len(aps),
        "parameters": ["{}"] * len(aps),
    }
    write(path, "results", columns)


def write_predictions(path: Path, table: str, model: str, features: str, probability: list[float]) -> None:
    n = len(probability)
    write(
        path,
        table,
        {
            "post_id": [f"post{i}" for i in range(n)],
            "model": [model] * n,
            "features": [features] * n,
            "evaluation": ["cross-validation"] + ["test"] * (n - 1),
            "score": [float(i) for i in range(n)],
            "probability": probability,
        },
    )


def test_the_best_photo_model_by_cross_validation_ranks_the_test_photos(tmp_path: Path) -> None:
    aps = {
        ("LinearSVC", "fc6", "cross-validation"): 0.6,
        ("LinearSVC", "fc6", "test"): 0.5,
        ("RandomForest", "fc7", "cross-validation"): 0.55,
        ("RandomForest", "fc7", "test"): 0.9,
        ("logistic regression", "metadata", "cross-validation"): 0.7,
        ("oracle", "truth", "cross-validation"): 0.8,
    }
    write_results(tmp_path, aps)
    write_predictions(tmp_path, "predictions", "LinearSVC", "fc6", [0.99, 0.2, 0.7, 0.7])
    report = rank.run(context(tmp_path, "rank"))
    rows = Workspace(tmp_path).read("scores").to_pylist()
    assert [(row["model"], row["post_id"], row["rank"]) for row in rows] == [
        ("LinearSVC on fc6", "post3", 1),
        ("LinearSVC on fc6", "post2", 2),
        ("LinearSVC on fc6", "post1", 3),
    ]
    assert report.notes == ("ranked by LinearSVC on fc6",)


def test_the_fine_tuned_network_ranks_beside_it(tmp_path: Path) -> None:
    write_results(tmp_path, {("LinearSVC", "fc6", "cross-validation"): 0.6})
    write_predictions(tmp_path, "predictions", "LinearSVC", "fc6", [0.5, 0.2, 0.7])
    write_predictions(tmp_path, "finetune_predictions", "fine-tuned", "pixels", [0.5, 0.8, 0.1])
    rank.run(context(tmp_path, "rank"))
    scores = Workspace(tmp_path).read("scores").to_pandas()
    first = scores[scores["rank"] == 1].set_index("model").post_id
    assert first.to_dict() == {"LinearSVC on fc6": "post2", "fine-tuned on pixels": "post1"}


def test_nothing_to_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no model has scored a test photo"):
        rank.run(context(tmp_path, "rank"))
