"""The simulated world has the proportions that the study had, and is the same each time."""

from __future__ import annotations

import calendar

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.simulator import truth, world
from raylike.simulator.drawing import Kind
from raylike.simulator.world import AS_OF, GONE, OK, PRIVATE, World

DAY_S = 86_400
LAPTOP_USERS = 2000


@pytest.fixture(scope="module")
def laptop() -> World:
    return World(0, LAPTOP_USERS)


def old_images(made: World) -> NDArray[np.bool_]:
    month_ago = calendar.timegm(AS_OF.timetuple()) - 30 * DAY_S
    return (made.posts.created_s <= month_ago) & ~made.posts.is_video


def cohort(made: World) -> NDArray[np.bool_]:
    """What the filter on log followers keeps: within 1.4826 MAD of the median."""
    followers = made.users.followers[made.posts.user]
    known = old_images(made) & (made.users.status[made.posts.user] == OK) & (followers > 0)
    logs = np.log(np.maximum(followers, 1))
    median = np.median(logs[known])
    spread = 1.4826 * np.median(np.abs(logs[known] - median))
    kept: NDArray[np.bool_] = known & (np.abs(logs - median) <= spread)
    return kept


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    hits = labels[np.argsort(-scores, kind="stable")]
    return float(np.mean((np.cumsum(hits) / np.arange(1, hits.size + 1))[hits]))


@pytest.mark.parametrize("users", [60, 200, LAPTOP_USERS, 20_000])
def test_followers_spread_five_times_their_mean(users: int) -> None:
    followers = World(0, users).users.followers
    assert followers.std() / followers.mean() == pytest.approx(5, rel=0.05)
    assert followers.size == users


def test_accounts_are_private_gone_or_unfollowed_in_their_shares(laptop: World) -> None:
    status = laptop.users.status
    assert np.mean(status == PRIVATE) == pytest.approx(world.PRIVATE_SHARE, abs=0.002)
    assert np.mean(status == GONE) == pytest.approx(world.GONE_SHARE, abs=0.002)
    assert 1 <= np.sum(laptop.users.followers == 0) <= 30


def test_posts_are_two_a_user_and_some_videos_and_young_ones_more(laptop: World) -> None:
    old = old_images(laptop).sum()
    assert old == pytest.approx(2 * LAPTOP_USERS, rel=0.02)
    assert laptop.posts.is_video.sum() == pytest.approx(0.03 * old, rel=0.02)
    assert laptop.posts.user.size - old - laptop.posts.is_video.sum() == pytest.approx(0.04 * old, rel=0.02)
    assert np.unique(laptop.posts.user).size == LAPTOP_USERS


@pytest.mark.parametrize("seed", range(3))
def test_the_funnel_narrows_as_in_the_study(seed: int) -> None:
    made = World(seed, LAPTOP_USERS)
    kept = cohort(made)
    kinds = made.posts.kind[kept]
    assert kept.sum() / old_images(made).sum() == pytest.approx(0.60, abs=0.03)
    assert np.mean(kinds == Kind.PERSON) == pytest.approx(0.29, abs=0.03)
    assert np.mean([Kind(int(kind)).is_bait for kind in kinds]) == pytest.approx(0.21, abs=0.03)


def test_one_account_posts_the_same_picture_again_and_again(laptop: World) -> None:
    counts = np.bincount(laptop.posts.user)
    spammer = int(counts.argmax())
    shown = laptop.posts.seed[(laptop.posts.user == spammer) & old_images(laptop)]
    assert shown.size >= 24
    assert np.unique(shown).size == 1


def test_followers_say_nothing_about_appeal(laptop: World) -> None:
    kept = cohort(laptop)
    followers = laptop.users.followers[laptop.posts.user[kept]]
    assert abs(np.corrcoef(np.log(followers), laptop.appeal[kept])[0, 1]) < 0.06


def test_the_best_reachable_average_precision_leaves_room_for_error() -> None:
    made = World(0, 30_000)
    people = cohort(made) & (made.posts.kind == Kind.PERSON)
    followers = made.users.followers[made.posts.user[people]]
    ratio = made.posts.likes[people] / followers
    liked = ratio > np.median(ratio)
    assert 0.74 <= average_precision(liked, made.appeal[people]) <= 0.78
    assert average_precision(liked, -followers.astype(float)) < 0.57, "followers alone must tell little"


def test_the_same_seed_makes_the_same_world_and_another_one_another() -> None:
    one, again, other = World(4, 300), World(4, 300), World(5, 300)
    for name in ("user", "kind", "seed", "likes", "created_s", "tagged_ms", "greenery"):
        np.testing.assert_array_equal(getattr(one.posts, name), getattr(again.posts, name))
    assert not np.array_equal(one.posts.likes[:100], other.posts.likes[:100])


def test_tags_are_strictly_newest_first_and_never_in_the_future(laptop: World) -> None:
    assert np.all(np.diff(laptop.posts.tagged_ms) < 0)
    assert laptop.posts.tagged_ms[0] < 1000 * calendar.timegm(AS_OF.timetuple())


def test_ids_lead_back_to_their_rows(laptop: World) -> None:
    for row in (0, 17, laptop.posts.user.size - 1):
        assert laptop.find_post(laptop.media_id(row)) == row
        assert laptop.find_user(laptop.user_id(int(laptop.posts.user[row]))) == laptop.posts.user[row]


@pytest.mark.parametrize("nonsense", ["", "7", "x", "1_2", "990000000000000000_1", "²", "9" * 40, "-1"])
def test_foreign_ids_lead_nowhere(laptop: World, nonsense: str) -> None:
    assert laptop.find_post(nonsense) is None
    assert laptop.find_user(nonsense) is None


def test_the_smallest_world_has_a_post() -> None:
    assert World(0, 1).posts.user.size >= 1
    with pytest.raises(ValueError, match="at least one user"):
        World(0, 0)


def test_truth_tells_appeal_and_people_by_post_id(laptop: World) -> None:
    rows = [5, 0, 123]
    ids = [laptop.media_id(row) for row in rows]
    np.testing.assert_array_equal(truth.oracle(0, LAPTOP_USERS, ids), laptop.appeal[rows])
    np.testing.assert_array_equal(
        truth.is_person(0, LAPTOP_USERS, ids), laptop.posts.kind[rows] == Kind.PERSON
    )
    with pytest.raises(KeyError, match="nobody"):
        truth.oracle(0, LAPTOP_USERS, ["nobody"])
