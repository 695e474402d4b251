"""What a fine-tuned network leaves in the tables: figures on the photos that could be decoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raylike.config import resolve
from raylike.learning import outcomes
from raylike.learning.learning_set import VALIDATION_FOLD
from raylike.learning.photos import Photos
from raylike.tables import FINETUNE_RESULTS

SETTINGS = resolve({"classify": {"resamples": 100}}, environ={}).settings


@pytest.fixture
def outcome(photos: Photos) -> outcomes.Outcome:
    there = np.arange(photos.labels.size) > 0
    scores = photos.labels + np.random.default_rng(0).normal(size=photos.labels.size)
    return outcomes.Outcome(scores, there, curve=[], best_iteration=3, seconds=1.0)


def test_each_evaluation_has_all_figures_with_intervals(photos: Photos, outcome: outcomes.Outcome) -> None:
    rated = replace(photos, ratios=np.random.default_rng(1).random(photos.labels.size))
    rows = outcomes.results(rated, outcome, SETTINGS, "random").to_pylist()
    assert [row["evaluation"] for row in rows] == ["cross-validation", "test"]
    validation = np.flatnonzero(photos.folds == VALIDATION_FOLD)
    assert rows[0]["n"] == (validation > 0).sum()
    for row in rows:
        for figure in ("ap", "roc_auc", "accuracy", "spearman", "pair_accuracy"):
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]


def test_without_likes_per_follower_the_figures_of_labels_remain(
    photos: Photos, outcome: outcomes.Outcome
) -> None:
    table = outcomes.results(photos, outcome, SETTINGS, "random")
    assert table.schema.equals(FINETUNE_RESULTS.schema)
    assert np.isnan(table.column("spearman").to_numpy()).all()
    assert np.isfinite(table.column("ap").to_numpy()).all()
