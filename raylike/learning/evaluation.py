"""How good a ranking is, and how sure of it one may be: five figures, and a bootstrap over accounts.

- AP, ROC AUC and accuracy compare scores with labels; scikit-learn's definitions, ties grouped.
- Spearman's rho compares scores with likes per follower over all photos, whatever was called good.
- Pair accuracy compares photos of one account: of all pairs with different likes per follower, the share that
  the score orders alike; equal scores count half. What an account's size explains cannot help here.

Photos of one account resemble each other, so an interval that resamples photos would be too narrow.
Accounts are resampled with replacement; a photo counts as often as its account was drawn, a pair as well.
All figures are therefore weighted, and all resamples of a block are computed as one matrix: scores are
sorted once, and only weights change. All rankings see the same resamples, so differences between them are
paired.

Knows arrays. Knows nothing of models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Floats = NDArray[np.float32]

BLOCK_ELEMENTS = 2_000_000
"""Weights in one block: 8 MB in float32, so that the arrays of that size stay near the caches."""
STRIP = 16
TRIANGLE = np.tril(np.ones((STRIP, STRIP), dtype=np.float32))
LEVELS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
FIGURES = ("ap", "roc_auc", "accuracy", "spearman", "pair_accuracy")
AP, ROC_AUC, ACCURACY, SPEARMAN, PAIR_ACCURACY = range(len(FIGURES))


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap percentile interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """One ranking's figures; `ap_draws` (resamples,) is the AP of each resample."""

    ap: Estimate
    roc_auc: Estimate
    accuracy: Estimate
    spearman: Estimate
    pair_accuracy: Estimate
    ap_draws: NDArray[np.float64]

    def with_bounds(self) -> dict[str, float]:
        """Columns of a results table: each figure, and its interval as `_low` and `_high`."""
        columns: dict[str, float] = {}
        for name in FIGURES:
            estimate: Estimate = getattr(self, name)
            columns |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return columns


