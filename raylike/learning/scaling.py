"""One scale for all linear models, so that C and step sizes mean the same for every backbone.

C weighs errors against the length of the weights, so it means something only relative to the spread
of the features, and that differs by orders of magnitude between layers and between trained and
random networks. Photos are therefore centred on the mean training photo and divided by one number,
so that the root mean square distance from that mean is 1. No feature is stretched against another:
this is the study's raw activations up to one factor, and a bias that is not tied to their mean.

Neither mean nor factor sees a label. They come from all training photos, those of a held-out fold
included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylike.errors import StageError

MIN_SPREAD = 1e-6
"""Root mean square distance, relative to the largest activation, below which rows are one and the same:
float32 arithmetic alone moves them by about 1e-7."""
BLOCK_ELEMENTS = 2**22
"""Numbers that are looked at together: 32 MiB in float64."""


@dataclass(frozen=True)
class Scale:
    """Subtract `mean` (d,), divide by `spread`."""

    mean: NDArray[np.float32]
    spread: float

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows (..., d) on the common scale; a new array."""
        return self.apply_in_place(rows.copy())

    def apply_in_place(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move rows (..., d) to the common scale, where they may be too many to hold twice."""
        rows -= self.mean
        rows /= np.float32(self.spread)
        return rows


@dataclass(frozen=True)
class Moments:
    """What a scale is learned from; those of parts of the rows add up.

    Attributes
    ----------
    n : training rows
    mean : theirs, (d,)
    squares : their squared distances from the mean, summed
    largest : their largest activation, without its sign
    n_rows, n_bad : all rows that were looked at, and those with a value that is not finite
    """

    n: int
    mean: NDArray[np.float64]
    squares: float
    largest: float
    n_rows: int
    n_bad: int

    @staticmethod
    def of(rows: NDArray[np.float32], used: NDArray[np.bool_] | None = None) -> Moments:
        """Look at rows (m, d), a block at a time; `used` (m,) marks the training rows among them."""
        total = Moments(0, np.zeros(rows.shape[1]), 0.0, 0.0, 0, 0)
        size = max(1, BLOCK_ELEMENTS // rows.shape[1])
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            total += Moments._of_block(rows[block], None if used is None else used[block])
        return total

    @staticmethod
    def _of_block(rows: NDArray[np.float32], used: NDArray[np.bool_] | None) -> Moments:
        n_bad = int((~np.isfinite(rows)).any(axis=1).sum())
        chosen = (rows if used is None else rows[used]).astype(np.float64)
        if n_bad or not len(chosen):
            return Moments(0, np.zeros(rows.shape[1]), 0.0, 0.0, len(rows), n_bad)
        mean = chosen.mean(axis=0)
        largest = float(np.abs(chosen).max())
        chosen -= mean
        np.square(chosen, out=chosen)
        return Moments(len(chosen), mean, float(chosen.sum()), largest, len(rows), n_bad)

    def __add__(self, other: Moments) -> Moments:
        """Of both parts together (Chan, Golub and LeVeque, The American Statistician 37, 1983)."""
        n = self.n + other.n
        shift = other.mean - self.mean
        share = other.n / max(n, 1)
        return Moments(
            n,
            self.mean + shift * share,
            self.squares + other.squares + float(shift @ shift) * self.n * share,
            max(self.largest, other.largest),
            self.n_rows + other.n_rows,
            self.n_bad + other.n_bad,
        )


def fit_scale(rows: NDArray[np.float32], name: str, used: NDArray[np.bool_] | None = None) -> Scale:
    """Learn the scale from training rows (n, d); `used` (n,) marks them among others. See `scale_of`."""
    return scale_of(Moments.of(rows, used), name)


def scale_of(moments: Moments, name: str) -> Scale:
    """The scale that rows with these moments have.

    Raises
    ------
    StageError : if a value is not finite, or all rows are the same; `name` says which features
    """
    if moments.n_bad:
        raise StageError(
            f"{moments.n_bad} of {moments.n_rows} rows hold values that are not finite",
            name,
            "compute the features again",
        )
    spread = float(np.sqrt(moments.squares / moments.n))
    if spread <= MIN_SPREAD * moments.largest:
        raise StageError("the features are the same for every photo", name, "check the network's weights")
    return Scale(moments.mean.astype(np.float32), spread)
