"""The server's count of hits: a sliding window for each token, as Instagram had.

Knows time and tokens. Time comes from a clock that tests can turn.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable


class SlidingWindow:
    """At most `hits` hits of one token within any `window_s` seconds. A refused hit does not count.

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

    def take(self, token: int) -> bool:
        """Count a hit of a token; False if its window is full, and then nothing is counted."""
        taken = self._current(token)
        if len(taken) >= self.hits:
            return False
        taken.append(self._clock())
        return True

    def remaining(self, token: int) -> int:
        """Hits that a token has left at this moment."""
        return self.hits - len(self._current(token))

    def _current(self, token: int) -> deque[float]:
        taken = self._taken[token]
        start = self._clock() - self.window_s
        while taken and taken[0] <= start:
            taken.popleft()
        return taken
