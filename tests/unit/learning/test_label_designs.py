"""Label designs: each rule by its definition, and that nothing of a test photo reaches a threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.learning.label_designs import (
    GROUP_SIZE,
    NO_LABEL,
    NO_PAIR,
    PAIR_GAP,
    PAIR_SPAN_S,
    Design,
    Popularity,
    label,
)

DAY_S = 86_400.0


def population(n: int = 1000, seed: int = 0, accounts: int = 300) -> Popularity:
    """Likes that grow with followers, at night less than by day, times noise."""
    rng = np.random.default_rng(seed)
    followers_of = np.exp(rng.normal(5.5, 0.8, accounts)).astype(np.int64) + 1
    user = rng.integers(accounts, size=n)
    posted_s = rng.uniform(0, 60 * DAY_S, n)
    by_hour = np.exp(0.5 * np.sin(2 * np.pi * (posted_s % DAY_S) / DAY_S))
    likes = rng.poisson(0.3 * followers_of[user] ** 0.8 * by_hour * np.exp(rng.normal(0, 0.5, n)))
    return Popularity(likes, followers_of[user], np.char.mod("u%03d", user), posted_s, rng.integers(0, 12, n))


def halves(n: int) -> np.ndarray:
    return np.random.default_rng(1).random(n) < 0.7


@pytest.mark.parametrize("design", get_args(Design))
def test_about_half_of_the_photos_are_good(design: Design) -> None:
    photos = population()
    values = label(design, photos, halves(1000)).values
    assert 0.45 <= values[values != NO_LABEL].mean() <= 0.55


@pytest.mark.parametrize("design", get_args(Design))
def test_what_test_photos_earned_changes_no_label_of_others(design: Design) -> None:
    photos, train = population(), halves(1000)
    if design == "same_user_pairs":  # pairs never cross a split by account
        users = np.where(train, np.char.add("train-", photos.users), np.char.add("test-", photos.users))
        photos = replace(photos, users=users)
    lucky = replace(photos, likes=np.where(train, photos.likes, photos.likes * 50 + 1000))
    before, after = label(design, photos, train).values, label(design, lucky, train).values
    assert (before[train] == after[train]).all()
    assert (before != after).any()


@pytest.mark.parametrize("design", get_args(Design))
def test_the_order_of_rows_does_not_matter(design: Design) -> None:
    photos, train = population(400), halves(400)
    order = np.random.default_rng(2).permutation(400)
    shuffled = Popularity(
        photos.likes[order], photos.followers[order], photos.users[order], photos.posted_s[order],
        photos.n_tags[order],
    )  # fmt: skip
    expected = label(design, photos, train).values[order]
    found = label(design, shuffled, train[order]).values
    assert (found == expected).mean() > 0.99  # pairs with the same gap may be chosen otherwise


def test_the_ratio_is_compared_with_the_median_of_training_photos() -> None:
    likes = np.array([1, 2, 3, 4, 100])
    photos = Popularity(likes, np.full(5, 10), np.array(list("abcde")), np.zeros(5), np.zeros(5, np.int64))
    train = np.array([True, True, True, False, False])
    assert label("ratio_median", photos, train).values.tolist() == [0, 0, 1, 1, 1]


def test_photos_are_ranked_among_accounts_of_their_size() -> None:
    n = 3 * GROUP_SIZE + GROUP_SIZE // 2  # the rest is too small for a group, and joins the last
    followers = np.arange(1, n + 1)
    likes = 1000 * followers + np.random.default_rng(0).permutation(n)
    photos = Popularity(likes, followers, np.arange(n).astype(str), np.zeros(n), np.zeros(n, np.int64))
    good = label("rank_in_follower_groups", photos, np.ones(n, bool)).values
    for start, end in ((0, 100), (100, 200), (200, 350)):
        assert good[start:end].sum() == (end - start) // 2
        assert good[start:end].argmax() >= (end - start) // 2  # the larger accounts of the group
    stranger = replace(photos, likes=np.where(followers == 350, 250_500, likes))
    train = followers != 350
    assert label("rank_in_follower_groups", stranger, train).values[-1] == 0


def test_the_residual_knows_followers_and_hour() -> None:
    photos, train = population(4000), halves(4000)
    good = label("residual", photos, train).values
    night = (photos.posted_s % DAY_S) > DAY_S / 2
    large = photos.followers > np.median(photos.followers)
    for group in (night, ~night, large, ~large):
        assert good[group].mean() == pytest.approx(0.5, abs=0.04)
    by_ratio = label("ratio_median", photos, train).values
    assert abs(by_ratio[night].mean() - by_ratio[~night].mean()) > 0.2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=25)
)
def test_pairs_are_of_one_account_close_in_time_and_clear(rows: list[tuple[int, int, int]]) -> None:
    user, likes, day = (np.array(column) for column in zip(*rows, strict=True))
    photos = Popularity(likes, np.ones_like(likes), user.astype(str), day * DAY_S, np.zeros_like(likes))
    found = label("same_user_pairs", photos, np.ones(len(rows), bool))
    assert ((found.pairs == NO_PAIR) == (found.values == NO_LABEL)).all()
    for pair in range(int(found.pairs.max()) + 1):
        (good,) = np.flatnonzero((found.pairs == pair) & (found.values == 1))
        (bad,) = np.flatnonzero((found.pairs == pair) & (found.values == 0))
        assert user[good] == user[bad]
        assert abs(day[good] - day[bad]) * DAY_S <= PAIR_SPAN_S
        assert (likes[good] + 1) / (likes[bad] + 1) >= PAIR_GAP * (1 - 1e-9)
    alone = np.flatnonzero(found.pairs == NO_PAIR)
    for i in alone:  # and no pair was left unused
        for j in alone:
            if user[i] == user[j] and abs(day[i] - day[j]) * DAY_S <= PAIR_SPAN_S:
                assert max(likes[i], likes[j]) + 1 < PAIR_GAP * (min(likes[i], likes[j]) + 1) * (1 + 1e-9)
