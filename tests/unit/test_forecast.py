"""What a collection is said to take, as a table."""

from __future__ import annotations

import pytest

from actors.budget import Limit
from raylike.forecast import forecast, items_per_hour

HOURLY, FIVE_MINUTES = Limit(5000, 3600.0), Limit(3000, 300.0, fixed=True)


@pytest.mark.parametrize(
    ("items", "batch", "tokens", "limit", "hits", "seconds"),
    [
        (100_000, 1, 20, HOURLY, 100_000, 312.5),  # the study's users in one window
        (100_000, 1, 5, HOURLY, 100_000, 3 * 3600.0),  # 20 token hours on 5 tokens: a fourth hour begins
        (100_000, 25, 1, FIVE_MINUTES, 4000, 300.0),
        (1, 40, 3, HOURLY, 1, 1 / 48),
    ],
)
def test_known_cases(items: int, batch: int, tokens: int, limit: Limit, hits: int, seconds: float) -> None:
    found = forecast(items, batch, tokens, [limit], in_flight=16)
    assert found.hits == hits
    assert found.seconds == pytest.approx(seconds)


def test_the_strictest_of_several_limits_decides() -> None:
    both = forecast(600, 1, 1, [Limit(300, 300.0), Limit(300, 900.0)], in_flight=16)
    assert both.seconds == 900.0


def test_it_reads_as_a_line() -> None:
    line = str(forecast(100_000, 1, 5, [HOURLY], in_flight=16))
    assert line == "100,000 hits on 5 tokens with 5000 hits in 3600 s each, about 3.0 h at 1 s a hit"


def test_pages_of_one_timeline_follow_from_one_another() -> None:
    assert forecast(3300, 33, 20, [HOURLY], in_flight=16, at_once=1).seconds == 100.0


@pytest.mark.parametrize(
    ("batch", "tokens", "limit", "at_once", "posts"),
    [
        (33, 20, HOURLY, 1, 118_800),
        (40, 1, Limit(300, 900.0), 1, 48_000),
        (50, 2, Limit(200, 3600.0), 64, 20_000),
    ],
)
def test_where_nobody_knows_how_many_there_are_the_rate_is_said(
    batch: int, tokens: int, limit: Limit, at_once: int, posts: int
) -> None:
    assert items_per_hour(batch, tokens, [limit], at_once) == posts
