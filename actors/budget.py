"""How many hits a token has left: sliding windows counted here, tightened by what the server says.

The clock is passed in, in seconds of any monotonic clock; nothing here waits. So the laws below are
tested with a virtual clock:

- the server never sees more hits in a window than the limit, whatever the latency: a hit counts from
  the moment it is sent until one window after its *answer*, because when in between the server
  counted it cannot be known;
- the server's headers only ever tighten the count made here: they add hits that somebody else made
  with the same token, or that were made before this process began;
- every wait is finite: after the seconds that `acquire` returns, asking again brings progress.

Knows nothing of Ray, HTTP or tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

RESOLUTION_S = 1e-6
"""Added to every wait, so that a sum of floats does not fall short of the moment that is meant."""


@dataclass(frozen=True)
class Limit:
    """At most `hits` in any `window_s` seconds; or, if `fixed`, in each of the server's own windows.

    Fixed windows follow one another without a gap. Where they begin, only the server's headers tell.
    """

    hits: int
    window_s: float
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.hits < 1 or self.window_s <= 0:
            raise ValueError(f"no limit: {self.hits} hits in {self.window_s} s")

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `hits/window in s`, such as `5000/3600`."""
        hits, _, window_s = text.partition("/")
        return cls(int(hits), float(window_s))

    def __str__(self) -> str:
        return f"{self.hits} hits in {self.window_s:g} s"


@dataclass(frozen=True)
class RateReport:
    """What the headers of one answer say. None: the header is not there.

    Attributes
    ----------
    limit, remaining : hits, of the window that the server speaks of
    reset_after_s : seconds from the answer until hits made by now no longer count
    used_share : of the allowance, in [0, 1], where the server tells no numbers of hits
    """

    limit: int | None = None
    remaining: int | None = None
    reset_after_s: float | None = None
    used_share: float | None = None


class RateBudget:
    """The allowance of one token under one or several overlapping limits.

    Parameters
    ----------
    limits : each holds on its own; at least one
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        if not limits:
            raise ValueError("a budget needs a limit")
        self._windows = [_Window(limit.hits, limit.window_s) for limit in limits]
        self._in_flight = 0
        self._blocked_until = float("-inf")

    @property
    def in_flight(self) -> int:
        """Hits sent and not yet answered."""
        return self._in_flight

    def wait_s(self, now: float) -> float:
        """Seconds until a hit may be allowed; 0.0 if one is allowed now. A lower bound: ask again then."""
        waits = [window.wait_s(now, self._in_flight) for window in self._windows]
        wait_s = max(0.0, self._blocked_until - now, *waits)
        return wait_s + RESOLUTION_S if wait_s else 0.0

    def acquire(self, now: float) -> float:
        """Take one hit and return 0.0; or take none and return `wait_s(now)`."""
        wait_s = self.wait_s(now)
        if wait_s == 0.0:
            self._in_flight += 1
        return wait_s

    def settle(self, now: float) -> None:
        """Note that one acquired hit has ended, with an answer or without."""
        if self._in_flight < 1:
            raise ValueError("no hit is in flight")
        self._in_flight -= 1
        for window in self._windows:
            window.answered.append(now)

    def observe(self, now: float, report: RateReport) -> None:
        """Adopt what an answer's headers say, where that is stricter. Call it after `settle`."""
        window = self._meant(report)
        if report.limit is not None:
            window.hits = max(1, min(window.hits, report.limit))
        if report.remaining is not None:
            window.adopt(report.remaining, now, report.reset_after_s)

    def refuse(self, now: float, retry_after_s: float | None) -> None:
        """Note that the server refused a hit as one too many. Call it after `settle`.

        Without a time from the server the longest window is taken for full: the next hit comes when one
        of our own leaves it, or a whole window from now.
        """
        if retry_after_s is not None:
            self._blocked_until = max(self._blocked_until, now + retry_after_s)
        else:
            self._longest.adopt(0, now, None)

    def remaining(self, now: float) -> int:
        """Hits allowed at this moment, as far as is known."""
        if now < self._blocked_until:
            return 0
        return max(0, min(window.hits - window.used(now, self._in_flight) for window in self._windows))

    def _meant(self, report: RateReport) -> _Window:
        """The window that a report speaks of: the one with its limit, else the longest."""
        return next((window for window in self._windows if window.hits == report.limit), self._longest)

    @property
    def _longest(self) -> _Window:
        return max(self._windows, key=lambda window: window.window_s)


class _Window:
    """One limit: the hits that count under it, ours by time of answer, others' as one number."""

    def __init__(self, hits: int, window_s: float) -> None:
        self.hits = hits
        self.window_s = window_s
        self.answered: deque[float] = deque()
        self._others = 0
        self._others_until = float("-inf")

    def used(self, now: float, in_flight: int) -> int:
        self._forget(now)
        return len(self.answered) + in_flight + self._others

    def wait_s(self, now: float, in_flight: int) -> float:
        too_many = self.used(now, in_flight) - self.hits + 1
        if too_many <= 0:
            return 0.0
        # The earliest moment at which `too_many` hits have left: others' leave at once, ours one by one,
        # and one in flight at best a window from now.
        others_s = self._others_until - now if self._others else 0.0
        return min(
            self._until_left(too_many, now),
            max(others_s, self._until_left(too_many - self._others, now)),
        )

    def adopt(self, remaining: int, now: float, reset_after_s: float | None) -> None:
        """Take the server's count. What exceeds our answered hits was somebody else's, or is in flight."""
        self._forget(now)
        self._others = max(0, self.hits - remaining - len(self.answered))
        self._others_until = now + (self.window_s if reset_after_s is None else max(0.0, reset_after_s))

    def _until_left(self, count: int, now: float) -> float:
        if count <= 0:
            return 0.0
        if count > len(self.answered):
            return self.window_s
        return self.answered[count - 1] + self.window_s - now

    def _forget(self, now: float) -> None:
        while self.answered and self.answered[0] + self.window_s <= now:
            self.answered.popleft()
        if now >= self._others_until:
            self._others = 0
