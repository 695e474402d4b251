"""The forest: as good as scikit-learn's, seeded, and out of bag by account."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from raylike.learning import forest
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos


def test_it_ranks_as_well_as_scikit_learns(features: NDArray[np.float32], photos: Photos) -> None:
    scores = forest.fit_and_score(photos, features, trees=100, seed=0)
    theirs = RandomForestClassifier(100, random_state=0).fit(
        features[:, photos.train].reshape(-1, features.shape[2]), np.tile(photos.labels[photos.train], 2)
    )
    votes = np.mean([theirs.predict_proba(rows[photos.test])[:, 1] for rows in features], axis=0)
    labels = photos.labels[photos.test]
    assert average_precision(labels, scores[photos.test]) > average_precision(labels, votes) - 0.05
    assert average_precision(photos.labels[photos.train], scores[photos.train]) > 0.65


def test_an_accounts_labels_do_not_reach_its_own_scores(
    features: NDArray[np.float32], photos: Photos
) -> None:
    """Out of bag by row would know the twin: here each account holds the same photo twice."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 120, 50)).astype(np.float32)
    twins = np.repeat(noise, 2, axis=1)
    labels = np.repeat(rng.integers(2, size=120), 2).astype(np.int8)
    nothing_to_learn = Photos(photos.ids, photos.groups, labels, photos.folds)
    scores = forest.fit_and_score(nothing_to_learn, twins, trees=100, seed=0)
    train = photos.train
    assert average_precision(labels[train], scores[train]) < labels[train].mean() + 0.15


def test_the_same_seed_gives_the_same_forest(features: NDArray[np.float32], photos: Photos) -> None:
    first, second = (forest.fit_and_score(photos, features, trees=45, seed=3) for _ in range(2))
    other = forest.fit_and_score(photos, features, trees=45, seed=4)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_photo_that_was_never_out_of_bag_gets_no_opinion(
    features: NDArray[np.float32], photos: Photos
) -> None:
    scores = forest.fit_and_score(photos, features, trees=1, seed=0)
    assert np.isfinite(scores).all()
    assert (scores[photos.train] == forest.NO_VOTE).sum() > 50
