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


def fit_scale(rows: NDArray[np.float32], name: str, used: NDArray[np.bool_] | None = None) -> Scale:
    """Learn the scale from training rows (n, d), a block at a time; `used` (n,) marks them among others.

    Raises
    ------
    StageError : if a value is not finite, or all rows are the same; `name` says which features
    """
    bad = sum(
        int((~np.isfinite(rows[block])).any(axis=1).sum()) for block in _blocks(np.arange(len(rows)), rows)
    )
    if bad:
        raise StageError(
            f"{bad} of {len(rows)} rows hold values that are not finite", name, "compute the features again"
        )
    chosen = np.arange(len(rows)) if used is None else np.flatnonzero(used)
    blocks = _blocks(chosen, rows)
    mean = sum(rows[block].sum(axis=0, dtype=np.float64) for block in blocks) / chosen.size
    variance = sum(np.square(rows[block] - mean).sum() for block in blocks) / chosen.size
    largest = max(float(np.abs(rows[block]).max(initial=0.0)) for block in blocks)
    spread = float(np.sqrt(variance))
    if spread <= MIN_SPREAD * largest:
        raise StageError("the features are the same for every photo", name, "check the network's weights")
    return Scale(mean.astype(np.float32), spread)


def _blocks(chosen: NDArray[np.int64], rows: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    return np.array_split(chosen, max(1, chosen.size * rows.shape[1] // BLOCK_ELEMENTS))
