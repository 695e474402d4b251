"""Means with intervals where photos of one account resemble each other.

Accounts are drawn with replacement, as in `learning/evaluation.py`; whatever is computed from sums over
accounts is then a matrix product for all draws together. Knows arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylike.learning.evaluation import LEVELS, draw_accounts
from raylike.report.photo_facts import Estimate

RESAMPLES = 1000


@dataclass(frozen=True)
class Draws:
    """Draws of accounts: `of_photo` (n,) numbers each photo's account, `counts` is (accounts, draws)."""

    of_photo: NDArray[np.int64]
    counts: NDArray[np.float32]

    @staticmethod
    def of(accounts: NDArray[np.str_], seed: int, resamples: int = RESAMPLES) -> Draws:
        """Draw as many accounts as there are, `resamples` times."""
        names, of_photo = np.unique(accounts, return_inverse=True)
        blocks = list(draw_accounts(names.size, resamples, resamples, seed))
        return Draws(of_photo, np.concatenate(blocks, axis=1))

    @property
    def n_accounts(self) -> int:
        """How many accounts there are."""
        return len(self.counts)

    def means(self, values: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean of `values` (n,) over the photos of `members` (n,), as found and in each draw: (1 + draws,).

        NaN in a draw that holds no member.
        """
        kept = members & np.isfinite(values)
        sums = np.bincount(self.of_photo[kept], values[kept], self.n_accounts)
        photos = np.bincount(self.of_photo[kept], minlength=self.n_accounts)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = (sums @ self.counts) / (photos @ self.counts)
            found = sums.sum() / photos.sum()
        return np.concatenate([[found], drawn])


def estimate(found_and_drawn: NDArray[np.float64]) -> Estimate:
    """The figure and the 2.5th and 97.5th percentile of its draws; draws that are NaN are left out."""
    drawn = found_and_drawn[1:]
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, LEVELS) if drawn.size else (float("nan"), float("nan"))
    return Estimate(float(found_and_drawn[0]), float(low), float(high))
