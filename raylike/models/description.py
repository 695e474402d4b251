"""What a trained network is: the content of its `config.json`.

Knows settings, outcomes and tables. Knows nothing of how it is shown (`card.py`) or where it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import raylike
from raylike.commits import Commit
from raylike.config import Settings
from raylike.learning import learning_set
from raylike.learning.calibration import fit_platt
from raylike.learning.outcomes import CROSS_VALIDATION, TEST, UNTOLD, Outcome
from raylike.learning.photos import Photos
from raylike.models import groups
from raylike.models.files import FORMAT
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace

CLASSES = ("bad", "good")
FIGURES = ("ap", "roc_auc", "accuracy", "spearman", "pair_accuracy")


def describe(
    workspace: Workspace,
    settings: Settings,
    photos: Photos,
    outcome: Outcome,
    results: pa.Table,
    framing: Framing,
    weights: str,
    commit: Commit,
) -> dict[str, Any]:
    """Everything but the weights themselves; ready for JSON.

    Parameters
    ----------
    results : rows of `finetune_results`
    weights : where the network began: `pretrained`, `random`, or a file's hash
    """
    assert outcome.saved is not None  # it has been trained
    saved, chosen = outcome.saved, settings.finetune
    test = np.intersect1d(photos.test, np.flatnonzero(outcome.there))
    validation = np.intersect1d(learning_set.validated_on(photos), np.flatnonzero(outcome.there))
    return {
        "format": FORMAT,
        "name": chosen.name,
        "backbone": settings.features.backbone,
        "framing": asdict(framing),
        "input": "uint8 RGB (n, side, side, 3): the photo's central square, scaled and cropped by `framing`",
        "objective": chosen.objective,
        "outputs": saved.outputs,
        "classes": list(CLASSES) if chosen.objective == "labels" else None,
        "calibration": asdict(fit_platt(outcome.scores[validation], photos.labels[validation])),
        "weights": {
            "sha256": saved.sha256,
            "byte_size": saved.byte_size,
            "initial": weights,
            "initial_sha256": saved.initial_sha256,
            "seed": settings.seed,
        },
        "onnx": {"sha256": saved.onnx_sha256, "difference": saved.onnx_difference}
        if saved.onnx_sha256
        else None,
        "data": _data(settings, photos, outcome),
        "label": {"design": settings.labels.design, "protocol": settings.labels.protocol},
        "settings": {
            **chosen.model_dump(mode="json", exclude=UNTOLD),
            "best_iteration": outcome.best_iteration,
        },
        "figures": _figures(results),
        "groups": groups.scores_by_group(
            workspace, photos, outcome.scores, test, resamples=settings.classify.resamples, seed=settings.seed
        ),
        "provenance": {
            "run": commit.run,
            "fingerprint": commit.fingerprint,
            "inputs": dict(commit.inputs),
            "raylike": version("raylike"),
            "torch": version("torch"),
            "code_sha256": code_hash(),
        },
    }


def _data(settings: Settings, photos: Photos, outcome: Outcome) -> dict[str, Any]:
    parts = {
        "train": learning_set.trained_on(photos),
        "validation": learning_set.validated_on(photos),
        "test": photos.test,
    }
    counts = {}
    for name, part in parts.items():
        there = part[outcome.there[part]]
        counts[name] = {
            "photos": int(there.size),
            "accounts": int(np.unique(photos.groups[there]).size),
            "good": int(photos.labels[there].sum()),
        }
    return {"source": settings.source.name, **counts}


def _figures(results: pa.Table) -> dict[str, Mapping[str, Any]]:
    """Each figure as [value, low, high] on validation and test photos; None where it is not defined."""
    told = {CROSS_VALIDATION: "validation", TEST: "test"}
    figures: dict[str, Mapping[str, Any]] = {}
    for row in results.to_pylist():
        bounds = {name: [row[name], row[f"{name}_low"], row[f"{name}_high"]] for name in FIGURES}
        known = {name: values if np.isfinite(values).all() else None for name, values in bounds.items()}
        figures[told[row["evaluation"]]] = {"n": row["n"], "positive_rate": row["positive_rate"], **known}
    return figures


@cache
def code_hash() -> str:
    """SHA-256 of raylike's own modules, by their paths: tells versions apart that have the same number."""
    folder = Path(raylike.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
