"""Four ways to call a photo good, each one a different answer to: liked more than what?

| design                  | a photo is good if                                                             |
|-------------------------|--------------------------------------------------------------------------------|
| ratio_median            | its likes per follower exceed the median (the study)                           |
| rank_in_follower_groups | its likes exceed the median of 100 photos of accounts as large (Karpathy 2015) |
| same_user_pairs         | it has clearly more likes than another of its account, posted about then       |
|                         | (Ding, Ma and Wang, "Intrinsic Image Popularity Assessment", ACM MM 2019)      |
| residual                | its likes exceed what followers, hour, weekday and tags let expect             |

Whatever a design learns (medians, groups, the model of counts) it learns from training photos alone.
Pairs learn nothing; photos without a partner get no label.

Knows arrays. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raylike.learning.calendar import hour_and_weekday

Design = Literal["ratio_median", "rank_in_follower_groups", "same_user_pairs", "residual"]

IN_WORDS: dict[str, str] = {
    "ratio_median": "its likes per follower are above the median, as in the study",
    "rank_in_follower_groups": "its likes are above the median of 100 photos of accounts as large",
    "same_user_pairs": "it has clearly more likes than another of its account, posted within ten days",
    "residual": "its likes are above what followers, hour, weekday and tags let expect",
}
"""For people: a photo is good if ..."""

NO_PARTNER = "no photo to pair it with"
"""Why a photo has no label."""

NO_LABEL = -1
NO_PAIR = -1

GROUP_SIZE = 100
"""Training photos in a group of accounts of about the same size."""

PAIR_SPAN_S = 10 * 86_400.0
"""Two photos further apart in time are no pair: accounts grow."""

PAIR_GAP = 1.5
"""So many times the likes (counted from 1) are a clear gap."""

SHRINKAGE = 1e-4
"""L2 penalty of the model of counts: enough for it to have one solution where columns are constant."""


@dataclass(frozen=True)
class Popularity:
    """What n photos earned, and what is known of their posts; every array of shape (n,).

    Attributes
    ----------
    likes, followers, n_tags : counts; followers >= 1
    users : the account of each photo
    posted_s : Unix seconds, UTC
    """

    likes: NDArray[np.int64]
    followers: NDArray[np.int64]
    users: NDArray[np.str_]
    posted_s: NDArray[np.float64]
    n_tags: NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What a design says of n photos.

    Attributes
    ----------
    values : 1 for good, 0 for bad, `NO_LABEL`; int8 (n,)
    pairs : number of the pair that a photo is in, `NO_PAIR`; int32 (n,)
    """

    values: NDArray[np.int8]
    pairs: NDArray[np.int32]


def label(design: Design, photos: Popularity, train: NDArray[np.bool_]) -> Labels:
    """Label photos; `train` (n,) tells which of them the design may learn from, at least one."""
    if design == "same_user_pairs":
        return _same_user_pairs(photos)
    good = _ABOVE[design](photos, train)
    return Labels(good.astype(np.int8), np.full(good.size, NO_PAIR, np.int32))


def _ratio_median(photos: Popularity, train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    ratio = photos.likes / photos.followers
    above: NDArray[np.bool_] = ratio > np.median(ratio[train])
    return above


def _rank_in_follower_groups(photos: Popularity, train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Groups are spans of followers; the last takes the training photos that fill no group of their own."""
    in_order = np.sort(photos.followers[train])
    starts = in_order[GROUP_SIZE : in_order.size - GROUP_SIZE + 1 : GROUP_SIZE]
    group = np.searchsorted(starts, photos.followers, side="right")
    above = np.zeros(photos.likes.size, dtype=np.bool_)
    for number in np.unique(group[train]):
        members = group == number
        above[members] = photos.likes[members] > np.median(photos.likes[members & train])
    return above


def surplus(photos: Popularity, train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log likes beyond what followers, hour, weekday and tags let expect, (n,); learned from `train` alone.

    Poisson regression: with a log link its means are right even where counts vary more than Poisson's.
    """
    from sklearn.linear_model import PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.column_stack(
        [np.log(photos.followers), np.log1p(photos.n_tags), hour_and_weekday(photos.posted_s)]
    )
    model = make_pipeline(StandardScaler(), PoissonRegressor(alpha=SHRINKAGE, max_iter=1000))
    model.fit(known[train], photos.likes[train])
    beyond: NDArray[np.float64] = np.log1p(photos.likes) - np.log1p(model.predict(known))
    return beyond


def _residual(photos: Popularity, train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    beyond = surplus(photos, train)
    above: NDArray[np.bool_] = beyond > np.median(beyond[train])
    return above


_ABOVE: dict[Design, Callable[[Popularity, NDArray[np.bool_]], NDArray[np.bool_]]] = {
    "ratio_median": _ratio_median,
    "rank_in_follower_groups": _rank_in_follower_groups,
    "residual": _residual,
}


def _same_user_pairs(photos: Popularity) -> Labels:
    """Disjoint pairs, those with the widest gap first, so that no photo is good here and bad there."""
    values = np.full(photos.likes.size, NO_LABEL, np.int8)
    pairs = np.full(photos.likes.size, NO_PAIR, np.int32)
    n_pairs = 0
    for better, worse in _candidates(photos):
        if pairs[better] == pairs[worse] == NO_PAIR:
            pairs[[better, worse]] = n_pairs
            values[better], values[worse] = 1, 0
            n_pairs += 1
    return Labels(values, pairs)


def _candidates(photos: Popularity) -> Iterator[tuple[int, int]]:
    """Pairs of photos, the better one first: of one account, close in time, a clear gap in likes."""
    scale = np.log1p(photos.likes)
    found: list[tuple[float, int, int]] = []
    order = np.lexsort((photos.posted_s, photos.users))
    accounts = np.flatnonzero(photos.users[order][1:] != photos.users[order][:-1]) + 1
    for rows in np.split(order, accounts):
        for position, one in enumerate(rows[:-1].tolist()):
            last = np.searchsorted(photos.posted_s[rows], photos.posted_s[one] + PAIR_SPAN_S, side="right")
            others = rows[position + 1 : last]
            gaps = scale[others] - scale[one]
            for other, gap in zip(others.tolist(), gaps.tolist(), strict=True):
                if abs(gap) >= np.log(PAIR_GAP):
                    found.append((-abs(gap), other, one) if gap > 0 else (-abs(gap), one, other))
    return ((better, worse) for _, better, worse in sorted(found))
