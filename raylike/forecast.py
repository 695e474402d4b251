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
            f"{self.hits:,} hits on {self.tokens} tokens with {each} each, "
            f"about {_span(self.seconds)} at {TYPICAL_LATENCY_S:g} s a hit"
        )


def forecast(items: int, batch_size: int, tokens: int, limits: Sequence[Limit], in_flight: int) -> Forecast:
    """Forecast a collection.

    Parameters
    ----------
    items, batch_size : to be asked for, and how many of them one hit brings
    limits : of each token, all at once
    in_flight : requests under way with one token

    Returns
    -------
    The longer of two times: what latency and requests under way allow, and what the limits do. A limit lets
    its hits through at once and then, a window later, as many again.
    """
    hits = math.ceil(items / batch_size)
    by_latency_s = hits * TYPICAL_LATENCY_S / (tokens * in_flight)
    windows = [(math.ceil(hits / (tokens * limit.hits)) - 1) * limit.window_s for limit in limits]
    return Forecast(hits, tokens, tuple(limits), max(by_latency_s, *windows, 0.0))


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
