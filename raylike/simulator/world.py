"""The simulated network's accounts and posts: who they are, what they show, and how it was liked.

Everything follows from a seed and a number of users, in numpy columns. Likes are

    likes = round(followers^FOLLOWER_EXPONENT * exp(BASE + appeal + user + time + noise))

where `appeal` is a linear function of what can be seen in the photo (`APPEAL_WEIGHTS`), `user` is an
account's own popularity, `time` a daily wave, and `noise` everything else. The attributes that make
appeal are drawn independently of the account, so followers tell nothing about them.

Knows no HTTP and no pixels. The pipeline sees of it only what the server says; `truth.py` is the only
door to the rest.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.drawing.spec import Kind, PhotoSpec

AS_OF = datetime(2015, 11, 1, tzinfo=UTC)
"""The simulated present: the last day before new applications were limited to 500 hits an hour."""

OK, PRIVATE, GONE = 0, 1, 2
"""An account's status."""

PRIVATE_SHARE, GONE_SHARE, ZERO_FOLLOWERS_SHARE = 0.06, 0.04, 0.006
VIDEO_SHARE, YOUNG_SHARE = 0.03, 0.04
"""Of the image posts that are old enough, and on top of them."""
POSTS_PER_USER = 2.0
SPAMMER_POSTS = 36
"""Posts of the one account that shows nearly the same picture again and again; fewer in a small world."""

MEDIAN_FOLLOWERS, FOLLOWERS_LOG_SD = 260.0, 1.15
CELEBRITY_SHARE = 0.006
FOLLOWERS_SD_OVER_MEAN = 5.0
"""As the study found it. The celebrities' tail is stretched until this holds."""

KIND_SHARES = {
    Kind.PERSON: 0.29,
    Kind.DOLL: 0.088, Kind.CARTOON: 0.046, Kind.FACE_LIKE: 0.03, Kind.FAINT_FACE: 0.036,
    Kind.PATTERN: 0.01,
    Kind.QUOTE: 0.1, Kind.MEME: 0.075, Kind.FOOD: 0.085, Kind.LANDSCAPE: 0.09, Kind.PET: 0.075,
    Kind.OBJECT: 0.075,
}  # fmt: skip
"""What posts show: people, things that detectors take for a face (21 %), the rest."""

FOLLOWER_EXPONENT = 0.87
BASE = -1.75
APPEAL_WEIGHTS = {
    "greenery": 0.30,
    "saturation": 0.24,
    "closeness": 0.22,
    "brightness": 0.20,
    "text": -0.20,
    "border": 0.13,
    "monochrome": -0.16,
}
"""Change of log likes for one SD of an attribute."""
USER_SD, TIME_AMPLITUDE, NOISE_SD = 0.40, 0.15, 0.68
"""Spreads of log likes that no picture explains: beside an appeal of SD 0.56 they leave a ranking by
appeal an average precision of about 0.76, so that a perfect model would still be wrong often."""

_DAY_S = 86_400
_FIRST_USER_ID, _USER_ID_STEP = 20_150_017, 37
_FIRST_MEDIA_ID, _MEDIA_ID_STEP = 990_000_000_000_000_000, 7_919_000_033


@dataclass(frozen=True)
class Users:
    """Accounts, one row each."""

    followers: NDArray[np.int64]
    following: NDArray[np.int64]
    media_count: NDArray[np.int64]
    status: NDArray[np.int8]


@dataclass(frozen=True)
class Posts:
    """Posts, one row each, newest tag first.

    `tagged_ms` is strictly decreasing: Instagram pages by when a post was tagged, not when it was made.
    """

    user: NDArray[np.int64]
    kind: NDArray[np.int8]
    seed: NDArray[np.int64]
    is_video: NDArray[np.bool_]
    created_s: NDArray[np.int64]
    tagged_ms: NDArray[np.int64]
    likes: NDArray[np.int64]
    comments: NDArray[np.int64]
    greenery: NDArray[np.float64]
    saturation: NDArray[np.float64]
    closeness: NDArray[np.float64]
    brightness: NDArray[np.float64]
    text: NDArray[np.bool_]
    border: NDArray[np.bool_]
    monochrome: NDArray[np.bool_]


