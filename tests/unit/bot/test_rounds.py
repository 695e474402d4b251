"""The loop: each mention once, whatever happens in between; limits; who is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.outcomes import RateLimited, Refused, TokenRevoked, Transient
from raylike.bot.manners import Manners
from raylike.bot.memory import Notebook
from raylike.bot.rounds import Bot, Told
from raylike.errors import InputDataError
from raylike.place import Place
from tests.unit.bot.fakes import ME, NOW, MemoryNetwork, mention


class Killed(BaseException):
    """What a SIGKILL does to a process, as far as it can be seen from inside: nothing more runs."""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Watched:
    """A bot on a network in memory, and what it told."""

    def __init__(self, network: MemoryNetwork, folder: Path | None, **options: Any) -> None:
        self.told: list[Told] = []
        self.clock = Clock()
        self.network = network
        if folder is not None:
            folder.mkdir(exist_ok=True)
        posts = options.pop("posts", True)
        self.bot = Bot(
            network,
            ME,
            options.pop("say", lambda photos: f"saw {len(photos)}"),
            Manners(**options),
            Notebook(None if folder is None else Place(folder)),
            posts=posts,
            tell=self.told.append,
            clock=self.clock,
        )

    def round(self) -> list[str]:
        """One round; the outcomes told in it."""
        self.told.clear()
        asyncio.run(self.bot.round())
        return [told.outcome for told in self.told]


@given(
    n=st.integers(1, 6),
    inclusive=st.booleans(),
    faults=st.lists(
        st.tuples(st.sampled_from(["before", "after"]), st.sampled_from([Killed, Transient])), max_size=5
    ),
)
@settings(max_examples=60, deadline=None)
def test_each_mention_is_answered_once_however_often_it_is_killed(
    n: int, inclusive: bool, faults: list[tuple[str, type[BaseException]]]
) -> None:
    network = MemoryNetwork([mention(number) for number in range(n)], inclusive=inclusive)
    with TemporaryDirectory() as folder:
        for when, kind in faults:
            setattr(network, when, _once(kind))
            with suppress(kind):  # nothing happens where nothing is left to send
                Watched(network, Path(folder)).round()
            network.before = network.after = lambda: None
        watched = Watched(network, Path(folder))
        watched.round()
        assert watched.round() == []
        assert set(network.statuses) == {f"post{number}" for number in range(n)}
        assert not Notebook(Place(folder)).memory.unsent()


def _once(kind: type[BaseException]) -> Callable[[], None]:
    def strike() -> None:
        raise kind("a fault")

    return strike


def test_a_dry_run_shows_each_answer_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(1), mention(2)])
    watched = Watched(network, None, posts=False)
    assert watched.round() == ["shown", "shown"]
    assert [(told.name, told.text) for told in watched.told] == [("anna1", "saw 1"), ("anna2", "saw 1")]
    assert watched.round() == []
    assert not network.sent
    assert list(tmp_path.iterdir()) == []


def test_who_asks_too_often_gets_no_answer_and_others_do(tmp_path: Path) -> None:
    mentions = [mention(number, author_id="busy") for number in range(3)] + [mention(3)]
    watched = Watched(MemoryNetwork(mentions), tmp_path, per_account=2)
    assert watched.round() == ["sent", "sent", "asked too often", "sent"]


def test_beyond_an_hours_answers_mentions_wait_in_order(tmp_path: Path) -> None:
    watched = Watched(MemoryNetwork([mention(number) for number in range(3)]), tmp_path, per_hour=2)
    assert watched.round() == ["sent", "sent", "enough answers for an hour: the next in 60 min"]
    watched.clock.now += timedelta(minutes=59)
    assert watched.round() == ["enough answers for an hour: the next in 1 min"]
    watched.clock.now += timedelta(minutes=1)
    assert watched.round() == ["sent"]
    assert list(watched.network.statuses) == ["post0", "post1", "post2"]


def test_limits_outlast_a_restart(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(number, author_id="busy") for number in range(2)])
    assert Watched(network, tmp_path, per_account=1).round() == ["sent", "asked too often"]
    network.waiting.append(mention(2, author_id="busy"))
    assert Watched(network, tmp_path, per_account=1).round() == ["asked too often"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"author_id": ME.account_id}, "its own"),
        ({"addressed": False}, "not addressed"),
        ({"is_bot": True}, "by a bot"),
        ({"profile": "painter\n#NoBot"}, "wants no bots"),
        ({"profile": "<b>#nobots</b>"}, "wants no bots"),
        ({"made_at": NOW - timedelta(hours=25)}, "older than a day"),
        ({"photos": ()}, "without a photo"),
    ],
)
def test_some_are_left_alone(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    network = MemoryNetwork([mention(1, **changes), mention(2, profile="no bots? #nobotany")])
    assert Watched(network, tmp_path).round() == [why, "sent"]
    assert list(network.statuses) == ["post2"]


def test_what_the_network_will_never_take_is_told_and_not_sent_again(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(1), mention(2)])
    network.before = _once(Refused)
    watched = Watched(network, tmp_path)
    assert watched.round() == ["refused: a fault", "refused: a fault"]
    network.before = lambda: None
    assert watched.round() == []
    assert not network.statuses


def test_an_answer_that_may_be_there_twice_by_now_is_given_up(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(1)])
    network.after = _once(Transient)
    watched = Watched(network, tmp_path)
    with pytest.raises(Transient):
        watched.round()
    network.after = lambda: None
    watched.clock.now += timedelta(hours=2)
    assert watched.round() == ["given up"]
    assert network.sent == {"post1": 1}
    assert watched.round() == []


def test_a_trouble_that_may_pass_is_told_and_a_lost_token_ends_it(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(1)])
    troubles: list[BaseException] = [Transient("HTTP 502"), RateLimited(400.0), TokenRevoked("HTTP 401")]

    def strike() -> None:
        raise troubles.pop(0)

    network.before = strike
    watched = Watched(network, tmp_path)
    with pytest.raises(TokenRevoked):
        asyncio.run(watched.bot.run(every_s=0.0))
    assert [told.outcome for told in watched.told] == ["HTTP 502", "rate limit, 400 s to wait"]


def test_answers_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    network = MemoryNetwork([mention(1)])
    watched = Watched(network, tmp_path)
    watched.round()
    watched.clock.now += timedelta(hours=49)
    network.waiting = [mention(2, made_at=watched.clock.now)]
    watched.round()
    assert list(Notebook(Place(tmp_path)).memory.answers) == ["post2"]


def test_a_memory_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text('{"version": 1, "since": 7}')
    with pytest.raises(InputDataError, match="is not what the bot has written"):
        Notebook(Place(tmp_path))


def test_the_memory_also_lies_in_a_bucket(s3: Any) -> None:
    place = Place(f"{s3.bucket()}/bot/mastodon-anna")
    network = MemoryNetwork([mention(1)])
    told: list[Told] = []
    for _ in range(2):
        with place.lock():
            bot = Bot(network, ME, lambda photos: "fine", Manners(), Notebook(place), posts=True,
                      tell=told.append, clock=Clock())  # fmt: skip
            asyncio.run(bot.round())
    assert [one.outcome for one in told] == ["sent"]
    assert network.sent == {"post1": 1}
