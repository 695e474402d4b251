"""Linear models on one layer of features: choose, fit and score with both orientations.

All are trained on plain and mirrored rows alike; a photo's score is the mean over its orientations. Training
photos are scored out of fold, test photos by a model of all training photos. Settings (C; step and
regularisation) are those with the highest cross-validated AP. Knows arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from raylike.learning import linear, sgd
from raylike.learning.conjugate_gradients import SQUARED_HINGE, Loss
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos


@dataclass(frozen=True)
class Layer:
    """One layer's features as rows to fit to; nothing is copied.

    Attributes
    ----------
    features : float32 array of shape (orientations, n, d), on the scale of `scaling.py`
    """

    photos: Photos
    features: NDArray[np.float32]

    @cached_property
    def rows(self) -> NDArray[np.float32]:
        """The photos of one orientation after those of the other, (orientations * n, d)."""
        return self.features.reshape(-1, self.features.shape[2])

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """Of the rows."""
        return np.tile(self.photos.labels, len(self.features))

    @cached_property
    def training(self) -> NDArray[np.bool_]:
        """Which rows are of training photos, (orientations * n, 1)."""
        rows = np.zeros(self.photos.labels.size, dtype=bool)
        rows[self.photos.train] = True
        return np.tile(rows, len(self.features))[:, None]

    @cached_property
    def included(self) -> NDArray[np.bool_]:
        """For each fold the rows that its model is fitted to, (orientations * n, folds)."""
        folds = np.tile(self.photos.folds, len(self.features))[:, None]
        return np.asarray(self.training & (folds != self.photos.fold_numbers))

    @cached_property
    def gram(self) -> NDArray[np.float32] | None:
        """What all grids on this layer share."""
        return linear.shared_gram(self.rows, self.training[:, 0])

    def decide(self, part: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Decision values (..., len(part)) of some photos, averaged over orientations."""
        values = [linear.decide(rows[part], weights) for rows in self.features]
        mean: NDArray[np.float64] = np.mean(values, axis=0, dtype=np.float64)
        return mean

    def out_of_fold(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (..., n_train) of the training photos by the folds' weights (..., folds, d + 1)."""
        scores = np.empty((*weights.shape[:-2], self.photos.train.size))
        for k, fold in enumerate(self.photos.fold_numbers):
            held_out = self.photos.folds[self.photos.train] == fold
            scores[..., held_out] = self.decide(self.photos.train[held_out], weights[..., k, :])
        return scores

    def best(self, out_of_fold: NDArray[np.float64]) -> int:
        """Which of several scorings (k, n_train) has the highest AP; the first of equals."""
        labels = self.photos.labels[self.photos.train]
        return int(np.argmax([average_precision(labels, scores) for scores in out_of_fold]))

    def scores(self, out_of_fold: NDArray[np.float64], final: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of all photos; `final` (d + 1,) is the model of all training photos."""
        scores = np.empty(self.photos.labels.size)
        scores[self.photos.train] = out_of_fold
        scores[self.photos.test] = self.decide(self.photos.test, final)
        return scores


@dataclass(frozen=True)
class Sweep:
    """A linear model over C, and that of the C which cross-validation chose.

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

    @property
    def best_c(self) -> float:
        """The C that was chosen."""
        return float(self.c_values[self.chosen])


def sweep_c(layer: Layer, c_values: Sequence[float], loss: Loss = SQUARED_HINGE) -> Sweep:
    """Cross-validate at every C and fit at the best: LinearSVC, or logistic regression by its loss."""
    ascending = np.array(sorted(c_values))
    weights = linear.fit_grid(
        layer.rows, layer.labels, ascending.tolist(), layer.included, loss=loss, gram=layer.gram
    )
    out_of_fold = layer.out_of_fold(weights)
    chosen = layer.best(out_of_fold)
    final = linear.fit_grid(
        layer.rows, layer.labels, [float(ascending[chosen])], layer.training, loss=loss, gram=layer.gram
    )
    return Sweep(ascending, out_of_fold, chosen, layer.scores(out_of_fold[chosen], final[0, 0]))


@dataclass(frozen=True)
class Descended:
    """An SVM by SGD of the step and regularisation that cross-validation chose; its scores (n,)."""

    step: float
    reg: float
    scores: NDArray[np.float64]


def sweep_sgd(layer: Layer, *, iterations: int, steps: Sequence[float], regs: Sequence[float]) -> Descended:
    """Cross-validate at each step and regularisation; folds and final models descend together."""
    grid = np.array(list(product(sorted(steps), sorted(regs))))
    included = np.hstack([layer.included, layer.training])
    weights = sgd.fit_sgd(
        layer.rows,
        layer.labels,
        np.tile(included, len(grid)),
        iterations=iterations,
        step=np.repeat(grid[:, 0], included.shape[1]),
        reg=np.repeat(grid[:, 1], included.shape[1]),
    )
    no_bias = np.zeros((weights.shape[1], 1), dtype=np.float32)
    each = np.hstack([weights.T, no_bias]).reshape(len(grid), included.shape[1], -1)
    out_of_fold = layer.out_of_fold(each[:, :-1])
    chosen = layer.best(out_of_fold)
    step, reg = grid[chosen].tolist()
    return Descended(step, reg, layer.scores(out_of_fold[chosen], each[chosen, -1]))
