"""Requests from this process, each with whichever token has budget, or has it first.

For what is too little, or too closely linked, for a process per token: pages that follow from one
another. Knows asyncio. Knows nothing of Ray, HTTP or any network.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from actors.budget import Limit, RateBudget
from actors.circuit import Circuit
from actors.outcomes import AllUsedUp, Credential, NoTokenLeft, RateLimited, Reply, TokenRevoked
from actors.paced import PacedToken

T = TypeVar("T")

SAY_EVERY_S = 30.0
"""Between two lines about the same wait."""

WORTH_SAYING_S = 1.0
"""A shorter wait is not mentioned."""


class Rotation:
    """Some tokens of one host, taking turns.

    Parameters
    ----------
    in_flight : requests under way with one token
    wait : when no token has budget, wait; otherwise raise
    say : receives lines for the user: a token that is no longer accepted, a wait
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        limits: Sequence[Limit],
        in_flight: int,
        *,
        wait: bool,
        say: Callable[[str], None],
    ) -> None:
        circuit = Circuit()
        self._tokens = [
            PacedToken(credential, RateBudget(limits), in_flight, circuit=circuit)
            for credential in credentials
        ]
        self._wait = wait
        self._say = say
        self._said_at = float("-inf")
        self._reasons: dict[str, str] = {}

    @property
    def hits(self) -> int:
        """Requests sent so far with the tokens that are still accepted."""
        return sum(token.hits for token in self._tokens)

    async def call(self, send: Callable[[Credential], Awaitable[Reply[T]]]) -> T:
        """Return the value of `send(credential)`, sent when and with which token the budgets allow.

        Raises
        ------
        Transient, Refused : as `PacedToken.call` does
        AllUsedUp : if no token has budget, and `wait` is off
        NoTokenLeft : if none is accepted any more
        """
        while True:
            token = min(self._tokens, key=lambda token: (token.wait_s(), token.budget.in_flight))
            await self._rest(token.wait_s())
            try:
                return await token.call(send, patience_s=0.0)
            except RateLimited:
                continue
            except TokenRevoked as revoked:
                self._drop(token, str(revoked))

    async def _rest(self, wait_s: float) -> None:
        if wait_s and not self._wait:
            raise AllUsedUp(wait_s)
        end = time.monotonic() + wait_s
        while (left_s := end - time.monotonic()) > 0:
            if left_s > WORTH_SAYING_S and time.monotonic() - self._said_at > SAY_EVERY_S:
                self._said_at = time.monotonic()
                self._say(f"all {len(self._tokens)} tokens are used up; next hit in {left_s:.0f} s")
            await asyncio.sleep(min(left_s, SAY_EVERY_S))

    def _drop(self, token: PacedToken, why: str) -> None:
        label = token.credential.label
        if token in self._tokens:  # else another request of the same token was refused before
            self._tokens.remove(token)
            self._reasons[label] = why
            self._say(f"token {label} is no longer accepted: {why}")
        if not self._tokens:
            raise NoTokenLeft(dict(self._reasons))
