"""One token at work: every hit waits for its budget, and faults that may pass are tried again.

Used by the token actors, and in the driver where there is too little to do for a process of its own.
Knows asyncio and `RateBudget`. Knows nothing of Ray, HTTP or any network.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from actors.budget import RateBudget
from actors.outcomes import Credential, RateLimited, Reply, TokenRevoked, Transient

T = TypeVar("T")

LOOK_AGAIN_S = 0.05
"""A wait ends early when a hit under way is answered; so it is slept in pieces of this length."""


@dataclass(frozen=True)
class Backoff:
    """How often, and after what pause, a transient fault is tried again.

    Attributes
    ----------
    attempts : tries in all
    first_s, cap_s : the pause before try n is drawn from 0 to min(cap, first * 2**(n - 2)), so that
        clients which failed together do not come back together
    """

    attempts: int = 6
    first_s: float = 0.5
    cap_s: float = 20.0

    def pause_s(self, failures: int) -> float:
        """Seconds to pause after so many failures in a row."""
        return random.uniform(0.0, min(self.cap_s, self.first_s * 2.0 ** (failures - 1)))


class PacedToken:
    """A credential, its budget, and a bound on the requests under way.

    Parameters
    ----------
    in_flight : requests under way at once. The first goes alone: only its answer tells what the
        server has already counted.
    """

    def __init__(
        self, credential: Credential, budget: RateBudget, in_flight: int, backoff: Backoff | None = None
    ) -> None:
        self.credential = credential
        self.budget = budget
        self.hits = 0
        self.waited_s = 0.0
        self._backoff = backoff or Backoff()
        self._slots = asyncio.Semaphore(in_flight)
        self._first = asyncio.Lock()
        self._answered_once = False
        self._revoked: TokenRevoked | None = None

    async def call(
        self, send: Callable[[Credential], Awaitable[Reply[T]]], patience_s: float = math.inf
    ) -> T:
        """Return the value of `send(credential)` once the budget allows it.

        Raises
        ------
        RateLimited : with the seconds to wait, where these are more than `patience_s`
        Transient : when every attempt failed
        TokenRevoked, Refused : as `send` raised them
        """
        failures = 0
        while True:
            try:
                return await self._attempt(send, patience_s)
            except Transient:
                failures += 1
                if failures >= self._backoff.attempts:
                    raise
            await asyncio.sleep(self._backoff.pause_s(failures))

    def wait_s(self) -> float:
        """Seconds until a hit may be allowed."""
        return self.budget.wait_s(time.monotonic())

    async def _attempt(self, send: Callable[[Credential], Awaitable[Reply[T]]], patience_s: float) -> T:
        while True:
            try:
                if not self._answered_once:
                    async with self._first:
                        if not self._answered_once:
                            value = await self._hit(send, patience_s)
                            self._answered_once = True
                            return value
                async with self._slots:
                    return await self._hit(send, patience_s)
            except RateLimited as limited:
                # From the server: the budget knows by now. From the budget: more than our patience.
                if (limited.retry_after_s or 0.0) > patience_s:
                    raise

    async def _hit(self, send: Callable[[Credential], Awaitable[Reply[T]]], patience_s: float) -> T:
        if self._revoked is not None:  # by a hit that was sent before this one
            raise TokenRevoked(*self._revoked.args)
        while wait_s := self.budget.acquire(time.monotonic()):
            if wait_s > patience_s:
                raise RateLimited(wait_s)
            pause_s = min(wait_s, LOOK_AGAIN_S)
            self.waited_s += pause_s
            await asyncio.sleep(pause_s)
        self.hits += 1
        try:
            reply = await send(self.credential)
        except RateLimited as limited:
            self.budget.settle(time.monotonic())
            self.budget.refuse(time.monotonic(), limited.retry_after_s)
            raise
        except TokenRevoked as revoked:
            self.budget.settle(time.monotonic())
            self._revoked = revoked
            raise
        except BaseException:
            self.budget.settle(time.monotonic())
            raise
        now = time.monotonic()
        self.budget.settle(now)
        if reply.rate is not None:
            self.budget.observe(now, reply.rate)
        return reply.value