class World:
    """All accounts and posts of one seed. A world of 2,000 users takes some 20 ms to make.

    Parameters
    ----------
    seed : fixes everything
    users : number of accounts, at least 1
    """

    def __init__(self, seed: int, users: int) -> None:
        if users < 1:
            raise ValueError(f"a world needs at least one user, not {users}")
        self.seed = seed
        self.n_users = users
        rng = np.random.default_rng((seed, users))
        followers = _followers(users, rng)
        shares = {OK: 1 - PRIVATE_SHARE - GONE_SHARE, PRIVATE: PRIVATE_SHARE, GONE: GONE_SHARE}
        status = _stratified_choice(shares, users, rng)
        user, spammer = _authors(users, rng)
        self.posts, self._appeal = _posts(user, spammer, followers, rng)
        counts = np.bincount(self.posts.user, minlength=users)
        self.users = Users(
            followers=followers,
            following=np.round(np.exp(rng.normal(5.4, 0.8, users))).astype(np.int64),
            media_count=counts + np.round(np.exp(rng.normal(4.2, 1.0, users))).astype(np.int64),
            status=status,
        )

    @property
    def appeal(self) -> NDArray[np.float64]:
        """What makes each post's photo liked, in log likes. For `truth.py` alone."""
        return self._appeal

    def spec(self, post: int) -> PhotoSpec:
        """What the photo of a post shows."""
        posts = self.posts
        return PhotoSpec(
            kind=Kind(int(posts.kind[post])),
            seed=int(posts.seed[post]),
            greenery=float(posts.greenery[post]),
            saturation=float(posts.saturation[post]),
            closeness=float(posts.closeness[post]),
            brightness=float(posts.brightness[post]),
            text=bool(posts.text[post]),
            border=bool(posts.border[post]),
            monochrome=bool(posts.monochrome[post]),
        )

    def user_id(self, user: int) -> str:
        """The id of an account, by its row."""
        return str(_FIRST_USER_ID + _USER_ID_STEP * user)

    def find_user(self, user_id: str) -> int | None:
        """The row of an account, by its id."""
        return _row(user_id, _FIRST_USER_ID, _USER_ID_STEP, self.n_users)

    def media_id(self, post: int) -> str:
        """The id of a post, by its row: `<media>_<user>`, as Instagram's."""
        return f"{_FIRST_MEDIA_ID + _MEDIA_ID_STEP * post}_{self.user_id(int(self.posts.user[post]))}"

    def find_post(self, media_id: str) -> int | None:
        """The row of a post, by its id."""
        media, _, user_id = media_id.partition("_")
        post = _row(media, _FIRST_MEDIA_ID, _MEDIA_ID_STEP, self.posts.user.size)
        return post if post is not None and self.user_id(int(self.posts.user[post])) == user_id else None


