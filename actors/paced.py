"""One token at work: every hit waits for its budget, and faults that may pass are tried again.

Used by the token actors, and in the driver where there is too little to do for a process of its own.
Knows asyncio and `RateBudget`. Knows nothing of Ray, HTTP or any network.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from actors.budget import RateBudget
from actors.circuit import Circuit
from actors.outcomes import ClientError, Credential, RateLimited, Reply, TokenRevoked, Transient, kind_of

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
    circuit : of the host; shared by all tokens of a process
    """

    def __init__(
        self,
        credential: Credential,
        budget: RateBudget,
        in_flight: int,
        backoff: Backoff | None = None,
        circuit: Circuit | None = None,
    ) -> None:
        self.credential = credential
        self.budget = budget
        self.hits = 0
        self.waited_s = 0.0
        self.errors: Counter[str] = Counter()
        """Hits that brought no answer, by kind."""
        self._backoff = backoff or Backoff()
        self._circuit = circuit or Circuit()
        self._slots = asyncio.Semaphore(in_flight)
        self._first = asyncio.Lock()
        self._answered_once = False
        self._revoked: TokenRevoked | None = None

    async def call(
        self,
        send: Callable[[Credential], Awaitable[Reply[T]]],
        patience_s: float = math.inf,
        after: Transient | None = None,
    ) -> T:
        """Return the value of `send(credential)` once the budget allows it.

        Parameters
        ----------
        after : how a first attempt ended, if there was one

        Raises
        ------
        RateLimited : with the seconds to wait, where these are more than `patience_s`
        Transient : when every attempt failed. While the host fails altogether, attempts do not count:
            it would be the host's fault, not the item's
        TokenRevoked, Refused : as `send` raised them
        """
        failures, trouble = 0, after
        while True:
            if trouble is None:
                try:
                    return await self.attempt(send, patience_s)
                except Transient as error:
                    trouble = error
            if not self._circuit.is_open or self._circuit.is_hopeless(time.monotonic()):
                failures += 1
                if failures >= self._backoff.attempts:
                    raise trouble
                await asyncio.sleep(self._backoff.pause_s(failures))
            trouble = None

    async def attempt(
        self, send: Callable[[Credential], Awaitable[Reply[T]]], patience_s: float = math.inf
    ) -> T:
        """`call` without a second try: the first transient fault is raised."""
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

    def wait_s(self) -> float:
        """Seconds until a hit may be allowed."""
        return self.budget.wait_s(time.monotonic())

    async def _hit(self, send: Callable[[Credential], Awaitable[Reply[T]]], patience_s: float) -> T:
        if self._revoked is not None:  # by a hit that was sent before this one
            raise TokenRevoked(*self._revoked.args)
        sent_at = time.monotonic()
        if self._circuit.is_open or self.budget.acquire(sent_at):
            await self._until_allowed(patience_s)
            sent_at = time.monotonic()
        self.hits += 1
        try:
            reply = await send(self.credential)
        except BaseException as trouble:
            self._failed(trouble)
            raise
        now = time.monotonic()
        self.budget.settle(now)
        self._circuit.succeeded()
        if reply.rate is not None:
            self.budget.observe(now, reply.rate, now - sent_at)
        return reply.value

    async def _until_allowed(self, patience_s: float) -> None:
        """Wait for budget and circuit, and take a hit of both. Raises `RateLimited` beyond the patience."""
        while True:
            now = time.monotonic()
            budget_s = self.budget.wait_s(now)
            if budget_s > patience_s:
                raise RateLimited(budget_s)
            pause_s = min(budget_s, LOOK_AGAIN_S) or self._circuit.acquire(now)
            if not pause_s:
                self.budget.acquire(now)  # which lets it pass, as it has just said
                return
            self.waited_s += pause_s
            await asyncio.sleep(pause_s)

    def _failed(self, trouble: BaseException) -> None:
        """Note how a hit ended that brought no answer."""
        now = time.monotonic()
        self.budget.settle(now)
        self.errors[kind_of(trouble)] += 1
        if isinstance(trouble, ClientError) and not isinstance(trouble, Transient):
            self._circuit.succeeded()
        else:
            self._circuit.failed(now)
        if isinstance(trouble, RateLimited):
            self.budget.refuse(now, trouble.retry_after_s)
        elif isinstance(trouble, TokenRevoked):
            self._revoked = trouble
