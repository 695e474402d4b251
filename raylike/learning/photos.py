"""The photos that a classifier is trained and scored on: labels, accounts, folds.

What every learner receives beside its features. Knows nothing of tables or of any learner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from raylike.errors import StageError
from raylike.learning.splits import TEST


@dataclass(frozen=True)
class Photos:
    """n labelled photos, ordered by id.

    Attributes
    ----------
    ids : post ids, shape (n,)
    groups : account of each photo, shape (n,)
    labels : 0 or 1, shape (n,)
    folds : cross-validation fold of a training photo, `TEST` for a test photo, shape (n,)
    ratios : likes per follower, shape (n,); None where only labels are known
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: NDArray[np.int8]
    folds: NDArray[np.int32]
    ratios: NDArray[np.float64] | None = None

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Indices of the training photos."""
        return np.flatnonzero(self.folds != TEST)

    @cached_property
    def test(self) -> NDArray[np.int64]:
        """Indices of the test photos."""
        return np.flatnonzero(self.folds == TEST)

    @cached_property
    def fold_numbers(self) -> NDArray[np.int32]:
        """The folds there are, ascending."""
        return np.unique(self.folds[self.train])

    def check(self) -> None:
        """Refuse what cannot be learned from or scored.

        Raises
        ------
        StageError : if there are fewer than two folds, no test photo, or only one class in a fold or in
            the test set
        """
        if self.fold_numbers.size < 2 or not self.test.size:
            raise StageError("too few photos for folds and a test set", "classify", "collect more photos")
        for fold in [*self.fold_numbers, TEST]:
            labels = self.labels[self.folds == fold]
            if labels.min() == labels.max():
                name = "the test set" if fold == TEST else f"fold {fold}"
                kind = "good" if labels[0] else "bad"
                raise StageError(
                    f"{name} holds only {kind} photos ({labels.size})",
                    "classify",
                    "collect more photos, set labels.folds lower, or try another seed",
                )
