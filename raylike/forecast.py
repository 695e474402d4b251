"""How many hits a collection takes, and how long: said before it begins. Arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from actors.budget import Limit

TYPICAL_LATENCY_S = 1.0
"""Of one hit: what the study of 2015 met, and about what networks answer in today."""


@dataclass(frozen=True)
class Forecast:
    """What is expected; printed, it is a line for people."""

    hits: int
    tokens: int
    limits: tuple[Limit, ...]
    seconds: float

    def __str__(self) -> str:
        each = " and ".join(map(str, self.limits))
        return (
            f"{_count(self.hits, 'hit')} on {_count(self.tokens, 'token')} with {each} each, "
            f"about {_span(self.seconds)} at {TYPICAL_LATENCY_S:g} s a hit"
        )


def forecast(
    items: int,
    batch_size: int,
    tokens: int,
    limits: Sequence[Limit],
    in_flight: int,
    at_once: int | None = None,
) -> Forecast:
    """Forecast a collection.

    Parameters
    ----------
    items, batch_size : to be asked for, and how many of them one hit brings
    limits : of each token, all at once
    in_flight : requests under way with one token
    at_once : requests under way at most, whatever the tokens: pages of a timeline follow from one another

    Returns
    -------
    The longer of two times: what latency and requests under way allow, and what the limits do. A limit lets
    its hits through at once and then, a window later, as many again.
    """
    hits = math.ceil(items / batch_size)
    by_latency_s = hits * TYPICAL_LATENCY_S / min(tokens * in_flight, at_once or math.inf)
    windows = [(math.ceil(hits / (tokens * limit.hits)) - 1) * limit.window_s for limit in limits]
    return Forecast(hits, tokens, tuple(limits), max(by_latency_s, *windows, 0.0))


def items_per_hour(batch_size: int, tokens: int, limits: Sequence[Limit], at_once: int) -> int:
    """Items that come in an hour where nobody knows how many there are; parameters as `forecast`'s."""
    hits_per_s = min(at_once / TYPICAL_LATENCY_S, *(tokens * limit.hits / limit.window_s for limit in limits))
    return round(batch_size * hits_per_s * 3600)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' if n != 1 else ''}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
