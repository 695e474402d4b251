"""Histograms and curves on logarithmic axes: many posts become few numbers.

Bins are fixed by the data's extent alone, so the same table always gives the same figures, and the page
does not grow with the number of posts. Knows the columns of cohort and labels. Knows nothing of plots.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike.config import CohortSettings
from raylike.learning.robust import summarise
from raylike.report.facts import Followers, LikesByFollowers, Ratios, Summary
from raylike.report.photo_facts import Slot

MICROSECONDS_PER_DAY = 86_400_000_000
BINS = 40
CELLS = 34
"""Cells along each side of the plane of likes and followers."""
STEPS = 80
"""Points of the curve of photos over confidence: quantiles, so that they lie where photos lie."""
AGE_SLOTS = 12
FEW_POSTS = 10
"""Posts of a slot; of fewer no median is told."""
QUARTERS = (25, 50, 75)


def followers(cohort: pa.Table, settings: CohortSettings) -> Followers:
    """Followers of all posts with a known, positive count, and of those kept."""
    known = cohort.filter(pc.greater(pc.fill_null(cohort.column("followers"), 0), 0))
    before = _numbers(known.column("followers"))
    after = _numbers(known.filter(known.column("kept")).column("followers"))
    edges = log_edges(before, BINS)
    return Followers(
        edges=_floats(edges),
        before=_histogram(before, edges),
        after=_histogram(after, edges),
        summary_before=_summary(before),
        summary_after=_summary(after),
        scale=settings.scale,
        factor=settings.factor,
    )


def likes_by_followers(cohort: pa.Table) -> LikesByFollowers | None:
    """Posts counted on the plane of followers + 1 and likes + 1; None if no followers are known."""
    known = cohort.filter(cohort.column("followers").is_valid())
    if not known.num_rows:
        return None
    x, y = _numbers(known.column("followers")) + 1, _numbers(known.column("likes")) + 1
    kept = known.column("kept").to_numpy()
    edges = (log_edges(x, CELLS), log_edges(y, CELLS))
    ratios = _numbers(known.filter(known.column("kept")).column("ratio").drop_null())
    return LikesByFollowers(
        follower_edges=_floats(edges[0]),
        like_edges=_floats(edges[1]),
        kept=_plane(x[kept], y[kept], edges),
        dropped=_plane(x[~kept], y[~kept], edges),
        median_ratio=float(np.median(ratios)) if ratios.size else float("nan"),
    )


def ratios(labels: pa.Table) -> Ratios:
    """Likes per follower of labelled photos; a ratio of zero has no logarithm and is counted apart."""
    values = _numbers(labels.column("ratio"))
    test = pc.equal(labels.column("split"), "test").to_numpy()
    threshold = float(labels.column("threshold")[0].as_py())
    edges = _edges_around(threshold, values[values > 0])
    return Ratios(
        edges=_floats(edges),
        train=_histogram(values[(values > 0) & ~test], edges),
        test=_histogram(values[(values > 0) & test], edges),
        zero=int((values == 0).sum()),
        threshold=threshold,
        good=int(labels.column("label").to_numpy().sum()),
        n=labels.num_rows,
    )


def hours(posts: pa.Table, cohort: pa.Table) -> tuple[Slot, ...]:
    """Kept posts by the hour (UTC) at which they were posted."""
    joined = _kept_posts(posts, cohort)
    return _slots(pc.hour(joined.column("created_at")).to_numpy(), np.arange(25.0), joined)


def ages(posts: pa.Table, cohort: pa.Table) -> tuple[Slot, ...]:
    """Kept posts by days from posting to reading their likes, in ranges of equal length."""
    joined = _kept_posts(posts, cohort)
    if not joined.num_rows:
        return ()
    read, posted = (
        joined.column(name).cast(pa.int64()).to_numpy() for name in ("collected_at", "created_at")
    )
    days = (read - posted) / MICROSECONDS_PER_DAY
    edges = np.linspace(np.floor(days.min()), np.ceil(days.max() + 1e-9), AGE_SLOTS + 1)
    return _slots(days, edges, joined) if edges[-1] > edges[0] else ()


def _kept_posts(posts: pa.Table, cohort: pa.Table) -> pa.Table:
    kept = cohort.filter(cohort.column("kept")).select(["post_id", "ratio"])
    return kept.join(posts.select(["post_id", "created_at", "collected_at"]), "post_id", join_type="inner")


def _slots(places: NDArray[Any], edges: NDArray[np.float64], posts: pa.Table) -> tuple[Slot, ...]:
    """Posts in each range [start, end), the last one closed, and the quarters of their ratios."""
    ratios = posts.column("ratio").to_numpy()
    of_post = np.minimum(np.searchsorted(edges, places, side="right") - 1, edges.size - 2)
    found = []
    for slot in range(edges.size - 1):
        mine = ratios[of_post == slot]
        known = mine[np.isfinite(mine)]
        quarters = np.percentile(known, QUARTERS).tolist() if known.size >= FEW_POSTS else [None] * 3
        found.append(Slot(float(edges[slot]), float(edges[slot + 1]), mine.size, quarters[1], *quarters[::2]))
    return tuple(found)


def at_least(values: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Thresholds over the range of `values`, and how many values reach each."""
    if not values.size:
        return (), ()
    thresholds = np.unique(np.quantile(values, np.linspace(0, 1, STEPS)))
    reached = values.size - np.searchsorted(np.sort(values), thresholds, side="left")
    return _floats(thresholds), tuple(reached.tolist())


def log_edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """`bins` + 1 edges, evenly spaced in the logarithm, that hold all of `values` (each > 0)."""
    if not values.size:
        return np.geomspace(1.0, 10.0, bins + 1)
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low / 2, high * 2
    edges = np.geomspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # geomspace rounds, and the extremes must not fall out
    return edges


def _edges_around(threshold: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges as `log_edges`, shifted so that one of them is the threshold: no bin is half good, half bad."""
    edges = log_edges(values, BINS)
    if threshold <= 0:
        return edges
    step = np.log(edges[-1] / edges[0]) / BINS
    below, above = np.log(threshold / edges[0]) / step, np.log(edges[-1] / threshold) / step
    steps = np.arange(-np.ceil(below + 1e-9), np.ceil(above + 1e-9) + 1)
    shifted = np.exp(np.log(threshold) + step * steps)
    shifted[steps == 0] = threshold
    return np.asarray(shifted, np.float64)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist())


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(np.histogram(values, edges)[0].tolist())


def _plane(x: NDArray[np.float64], y: NDArray[np.float64], edges: Any) -> tuple[tuple[int, ...], ...]:
    counts = np.histogram2d(x, y, edges)[0].astype(int)
    return tuple(tuple(row) for row in counts.tolist())


def _summary(values: NDArray[np.float64]) -> Summary:
    found = summarise(values)
    return Summary(found.n, found.mean, found.sd, found.median, found.mad)
