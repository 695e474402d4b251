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


@dataclass(frozen=True)
class Scale:
    """Subtract `mean` (d,), divide by `spread`."""

    mean: NDArray[np.float32]
    spread: float

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows (n, d) on the common scale; a new array."""
        scaled = rows - self.mean
        scaled /= np.float32(self.spread)
        return scaled


def fit_scale(rows: NDArray[np.float32], name: str) -> Scale:
    """Learn the scale from training rows (n, d).

    Raises
    ------
    StageError : if a value is not finite, or all rows are the same; `name` says which features
    """
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise StageError(
            f"{bad} of {len(rows)} rows hold values that are not finite", name, "compute the features again"
        )
    mean = rows.mean(axis=0, dtype=np.float64)
    variance = rows.var(axis=0, dtype=np.float64).sum()
    spread = float(np.sqrt(variance))
    if spread <= MIN_SPREAD * float(np.abs(rows).max(initial=0.0)):
        raise StageError("the features are the same for every photo", name, "check the network's weights")
    return Scale(mean.astype(np.float32), spread)
