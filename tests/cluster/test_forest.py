"""The forest on a real Ray is the forest in threads, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from raylike.learning import forest
from raylike.learning.photos import Photos
from raylike.learning.splits import assign_folds
from raylike.stages.classify import over_nodes

pytestmark = pytest.mark.ray


def test_trees_grown_by_ray_are_those_grown_in_threads(ray_local: None) -> None:
    rng = np.random.default_rng(0)
    n = 120
    features = np.maximum(rng.normal(size=(2, n, 40)), 0).astype(np.float32)
    labels = (features[0, :, 0] + 0.3 * rng.normal(size=n) > 0.5).astype(np.int8)
    groups = np.char.mod("user%d", np.arange(n) // 2)
    folds = assign_folds(groups.tolist(), folds=4, test_share=0.25, seed=0)
    photos = Photos(np.char.mod("%03d", np.arange(n)), groups, labels, folds)
    here = forest.fit_and_score(photos, features, trees=50, seed=1)
    there = forest.fit_and_score(photos, features, trees=50, seed=1, spread=over_nodes)
    assert np.array_equal(here, there)
