"""Sign-ins that have begun and not ended: each works once, in one browser, for ten minutes.

So nobody can bring a code of their own into somebody else's sign-in, or use one a second time. The clock
is passed in. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

LIFETIME_S = 600.0
"""As long as a code lives at most: RFC 6749, 4.1.2."""

MAX_OPEN = 1000
"""Older ones give way, so that whoever asks again and again does not fill the memory."""

SECRET_BYTES = 32


@dataclass(frozen=True)
class Visit:
    """A friend on the way to the network and back.

    Attributes
    ----------
    browser : known to the one browser that began it
    verifier : proves to the network that the asker is the one who sent the friend
    """

    browser: SecretStr
    verifier: SecretStr
    begun_at: float


class Visits:
    """All that are open."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, Visit] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, verifier: SecretStr) -> tuple[str, Visit]:
        """A visit, and the state that names it on its way."""
        state = secrets.token_urlsafe(SECRET_BYTES)
        browser = SecretStr(secrets.token_urlsafe(SECRET_BYTES))
        while len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        self._open[_key(state)] = Visit(browser, verifier, self._clock())
        return state, self._open[_key(state)]

    def end(self, state: str, browser: str) -> Visit | None:
        """The visit that a friend comes back from; None if it is unknown, over, too old or another browser's.

        Whichever it is, it is over now.
        """
        visit = self._open.pop(_key(state), None)
        if visit is None or self._clock() - visit.begun_at > LIFETIME_S:
            return None
        own = secrets.compare_digest(visit.browser.get_secret_value().encode(), browser.encode())
        return visit if own else None


def _key(state: str) -> str:
    """What a visit is found by: how long finding takes tells nothing of the state."""
    return hashlib.sha256(state.encode()).hexdigest()
