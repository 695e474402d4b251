"""How many hits a token has left: windows counted here, tightened by what the server says.

The clock is passed in, in seconds of any monotonic clock; nothing here waits. So the laws below are
tested with a virtual clock:

- the server never sees more hits in a window than the limit, whatever the latency: a hit counts from
  the moment it is sent until one window after its *answer*, because when in between the server
  counted it cannot be known;
- the server's headers only ever tighten the count made here: they add hits that somebody else made
  with the same token, or that were made before this process began. The one thing that they may loosen
  is when a fixed window ends, which nobody else knows; until they say it, it is taken for sliding, the
  stricter of the two;
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
        self._windows = [_Window(limit) for limit in limits]
        self._in_flight = 0
        self._blocked_until = float("-inf")

    @property
    def in_flight(self) -> int:
        """Hits sent and not yet answered."""
        return self._in_flight

    def wait_s(self, now: float) -> float:
        """Seconds until a hit may be allowed; 0.0 if one is allowed now. A lower bound: ask again then."""
        wait_s = max(0.0, self._blocked_until - now)
        for window in self._windows:
            wait_s = max(wait_s, window.wait_s(now, self._in_flight))
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

    def observe(self, now: float, report: RateReport, latency_s: float = 0.0) -> None:
        """Adopt what an answer's headers say. Call it after `settle`.

        Parameters
        ----------
        latency_s : from sending to answer; at some moment in between the headers were written
        """
        meant = self._meant(report)
        for window in meant:
            if report.limit is not None:
                window.hits = max(1, min(window.hits, report.limit))
            remaining = report.remaining
            if remaining is None and report.used_share is not None:
                remaining = int(window.hits * (1 - report.used_share))
            if remaining is not None:
                window.adopt(remaining, now, report.reset_after_s)
        if report.reset_after_s is not None:
            meant[0].end_between(now - latency_s + report.reset_after_s, now + report.reset_after_s)

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

    def _meant(self, report: RateReport) -> list[_Window]:
        """The windows that a report may speak of, the shortest first; without a known one the longest.

        Mastodon allows 300 hits in 5 minutes, and 300 pages in 15: its headers may mean either.
        """
        if len(self._windows) == 1:
            return self._windows
        soon = report.reset_after_s or 0.0
        found = [w for w in self._windows if w.hits == report.limit and w.window_s >= soon]
        return sorted(found, key=lambda window: window.window_s) or [self._longest]

    @property
    def _longest(self) -> _Window:
        return max(self._windows, key=lambda window: window.window_s)


class _Window:
    """One limit: the hits that count under it, ours by time of answer, others' as one number."""

    def __init__(self, limit: Limit) -> None:
        self.hits = limit.hits
        self.window_s = limit.window_s
        self.answered: deque[float] = deque()
        self._fixed = limit.fixed
        self._ends_at = self._counted_until = float("inf")
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
        # and one in flight at best a window from now. At the end of a fixed window all leave together.
        others_s = self._others_until - now if self._others else 0.0
        return min(
            self._ends_at - now,
            self._until_left(too_many, now),
            max(others_s, self._until_left(too_many - self._others, now)),
        )

    def adopt(self, remaining: int, now: float, reset_after_s: float | None) -> None:
        """Take the server's count. What exceeds our answered hits was somebody else's, or is in flight."""
        self._forget(now)
        self._others = max(0, self.hits - remaining - len(self.answered))
        self._others_until = now + (self.window_s if reset_after_s is None else max(0.0, reset_after_s))

    def end_between(self, earliest: float, latest: float) -> None:
        """Note when the server begins to count anew, as far as is known. A sliding window never does."""
        if self._fixed:
            self._counted_until, self._ends_at = earliest, latest

    def _until_left(self, count: int, now: float) -> float:
        if count <= 0:
            return 0.0
        if count > len(self.answered):
            return self.window_s
        return self.answered[count - 1] + self.window_s - now

    def _forget(self, now: float) -> None:
        if now >= self._ends_at:
            # What was answered before it can have ended was counted in it; the rest may belong to the next.
            while self.answered and self.answered[0] <= self._counted_until:
                self.answered.popleft()
            self._ends_at = float("inf")  # the next end is not known before the server says it
        while self.answered and self.answered[0] + self.window_s <= now:
            self.answered.popleft()
        if now >= self._others_until:
            self._others = 0
