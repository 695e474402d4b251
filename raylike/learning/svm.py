"""The two linear SVMs on one layer of features: choose, fit and score with both orientations.

Both are trained on plain and mirrored rows alike; a photo's score is the mean over its orientations.
Training photos are scored out of fold, test photos by a model of all training photos. Knows arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylike.learning import linear, sgd
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos


@dataclass(frozen=True)
class Sweep:
    """LinearSVC over C, and the model of the C that cross-validation chose.

    Attributes
    ----------
    c_values : ascending, shape (k,)
    out_of_fold : scores of the training photos at each C, shape (k, n_train)
    chosen : index of the C with the highest cross-validated AP; the smallest of equals. Its
        cross-validated AP is slightly flattered by the choice; its AP on the test photos is not
    scores : of all photos, shape (n,): out of fold, or by the model of all training photos
    """

    c_values: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    chosen: int
    scores: NDArray[np.float64]


def sweep_c(photos: Photos, features: NDArray[np.float32], c_values: Sequence[float]) -> Sweep:
    """Cross-validate LinearSVC at every C and fit it at the best.

    Parameters
    ----------
    features : float32 array of shape (orientations, n, d), on the scale of `scaling.py`
    """
    ascending = np.array(sorted(c_values))
    rows, labels, included = _training_rows(photos, features)
    weights = linear.fit_grid(rows, labels, ascending.tolist(), included)
    out_of_fold = np.empty((ascending.size, photos.train.size))
    for k, fold in enumerate(photos.fold_numbers):
        held_out = photos.folds[photos.train] == fold
        out_of_fold[:, held_out] = _mean_decision(features[:, photos.train[held_out]], weights[:, k])
    aps = [average_precision(photos.labels[photos.train], scores) for scores in out_of_fold]
    chosen = int(np.argmax(aps))
    final = linear.fit_grid(rows, labels, [float(ascending[chosen])], np.ones((len(rows), 1), dtype=bool))
    scores = np.empty(photos.labels.size)
    scores[photos.train] = out_of_fold[chosen]
    scores[photos.test] = _mean_decision(features[:, photos.test], final[0, 0])
    return Sweep(ascending, out_of_fold, chosen, scores)


def score_sgd(
    photos: Photos, features: NDArray[np.float32], *, iterations: int, step: float, reg: float
) -> NDArray[np.float64]:
    """Scores (n,) of an SVM by SGD; folds and the final model are fitted together."""
    rows, labels, included = _training_rows(photos, features)
    everything = np.ones((len(rows), 1), dtype=bool)
    weights = sgd.fit_sgd(
        rows, labels, np.hstack([included, everything]), iterations=iterations, step=step, reg=reg
    )
    scores = np.empty(photos.labels.size)
    for k, fold in enumerate([*photos.fold_numbers, None]):
        held_out = photos.test if fold is None else np.flatnonzero(photos.folds == fold)
        scores[held_out] = (features[:, held_out] @ weights[:, k]).mean(axis=0)
    return scores


def _training_rows(
    photos: Photos, features: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.bool_]]:
    """Rows of both orientations, their labels, and for each fold which of them it is trained on."""
    orientations = features.shape[0]
    rows = features[:, photos.train].reshape(-1, features.shape[2])
    folds = np.tile(photos.folds[photos.train], orientations)
    labels = np.tile(photos.labels[photos.train], orientations)
    return rows, labels, folds[:, None] != photos.fold_numbers


def _mean_decision(features: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Decision values (..., n) of photos (orientations, n, d), averaged over orientations."""
    values = [linear.decide(rows, weights) for rows in features]
    mean: NDArray[np.float64] = np.mean(values, axis=0, dtype=np.float64)
    return mean
