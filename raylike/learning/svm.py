"""Linear models on one layer of features: choose, fit and score with both orientations.

All are trained on plain and mirrored rows alike; a photo's score is the mean over its orientations. Training
photos are scored out of fold, test photos by a model of all training photos. Settings (C; step and
regularisation) are those with the highest cross-validated AP. Knows arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from raylike.learning import linear, sgd
from raylike.learning.conjugate_gradients import SQUARED_HINGE, Loss
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.learning.sgd import Batches, Everywhere, Here, Shard
from raylike.learning.splits import TEST

OpenRows = Callable[[str], AbstractContextManager[Everywhere]]
"""Opens the rows of a layer by its name, on the scale of `scaling.py`."""


def choices_of(photos: Photos) -> NDArray[np.bool_]:
    """Which photos each fold's model is fitted to, and, last, that of all training photos, (n, folds + 1)."""
    training = photos.folds[:, None] != TEST
    return np.hstack([training & (photos.folds[:, None] != photos.fold_numbers), training])


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

    @contextmanager
    def as_one_shard(self) -> Iterator[Everywhere]:
        """The rows where they are, for SGD."""
        choices = np.tile(choices_of(self.photos), (len(self.features), 1))
        yield Here([Shard(self.rows, self.labels, choices, np.arange(len(self.rows)))])

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
    final : weights of the model of all training photos, shape (d + 1,)
    """

    c_values: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]
    chosen: int
    scores: NDArray[np.float64]
    final: NDArray[np.float32]

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
    scores = layer.scores(out_of_fold[chosen], final[0, 0])
    return Sweep(ascending, out_of_fold, chosen, scores, final[0, 0])


@dataclass(frozen=True)
class Descended:
    """An SVM by SGD of the step and regularisation that cross-validation chose; its scores (n,)."""

    step: float
    reg: float
    scores: NDArray[np.float64]


def sweep_sgd(
    photos: Photos,
    everywhere: Everywhere,
    batches: Batches,
    *,
    width: int,
    iterations: int,
    steps: Sequence[float],
    regs: Sequence[float],
) -> Descended:
    """Cross-validate at each step and regularisation; folds and final models descend together.

    Parameters
    ----------
    everywhere : shards of the photos' rows, that see `choices_of` these photos
    batches : what an iteration draws
    width : d
    """
    grid = np.array(list(product(sorted(steps), sorted(regs))))
    n_choices = photos.fold_numbers.size + 1
    weights = sgd.descend(
        everywhere,
        np.tile(np.arange(n_choices), len(grid)),
        batches,
        width=width,
        iterations=iterations,
        step=np.repeat(grid[:, 0], n_choices),
        reg=np.repeat(grid[:, 1], n_choices),
    )
    unseen_by = np.searchsorted(photos.fold_numbers, photos.folds)
    unseen_by[photos.test] = n_choices - 1
    scores = np.zeros((len(grid), photos.labels.size))
    rows_of = np.zeros(photos.labels.size)
    for numbers, values in everywhere(partial(Shard.decide, weights=weights)):
        places = numbers % photos.labels.size
        by_model = values.reshape(len(numbers), len(grid), n_choices)
        np.add.at(scores.T, places, by_model[np.arange(len(numbers)), :, unseen_by[places]])
        np.add.at(rows_of, places, 1)
    scores /= rows_of
    labels = photos.labels[photos.train]
    chosen = int(np.argmax([average_precision(labels, found[photos.train]) for found in scores]))
    step, reg = grid[chosen].tolist()
    return Descended(step, reg, scores[chosen])
