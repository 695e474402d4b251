"""People who show an account a photo and ask: posts of the present, beside a world that ended in 2015.

Every account that looks is mentioned by the same people: a few posts are there at the start, and another
one comes every few seconds. Some should get no answer: without a photo, by people who want no bots, by
bots, and replies further down a thread that do not name the account.

Knows the world and the clock. The networks put mentions into their own words.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raylike.simulator.world import GONE, World

FIRST, FIRST_EVERY_S = 8, 60.0
"""Mentions that are there at the start, and how far apart they were made."""
EVERY_S = 10.0
"""Between those that come later."""
STRIDE = 7
"""Of the world's photos, so that neighbours in time are no neighbours there."""

Kind = Literal["photo", "no photo", "no bots", "bot", "reply"]
KINDS: tuple[Kind, ...] = ("photo", "photo", "no photo", "no bots", "photo", "bot", "reply", "photo")
"""In turn."""


@dataclass(frozen=True)
class Mention:
    """A mention, by its number.

    Attributes
    ----------
    row : of the post in the world whose author and photo it has
    made_ms : Unix milliseconds
    """

    number: int
    row: int
    made_ms: int
    kind: Kind


class Mentions:
    """The mentions of one server.

    Parameters
    ----------
    clock : seconds, of the site
    """

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_ms, self._began = int(time.time() * 1000), clock()
        there = world.users.status[world.posts.user] != GONE
        self._rows = np.flatnonzero(there & ~world.posts.is_video.astype(bool))

    def there(self) -> list[Mention]:
        """Those that were made by now, the oldest first."""
        if not self._rows.size:
            return []
        later = int((self._clock() - self._began) // EVERY_S)
        return [self._mention(number) for number in range(FIRST + later)]

    def _mention(self, number: int) -> Mention:
        after_s = (number - FIRST + 1) * EVERY_S if number >= FIRST else (number - FIRST) * FIRST_EVERY_S
        row = int(self._rows[number * STRIDE % self._rows.size])
        return Mention(number, row, self._began_ms + int(after_s * 1000), KINDS[number % len(KINDS)])
