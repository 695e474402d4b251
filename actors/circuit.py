"""A circuit for one host: when it fails again and again, all pause, and one request looks if it is back.

The clock is passed in, in seconds of any monotonic clock; nothing here waits.
Knows nothing of Ray, HTTP or tokens.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CircuitOptions:
    """When a circuit opens, and for how long.

    Attributes
    ----------
    failures_to_open : in a row, over all requests to the host. At 5 % of failures that nobody is to blame
        for, eight in a row come once in 25 billion requests
    first_s, cap_s : the pause, doubled after each look that finds the host still failing
    give_up_after_s : without an answer, the host is taken for down, and failures count against items again
    first_answer_s : the same for a host that has never answered: more likely its address is wrong
    """

    failures_to_open: int = 8
    first_s: float = 0.5
    cap_s: float = 30.0
    give_up_after_s: float = 120.0
    first_answer_s: float = 15.0


class Circuit:
    """Closed while the host answers. Open, it lets one request through after each pause."""

    def __init__(self, options: CircuitOptions | None = None) -> None:
        self._options = options or CircuitOptions()
        self._in_a_row = 0
        self._pause_s = 0.0
        self._open_until = 0.0
        self._opened_at = 0.0
        self._looking = False
        self._has_answered = False

    @property
    def is_open(self) -> bool:
        """Whether requests wait for the host."""
        return self._in_a_row >= self._options.failures_to_open

    def is_hopeless(self, now: float) -> bool:
        """Whether the host has not answered for so long that waiting for it makes no sense."""
        options = self._options
        patience_s = options.give_up_after_s if self._has_answered else options.first_answer_s
        return self.is_open and now - self._opened_at >= patience_s

    def acquire(self, now: float) -> float:
        """Seconds to wait before asking again; 0.0 if a request may be sent now."""
        if not self.is_open:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        if self._looking:
            return self._pause_s
        self._looking = True
        return 0.0

    def succeeded(self) -> None:
        """The host has answered, whatever it said."""
        self._in_a_row = 0
        self._pause_s = 0.0
        self._looking = False
        self._has_answered = True

    def failed(self, now: float) -> None:
        """A request has brought no answer, or one that is the server's own failure."""
        was_open = self.is_open
        self._in_a_row += 1
        if not self.is_open or now < self._open_until:
            return  # still closed, or one of those that were under way when it opened
        self._looking = False
        self._pause_s = min(self._options.cap_s, 2 * self._pause_s or self._options.first_s)
        self._open_until = now + self._pause_s
        if not was_open:
            self._opened_at = now