def _row(text: str, first: int, step: int, size: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    row, rest = divmod(int(text) - first, step)
    return row if rest == 0 and 0 <= row < size else None


def _stratified_choice(shares: dict[int, float], size: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Values in the given shares, as exactly as `size` allows, in random order."""
    edges = np.cumsum(list(shares.values())) / sum(shares.values())
    rows = np.searchsorted(edges, (np.arange(size) + rng.random()) / size, side="right")
    values = np.array(list(shares), np.int8)[np.minimum(rows, len(shares) - 1)]
    return rng.permutation(values)


def _followers(users: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Log-normal quantiles with a celebrity tail, in random order, (users,).

    Quantiles rather than draws: every world, small or large, has the distribution's shape.
    """
    normal = NormalDist()
    z = np.array([normal.inv_cdf((k + 0.5) / users) for k in range(users)])
    log_followers = np.log(MEDIAN_FOLLOWERS) + FOLLOWERS_LOG_SD * z
    tail = np.clip(np.arange(users) - (users - max(round(CELEBRITY_SHARE * users), 1)) + 1, 0, None)
    tail = tail / max(tail.max(), 1)
    low, high = 0.0, 20.0
    for _ in range(40):
        stretch = (low + high) / 2
        followers = np.exp(log_followers + stretch * (tail > 0) * (0.6 + 0.4 * tail))
        if followers.std() < FOLLOWERS_SD_OVER_MEAN * followers.mean() and stretch < 19.9:
            low = stretch
        else:
            high = stretch
    whole = np.maximum(np.round(np.exp(log_followers + low * (tail > 0) * (0.6 + 0.4 * tail))), 1)
    whole[: round(ZERO_FOLLOWERS_SHARE * users)] = 0
    return rng.permutation(whole.astype(np.int64))


def _authors(users: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """The account of each old enough image post, two an account on average, and which one repeats itself."""
    quantiles = (np.arange(users) + 0.5) / users
    chance = 1 / POSTS_PER_USER  # geometric: many post once, a few ten times
    counts = np.ceil(np.log(1 - quantiles) / np.log(1 - chance)).astype(np.int64)
    counts = rng.permutation(np.maximum(counts, 1))
    spammer = int(rng.integers(users))
    counts[spammer] = max(counts[spammer], min(SPAMMER_POSTS, users // 20))
    return np.repeat(np.arange(users), counts), spammer


def _posts(
    user: NDArray[np.int64], spammer: int, followers: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Posts, NDArray[np.float64]]:
    """All posts, and the appeal of each."""
    n_old = user.size
    n_video, n_young = round(VIDEO_SHARE * n_old), round(YOUNG_SHARE * n_old)
    extra = rng.integers(0, followers.size, n_video + n_young)
    user = np.concatenate([user, extra])
    size = user.size
    kind = np.concatenate(
        [_stratified_choice(KIND_SHARES, n_old, rng), _stratified_choice(KIND_SHARES, size - n_old, rng)]  # type: ignore[arg-type]
    )
    is_video = np.zeros(size, np.bool_)
    is_video[n_old : n_old + n_video] = True
    age_days = 30.5 + 330 * rng.random(size) ** 1.6
    age_days[n_old + n_video :] = 0.2 + 29 * rng.random(n_young)
    now_s = calendar.timegm(AS_OF.timetuple())
    created_s = (now_s - age_days * _DAY_S).astype(np.int64)

    greenery = np.where(rng.random(size) < 0.3, 0.0, rng.beta(1.4, 2.0, size))
    saturation, brightness = rng.beta(2.2, 2.2, (2, size))
    closeness = rng.beta(1.6, 1.6, size)
    text, border, monochrome = rng.random((3, size)) < np.array([[0.14], [0.12], [0.12]])
    text &= ~np.isin(kind, (Kind.QUOTE, Kind.MEME))  # they have their own
    seeds = rng.integers(0, 2**31, size)
    again = np.flatnonzero(user[:n_old] == spammer)
    # One picture, over and over, a little brighter or darker.
    for column in (kind, seeds, greenery, saturation, closeness, text, border, monochrome):
        column[again] = column[again[0]]
    brightness[again] = np.clip(0.5 + rng.normal(0, 0.03, again.size), 0, 1)
    columns: dict[str, NDArray[Any]] = {
        "greenery": greenery, "saturation": saturation, "closeness": closeness, "brightness": brightness,
        "text": text, "border": border, "monochrome": monochrome,
    }  # fmt: skip
    appeal = _appeal(columns)
    likes = _likes(followers[user], appeal, user, created_s, rng)
    tagged_ms = created_s * 1000 + np.where(rng.random(size) < 0.9, rng.integers(500, 60_000, size),
                                            rng.integers(3_600_000, 10 * _DAY_S * 1000, size))  # fmt: skip
    tagged_ms = np.minimum(tagged_ms, now_s * 1000 - 1 - np.arange(size))
    order = np.argsort(-tagged_ms, kind="stable")
    newest_first = tagged_ms[order]
    # Two posts of one millisecond would tie; stepping back keeps the order strict.
    strict = np.minimum.accumulate(newest_first + np.arange(size)) - np.arange(size)
    posts = Posts(
        user=user[order], kind=kind[order], seed=seeds[order], is_video=is_video[order],
        created_s=created_s[order], tagged_ms=strict, likes=likes[order],
        comments=rng.poisson(0.06 * likes[order] + 0.3),
        **{name: column[order] for name, column in columns.items()},
    )  # fmt: skip
    return posts, appeal[order]


def _appeal(columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Weighted sum of the standardised attributes."""
    total = np.zeros(columns["greenery"].size)
    for name, weight in APPEAL_WEIGHTS.items():
        mean, sd = _ATTRIBUTE_MOMENTS[name]
        total += weight * (columns[name] - mean) / sd
    return total


_ATTRIBUTE_MOMENTS = {
    "greenery": (0.288, 0.265), "saturation": (0.5, 0.215), "closeness": (0.5, 0.244),
    "brightness": (0.5, 0.215), "text": (0.14, 0.347), "border": (0.12, 0.325), "monochrome": (0.12, 0.325),
}  # fmt: skip
"""Mean and SD of each attribute, from the distributions that `_posts` draws it from."""


def _likes(
    followers: NDArray[np.int64], appeal: NDArray[np.float64], user: NDArray[np.int64],
    created_s: NDArray[np.int64], rng: np.random.Generator,
) -> NDArray[np.int64]:  # fmt: skip
    """Likes of each post, (n_posts,)."""
    by_user = rng.normal(0, USER_SD, int(user.max()) + 1)[user]
    hour = (created_s % _DAY_S) / 3600
    by_time = TIME_AMPLITUDE * np.sin(2 * np.pi * (hour - 14) / 24)
    noise = rng.normal(0, NOISE_SD, user.size)
    mean = followers.astype(np.float64) ** FOLLOWER_EXPONENT * np.exp(
        BASE + appeal + by_user + by_time + noise
    )
    return np.round(mean).astype(np.int64)
