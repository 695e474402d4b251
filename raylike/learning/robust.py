"""The filter on followers: how far from the median an account may lie, in robust units.

A handful of celebrities stretch the standard deviation of followers to several times the mean, so a
cut by standard deviations would cut nobody; the median absolute deviation (MAD) does not notice them.

Knows arrays. Knows nothing of posts, tables or settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAD_TO_SD = 1.4826
"""1 / Phi^-1(3/4): times this, the MAD of a normal sample estimates its standard deviation.

Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", JASA 88 (1993), section 1.
"""


@dataclass(frozen=True)
class Summary:
    """What a sample looks like: count, mean, standard deviation, median, MAD (in the sample's unit)."""

    n: int
    mean: float
    sd: float
    median: float
    mad: float

    def __str__(self) -> str:
        return f"mean {self.mean:,.0f}, SD {self.sd:,.0f}, median {self.median:,.0f}, MAD {self.mad:,.0f}"


@dataclass(frozen=True)
class Band:
    """The values kept: from `low` to `high`, both included; on the scale of what was filtered."""

    low: float
    high: float
    degenerate: bool
    """True if the MAD is 0, so that only values equal to the median are kept."""


def summarise(values: NDArray[np.float64]) -> Summary:
    """Describe a sample; of an empty one every figure is NaN."""
    if not values.size:
        return Summary(0, *[float("nan")] * 4)
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return Summary(values.size, float(values.mean()), float(values.std()), median, mad)


def mad_band(values: NDArray[np.float64], factor: float) -> Band:
    """The band of `factor` x 1.4826 x MAD to either side of the median.

    Parameters
    ----------
    values : float64 array of shape (n,), n >= 1, finite
    factor : half-width in robust standard deviations, > 0

    Notes
    -----
    If more than half of the values are equal, the MAD is 0 and the band is that one value.
    """
    figures = summarise(values)
    reach = factor * MAD_TO_SD * figures.mad
    return Band(figures.median - reach, figures.median + reach, figures.mad == 0)
