"""Features as a network's after ReLU are: sparse, correlated, many, with a signal to find."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.learning.photos import Photos
from raylike.learning.splits import assign_folds


def make_features(n: int, d: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Plain and mirrored features (2, n, d), and labels (n,) that they predict in part."""
    rng = np.random.default_rng(seed)
    decay = 1 / np.sqrt(1 + np.arange(20))
    looks = rng.normal(size=(n, 20)) * decay
    mirrored = looks + 0.1 * rng.normal(size=looks.shape) * decay
    mixing, bias = rng.normal(size=(20, d)), rng.normal(size=d) - 0.5
    noise = 0.3 * rng.normal(size=(2, n, d))
    features = np.maximum(np.stack([looks, mirrored]) @ mixing + bias + noise, 0)
    appeal = looks[:, :6] @ rng.normal(size=6)
    labels = appeal / appeal.std() + 0.4 * rng.normal(size=n) > 0
    return features.astype(np.float32), labels.astype(np.int8)


@pytest.fixture(scope="session")
def features() -> NDArray[np.float32]:
    return make_features(240, 300)[0]


@pytest.fixture(scope="session")
def photos() -> Photos:
    labels = make_features(240, 300)[1]
    ids = np.array([f"post{i:03d}" for i in range(240)])
    groups = np.array([f"user{i // 2}" for i in range(240)])
    folds = assign_folds(groups.tolist(), folds=4, test_share=0.25, seed=0)
    return Photos(ids, groups, labels, folds)
