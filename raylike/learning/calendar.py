"""When a photo was posted, as numbers that a linear model can use. Knows moments, nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SECONDS_PER_HOUR = 3600
HOURS_PER_DAY = 24
DAYS_PER_WEEK = 7
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


def hour_and_weekday(posted_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nine numbers for each moment: the hour as a point on a circle, the weekday as one of seven columns.

    Parameters
    ----------
    posted_s : Unix seconds, UTC, shape (n,)

    Returns
    -------
    float64 array of shape (n, 9): sine, cosine, Monday to Sunday
    """
    hours = posted_s / SECONDS_PER_HOUR
    angle = 2 * np.pi * (hours % HOURS_PER_DAY) / HOURS_PER_DAY
    weekday = (np.floor(hours / HOURS_PER_DAY).astype(np.int64) + EPOCH_WEEKDAY) % DAYS_PER_WEEK
    return np.column_stack([np.sin(angle), np.cos(angle), np.eye(DAYS_PER_WEEK)[weekday]])
