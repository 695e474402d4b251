"""Stage cohort: keep the posts of accounts with an ordinary number of followers.

Reads posts and users; writes cohort, one row a post with the reason if it is dropped. The band is
learned on posts whose account has followers, each post counting once, as the study filtered photos.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.config import CohortSettings
from raylike.errors import StageError
from raylike.learning.robust import mad_band, summarise
from raylike.stage import StageContext, StageReport

KEPT = ""
NOT_LOOKED_UP = "not looked up"
LOOKUP_FAILED = "look-up failed"
REASONS_BY_STATUS = {"private": "account private", "gone": "account gone", "failed": LOOKUP_FAILED}
ZERO_FOLLOWERS = "zero followers"
TOO_FEW = "too few followers"
TOO_MANY = "too many followers"


def run(context: StageContext) -> StageReport:
    """Write cohort; the report's `skipped` counts dropped posts by reason.

    Raises
    ------
    StageError : if there are no posts, or none is left
    """
    posts = context.workspace.read("posts", ["post_id", "user_id", "likes"]).sort_by("post_id")
    if not posts.num_rows:
        raise StageError("there are no posts", "cohort", "run `raylike collect` or `raylike import` first")
    users = context.workspace.read("users", ["user_id", "followers", "status"])
    joined = _join(posts, users)
    followers = joined.column("followers").to_numpy()
    known = np.isfinite(followers)
    reasons = np.array(
        [_lookup_reason(status) for status in joined.column("status").to_pylist()], dtype=object
    )
    reasons[(reasons == KEPT) & ~known] = LOOKUP_FAILED
    reasons[(reasons == KEPT) & (followers == 0)] = ZERO_FOLLOWERS
    notes = _filter(followers, reasons, context.settings.cohort)
    kept = reasons == KEPT
    counts = _count(reasons[~kept])
    if not kept.any():
        listed = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        raise StageError(f"no post is left of {len(reasons)}: {listed}", "cohort", "look at the users table")
    ratios = np.divide(
        joined.column("likes").to_numpy(),
        followers,
        out=np.full(followers.shape, np.nan),
        where=followers > 0,
    )
    table = pa.table(
        {
            "post_id": joined.column("post_id"),
            "user_id": joined.column("user_id"),
            "followers": pa.array(followers, mask=~known).cast(pa.int64()),
            "likes": joined.column("likes"),
            "ratio": pa.array(ratios, mask=np.isnan(ratios)),
            "kept": kept,
            "reason": pa.array(reasons.tolist(), pa.string()),
        }
    )
    context.workspace.write("cohort", table, context.commit)
    return StageReport(len(reasons), int(kept.sum()), skipped=counts, notes=notes)


def _join(posts: pa.Table, users: pa.Table) -> pa.Table:
    """Posts with followers (float, NaN where not known) and status of their account, in order."""
    joined = posts.join(users, "user_id", join_type="left outer").sort_by("post_id").combine_chunks()
    followers = joined.column("followers").cast(pa.float64()).fill_null(float("nan"))
    return joined.set_column(joined.column_names.index("followers"), "followers", followers)


def _lookup_reason(status: str | None) -> str:
    if status is None:
        return NOT_LOOKED_UP
    return KEPT if status == "ok" else REASONS_BY_STATUS.get(status, LOOKUP_FAILED)


def _filter(
    followers: NDArray[np.float64], reasons: NDArray[np.object_], settings: CohortSettings
) -> tuple[str, ...]:
    """Mark posts outside the band in `reasons` and say what the band did."""
    candidates = np.flatnonzero(reasons == KEPT)
    if not candidates.size:
        return ()
    before = followers[candidates]
    scaled = np.log(before) if settings.scale == "log" else before
    band = mad_band(scaled, settings.factor)
    slack = 1e-9 * max(1.0, abs(band.low), abs(band.high))  # so that rounding never drops the median itself
    reasons[candidates[scaled < band.low - slack]] = TOO_FEW
    reasons[candidates[scaled > band.high + slack]] = TOO_MANY
    after = summarise(followers[reasons == KEPT])
    summary = summarise(before)
    low, high = (np.exp([band.low, band.high])) if settings.scale == "log" else (max(band.low, 0), band.high)
    notes: tuple[str, ...] = (
        f"followers before: {summary}; SD is {summary.sd / summary.mean:.1f} x the mean",
        f"followers after: {after}; SD is {after.sd / after.mean:.1f} x the mean",
        f"kept: {low:,.0f} to {high:,.0f} followers, {settings.factor:g} x 1.4826 x MAD "
        f"of {'log ' if settings.scale == 'log' else ''}followers",
    )
    if band.degenerate:
        notes += ("more than half of the accounts have the same number of followers, so the MAD is 0",)
    return notes


def _count(reasons: NDArray[np.object_]) -> dict[str, int]:
    """Reason -> count, most frequent first."""
    names, counts = np.unique(reasons.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}
