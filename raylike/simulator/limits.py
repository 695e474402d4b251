"""The server's count of hits: sliding windows, as Instagram had, and fixed ones, as Mastodon has.

Knows time and tokens. Time comes from a clock that tests can turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Protocol


class Window(Protocol):
    """A limit that holds for each key, such as a token's number, on its own."""

    hits: int
    window_s: float

    def has_room(self, key: int) -> bool:
        """Whether one more hit is allowed now."""

    def take(self, key: int) -> bool:
        """Count a hit; False if the window is full, and then nothing is counted."""

    def remaining(self, key: int) -> int:
        """Hits left at this moment."""

    def reset_after_s(self) -> float:
        """Seconds until the window begins anew; its whole length where it slides."""


class SlidingWindow:
    """At most `hits` hits of one key within any `window_s` seconds. A refused hit does not count.

    Parameters
    ----------
    hits : allowed within a window
    window_s : its length
    clock : seconds, never going back
    """

    def __init__(self, hits: int, window_s: float, clock: Callable[[], float]) -> None:
        self.hits = hits
        self.window_s = window_s
        self._clock = clock
        self._taken: defaultdict[int, deque[float]] = defaultdict(deque)

    def has_room(self, key: int) -> bool:
        """Whether one more hit is allowed now."""
        return self.remaining(key) > 0

    def take(self, key: int) -> bool:
        """Count a hit; False if the window is full, and then nothing is counted."""
        taken = self._current(key)
        if len(taken) >= self.hits:
            return False
        taken.append(self._clock())
        return True

    def remaining(self, key: int) -> int:
        """Hits left at this moment."""
        return self.hits - len(self._current(key))

    def reset_after_s(self) -> float:
        """A whole window: only then is it sure to be empty."""
        return self.window_s

    def _current(self, key: int) -> deque[float]:
        taken = self._taken[key]
        start = self._clock() - self.window_s
        while taken and taken[0] <= start:
            taken.popleft()
        return taken


class FixedWindow:
    """At most `hits` hits of one key between two multiples of `window_s` of the clock."""

    def __init__(self, hits: int, window_s: float, clock: Callable[[], float]) -> None:
        self.hits = hits
        self.window_s = window_s
        self._clock = clock
        self._number = -1
        self._taken: Counter[int] = Counter()

    def has_room(self, key: int) -> bool:
        """Whether one more hit is allowed now."""
        return self.remaining(key) > 0

    def take(self, key: int) -> bool:
        """Count a hit; False if the window is full, and then nothing is counted."""
        if not self.has_room(key):
            return False
        self._taken[key] += 1
        return True

    def remaining(self, key: int) -> int:
        """Hits left at this moment."""
        number = int(self._clock() // self.window_s)
        if number != self._number:
            self._number = number
            self._taken.clear()
        return self.hits - self._taken[key]

    def reset_after_s(self) -> float:
        """Seconds until the next multiple of the window's length."""
        return self.window_s - self._clock() % self.window_s