def evaluate(
    labels: NDArray[np.int8],
    scores: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    groups: NDArray[np.str_],
    *,
    resamples: int,
    seed: int,
    ratios: NDArray[np.float64] | None = None,
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
    ratios : likes per follower, shape (n,); without them Spearman's rho and pair accuracy are NaN

    Notes
    -----
    A draw in which a figure is not defined (one class is missing, no account with two photos was drawn) is
    left out of that figure's interval.
    """
    names, accounts = np.unique(groups, return_inverse=True)
    figures = _Figures.of(labels, scores, thresholds, accounts, ratios)
    blocks = draw_accounts(names.size, resamples, max(1, BLOCK_ELEMENTS // labels.size), seed)
    drawn = np.concatenate(list(_in_threads(figures, blocks)), axis=2)
    values = figures(np.ones((names.size, 1), dtype=np.float32))[:, :, 0]
    lows, highs = _percentiles(drawn)
    results = []
    for j in range(len(scores)):
        estimates = {
            name: Estimate(float(values[k, j]), float(lows[k, j]), float(highs[k, j]))
            for k, name in enumerate(FIGURES)
        }
        results.append(Metrics(ap_draws=drawn[AP, j], **estimates))
    return results


def difference(first: Metrics, second: Metrics) -> Estimate:
    """How much greater the AP of the first of two rankings is that `evaluate` scored together.

    The interval is that of the differences, resample by resample: photos that are hard for both cancel out,
    so it is narrower than the two intervals suggest. Where it excludes 0, one is better at the 5 % level.
    """
    drawn = (first.ap_draws - second.ap_draws)[None]
    (low,), (high,) = _percentiles(drawn)
    return Estimate(first.ap.value - second.ap.value, float(low), float(high))


def average_precision(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Area under precision against recall as a step function; NaN unless both classes occur."""
    once = np.ones((labels.size, 1), dtype=np.float32)
    ranking = Ranking.of(labels, scores, np.arange(labels.size))
    return float(ranking.ap_and_auc(once, ranking.seen(once))[0, 0])


@dataclass(frozen=True)
class _Figures:
    """All figures of all rankings under weights of accounts."""

    rankings: list[Ranking]
    right: Floats
    """Photos on the right side of the threshold, (m, accounts)."""
    photos: Floats
    """(accounts,)"""
    ordered: Floats
    """Pairs of an account that the score orders as their ratios, (m, accounts)."""
    pairs: Floats
    """(accounts,)"""
    by_ratio: Ranking | None

    @staticmethod
    def of(
        labels: NDArray[np.int8],
        scores: NDArray[np.float64],
        thresholds: NDArray[np.float64],
        accounts: NDArray[np.int64],
        ratios: NDArray[np.float64] | None,
    ) -> _Figures:
        right = (scores > thresholds[:, None]) == (labels > 0)
        n_accounts = int(accounts.max()) + 1
        ordered, pairs = _pairs(scores, np.zeros(labels.size) if ratios is None else ratios, accounts)
        return _Figures(
            rankings=[Ranking.of(labels, row, accounts) for row in scores],
            right=np.stack([np.bincount(accounts, row, n_accounts) for row in right]).astype(np.float32),
            photos=np.bincount(accounts).astype(np.float32),
            ordered=ordered.astype(np.float32),
            pairs=pairs.astype(np.float32),
            by_ratio=None if ratios is None else Ranking.of(labels, ratios, accounts),
        )

    def __call__(self, counts: Floats) -> NDArray[np.float64]:
        """Figures (5, m, b) where accounts count as often as `counts` (accounts, b) says."""
        figures = np.full((len(FIGURES), len(self.rankings), counts.shape[1]), np.nan)
        by_ratio = self.by_ratio
        if by_ratio is not None:
            reference = by_ratio.ranks(counts, by_ratio.seen(counts))
            spread = _sums(counts.take(by_ratio.units, axis=0) * reference * reference)
        for j, ranking in enumerate(self.rankings):
            seen = ranking.seen(counts)
            figures[[AP, ROC_AUC], j] = ranking.ap_and_auc(counts, seen)
            if by_ratio is not None:
                ranks = ranking.ranks(counts, seen)
                weighted = counts.take(ranking.units, axis=0)
                weighted *= ranks
                ranks *= weighted
                weighted *= reference.take(by_ratio.place[ranking.order], axis=0)
                with np.errstate(invalid="ignore"):
                    figures[SPEARMAN, j] = _sums(weighted) / np.sqrt(_sums(ranks) * spread)
        figures[ACCURACY] = self.right @ counts / (self.photos @ counts)
        with np.errstate(invalid="ignore"):
            figures[PAIR_ACCURACY] = self.ordered @ counts / (self.pairs @ counts)
        return figures


@dataclass(frozen=True)
class Ranking:
    """Photos in order of falling score; made once, evaluated under many weights.

    Attributes
    ----------
    order : photos, best first, (n,)
    place : of each photo in that order, (n,)
    units : what carries each photo's weight, its account or itself, best first, (n,)
    run : of equal scores, number of each place's, (n,)
    starts, ends : first and last place of each run
    positive_units : `units` of the good photos alone
    positive_runs : runs that hold a good photo
    last_positives : place of the last good photo of each of these, among good photos
    """

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    units: NDArray[np.int64]
    run: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    positive_units: NDArray[np.int64]
    positive_runs: NDArray[np.int64]
    last_positives: NDArray[np.int64]

    @staticmethod
    def of(labels: NDArray[np.int8], scores: NDArray[np.float64], units: NDArray[np.int64]) -> Ranking:
        """Sort photos once; `units` (n,) numbers what will be weighted."""
        order = np.argsort(-scores, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        in_order, positive = scores[order], labels[order] > 0
        begins = np.append(True, in_order[1:] != in_order[:-1])
        starts = np.flatnonzero(begins)
        run = np.cumsum(begins) - 1
        runs, counts = np.unique(run[positive], return_counts=True)
        return Ranking(
            order=order,
            place=place,
            units=units[order],
            run=run,
            starts=starts,
            ends=np.append(starts[1:], order.size) - 1,
            positive_units=units[order][positive],
            positive_runs=runs,
            last_positives=np.cumsum(counts) - 1,
        )

    def seen(self, weights: Floats) -> Floats:
        """Weight of all photos down to each place, (n, b), for weights (units, b).

        Counts are whole numbers below 2^24, so float32 sums are exact.
        """
        return _cumulative(weights.take(self.units, axis=0))

    def ap_and_auc(self, weights: Floats, seen: Floats) -> NDArray[np.float64]:
        """AP and ROC AUC under each column of weights (units, b): an array of shape (2, b).

        Only runs with a good photo add to either; AUC counts, for each good photo, the bad ones above it.
        """
        hits = _cumulative(weights.take(self.positive_units, axis=0))
        hits = _rows(hits, self.last_positives)
        new_hits = hits.copy()
        new_hits[1:] -= hits[:-1]
        below = _rows(seen, self.ends[self.positive_runs])
        above = below if self.starts.size == self.order.size else self._before(seen, self.positive_runs)
        n_hits = hits[-1].astype(np.float64) if len(hits) else np.zeros(weights.shape[1])
        n_misses = seen[-1] - n_hits
        misses = below - hits
        if above is not below:  # bad photos of the same score count half
            misses += above - hits + new_hits
            misses /= 2
        misses *= new_hits
        precision: Floats = np.divide(hits, np.maximum(below, 1), out=hits)
        precision *= new_hits
        with np.errstate(invalid="ignore"):
            ap = _sums(precision) / n_hits
            auc = 1 - _sums(misses) / (n_hits * n_misses)
        ap[n_misses == 0] = np.nan  # with one class, neither says anything of the ranking
        return np.stack([ap, auc])

    def ranks(self, weights: Floats, seen: Floats) -> Floats:
        """Rank of the photo at each place less the mean rank, (n, b); equal scores share one."""
        if self.starts.size == self.order.size:
            ranks = weights.take(self.units, axis=0)
            ranks *= -0.5
            ranks += seen
        else:
            runs = np.arange(self.starts.size)
            ranks = (self._before(seen, runs) + seen[self.ends]).take(self.run, axis=0)
            ranks *= 0.5
        ranks -= seen[-1] * np.float32(0.5)
        return ranks

    def _before(self, seen: Floats, runs: NDArray[np.int64]) -> Floats:
        """Weight of all photos above each run, (len(runs), b)."""
        starts = self.starts[runs]
        before = seen.take(np.maximum(starts - 1, 0), axis=0)
        before[starts == 0] = 0
        return before


def draw_accounts(n_accounts: int, resamples: int, per_block: int, seed: int) -> Iterator[Floats]:
    """Yield blocks of resamples (n_accounts, b): how often each account was drawn, `n_accounts` in all."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, per_block):
        columns = min(per_block, resamples - start)
        picks = rng.integers(n_accounts, size=(columns, n_accounts), dtype=np.int32)
        counts = np.stack([np.bincount(draw, minlength=n_accounts) for draw in picks], axis=1)
        yield counts.astype(np.float32)


def _in_threads(figures: _Figures, blocks: Iterator[Floats]) -> Iterator[NDArray[np.float64]]:
    """The figures of each block, in order, on all CPUs: NumPy lets go of the interpreter meanwhile."""
    threads = os.cpu_count() or 1
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for some in iter(partial(_take, blocks, threads), []):
            yield from pool.map(figures, some)


def _take(blocks: Iterator[Floats], n: int) -> list[Floats]:
    return list(islice(blocks, n))


def _pairs(
    scores: NDArray[np.float64], ratios: NDArray[np.float64], accounts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each account its pairs of photos with different ratios, (accounts,), and for each ranking how many
    of them it orders alike, (m, accounts)."""
    n_accounts = int(accounts.max()) + 1
    ordered, pairs = np.zeros((len(scores), n_accounts)), np.zeros(n_accounts)
    by_account = np.argsort(accounts, kind="stable")
    together = accounts[by_account]
    for apart in range(1, int(np.bincount(accounts).max())):
        same = together[apart:] == together[:-apart]
        one, other = by_account[:-apart][same], by_account[apart:][same]
        direction = np.sign(ratios[one] - ratios[other])
        account = accounts[one]
        pairs += np.bincount(account, direction != 0, n_accounts)
        for j, row in enumerate(scores):
            agrees = (direction != 0) * (1 + direction * np.sign(row[one] - row[other])) / 2
            ordered[j] += np.bincount(account, agrees, n_accounts)
    return ordered, pairs


def _cumulative(columns: Floats) -> Floats:
    """Cumulative sums down each column (n, b), exact for counts.

    `np.cumsum` waits for every sum before the next, 1.3 s where this takes 0.3: `STRIP` rows at a time are
    summed by a triangular matrix, and then each strip gets what is above it.
    """
    whole = len(columns) // STRIP * STRIP
    sums = np.empty_like(columns)
    strips = sums[:whole].reshape(-1, STRIP, columns.shape[1])
    np.matmul(TRIANGLE, columns[:whole].reshape(strips.shape), out=strips)
    if whole:
        strips[1:] += np.cumsum(strips[:-1, -1], axis=0)[:, None]
    sums[whole:] = np.cumsum(columns[whole:], axis=0)
    if 0 < whole < len(columns):
        sums[whole:] += sums[whole - 1]
    return sums


def _sums(columns: Floats) -> NDArray[np.float64]:
    """Sum of each column (n, b): as a product with ones, it is summed in parts, which loses less."""
    ones = np.ones((1, len(columns)), dtype=np.float32)
    total: NDArray[np.float64] = (ones @ columns)[0].astype(np.float64)
    return total


def _rows(matrix: Floats, rows: NDArray[np.int64]) -> Floats:
    return matrix if rows.size == len(matrix) else matrix.take(rows, axis=0)


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
