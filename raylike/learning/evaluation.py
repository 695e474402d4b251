"""How good a ranking is, and how sure of it one may be: AP, ROC AUC, accuracy, bootstrap over accounts.

Photos of one account resemble each other, so an interval that resamples photos would be too narrow.
Accounts are resampled with replacement; a photo counts as often as its account was drawn. All metrics
are therefore weighted, and all resamples of a block are computed as one matrix: scores are sorted
once, and only weights change.

Definitions are scikit-learn's (`average_precision_score`, `roc_auc_score`, ties grouped); the tests
compare. Knows arrays. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_ELEMENTS = 2_000_000
"""Weights in one block: 8 MB in float32, so that the five arrays of that size stay near the caches."""
LEVELS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap percentile interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """One ranking's figures."""

    ap: Estimate
    roc_auc: Estimate
    accuracy: Estimate


def evaluate(
    labels: NDArray[np.int8],
    scores: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    groups: NDArray[np.str_],
    *,
    resamples: int,
    seed: int,
) -> list[Metrics]:
    """Score several rankings of the same photos, all on the same resamples.

    Parameters
    ----------
    labels : shape (n,), 0 or 1, both present
    scores : shape (m, n): m rankings, more is better
    thresholds : shape (m,): a photo is called good above it
    groups : shape (n,): account of each photo
    resamples : bootstrap draws of accounts
    seed : of the draws

    Notes
    -----
    A draw in which one class is missing has no AP and AUC and is left out of their intervals.
    """
    names, accounts = np.unique(groups, return_inverse=True)
    rankings = [Ranking.of(labels, row, accounts) for row in scores]
    right = (scores > thresholds[:, None]) == (labels > 0)
    right_by_account = np.stack([np.bincount(accounts, row, names.size) for row in right])
    photos_by_account = np.bincount(accounts)
    once = np.ones((1, names.size), dtype=np.float32)
    drawn = np.empty((3, len(scores), resamples))
    start = 0
    per_block = max(1, BLOCK_ELEMENTS // labels.size)
    for counts in draw_accounts(names.size, resamples, per_block, seed):
        block = slice(start, start + len(counts))
        drawn[:2, :, block] = np.stack([ranking.ap_and_auc(counts) for ranking in rankings], axis=1)
        drawn[2, :, block] = right_by_account @ counts.T / (counts @ photos_by_account)
        start += len(counts)
    lows, highs = _percentiles(drawn)
    points = np.stack([ranking.ap_and_auc(once)[:, 0] for ranking in rankings])
    results = []
    for j, (ap, auc) in enumerate(points):
        values = (float(ap), float(auc), float(right[j].mean()))
        results.append(
            Metrics(
                *[Estimate(value, float(lows[k, j]), float(highs[k, j])) for k, value in enumerate(values)]
            )
        )
    return results


def average_precision(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Area under precision against recall as a step function; NaN unless both classes occur."""
    photos = np.arange(labels.size)
    once = np.ones((1, labels.size), dtype=np.float32)
    return float(Ranking.of(labels, scores, photos).ap_and_auc(once)[0, 0])


@dataclass(frozen=True)
class Ranking:
    """Photos in order of falling score; made once, evaluated under many weights.

    Attributes
    ----------
    units : what carries each photo's weight, its account or itself, best photo first, shape (n,)
    positive : label in that order, float32, shape (n,)
    ends : last position of each run of equal scores
    """

    units: NDArray[np.int64]
    positive: NDArray[np.float32]
    ends: NDArray[np.int64]

    @staticmethod
    def of(labels: NDArray[np.int8], scores: NDArray[np.float64], units: NDArray[np.int64]) -> Ranking:
        """Sort photos once; `units` (n,) numbers what will be weighted."""
        order = np.argsort(-scores, kind="stable")
        in_order = scores[order]
        ends = np.append(np.flatnonzero(in_order[1:] != in_order[:-1]), scores.size - 1)
        return Ranking(units[order], (labels[order] > 0).astype(np.float32), ends)

    def ap_and_auc(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """AP and ROC AUC under each row of weights (b, units): an array of shape (2, b).

        Counts are whole numbers below 2^24, so float32 sums are exact.
        """
        sorted_weights = weights.take(self.units, axis=1)
        seen = np.cumsum(sorted_weights, axis=1)[:, self.ends]
        hits = np.cumsum(sorted_weights * self.positive, axis=1)[:, self.ends]
        misses = seen - hits
        new_hits = np.diff(hits, axis=1, prepend=0)
        new_misses = np.diff(misses, axis=1, prepend=0)
        precision = hits / np.maximum(seen, 1)
        n_hits = hits[:, -1].astype(np.float64)
        n_misses = misses[:, -1].astype(np.float64)
        with np.errstate(invalid="ignore"):
            ap = np.einsum("bk,bk->b", new_hits, precision, dtype=np.float64) / n_hits
            below = hits - new_hits / 2
            auc = np.einsum("bk,bk->b", new_misses, below, dtype=np.float64) / (n_hits * n_misses)
        ap[n_misses == 0] = np.nan  # with one class, neither says anything of the ranking
        return np.stack([ap, auc])


def draw_accounts(
    n_accounts: int, resamples: int, per_block: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of resamples (b, n_accounts): how often each account was drawn, `n_accounts` in all."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, per_block):
        rows = min(per_block, resamples - start)
        picks = rng.integers(n_accounts, size=(rows, n_accounts), dtype=np.int32)
        yield np.stack([np.bincount(row, minlength=n_accounts) for row in picks]).astype(np.float32)


def _percentiles(drawn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    defined = ~np.isnan(drawn)
    if defined.all():
        low, high = np.percentile(drawn, LEVELS, axis=-1)
        return low, high
    low, high = np.full(drawn.shape[:-1], np.nan), np.full(drawn.shape[:-1], np.nan)
    for index in np.ndindex(*drawn.shape[:-1]):
        if (kept := drawn[index][defined[index]]).size:
            low[index], high[index] = np.percentile(kept, LEVELS)
    return low, high
