"""The token actor: one process that holds one or a few tokens and an HTTP session, and spends their hits.

It takes a batch of items, asks its client for them hit by hit, never beyond what the token's budget
allows, and returns what was done, what was left and why. Its process imports neither torch, OpenCV,
pandas nor pyarrow, so that many fit on a node.

Knows Ray. Knows nothing of the network it speaks to (the client arrives as a factory) or of what the
items mean.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from actors import metrics
from actors.budget import RateBudget
from actors.circuit import Circuit
from actors.metrics import StageMetrics
from actors.outcomes import Credential
from actors.paced import Backoff, PacedToken
from actors.slots import Answer, Client, TokenSlots

NAMESPACE = "raylike"
"""Ray namespace of named actors: the dashboard lists them by name, and a name exists once in it."""


@dataclass(frozen=True)
class TokenOptions:
    """How token actors are run.

    Attributes
    ----------
    in_flight : requests under way for one token
    processes : shared evenly by the tokens; None: one for each token
    items_per_hit : that the client asks for at once
    batch : hits' worth of items handed to a token at once, at first; None: as many as are under way at
        once. Three batches are with it at a time
    largest_batch : the same of a token that answers fast
    patience_s : a longer wait for budget gives the batch back, so that another token can take it
    stage : whose items these are, in the metrics
    cpus : CPUs that Ray sets aside for an actor: nearly none, as it waits for the network
    restarts : of an actor's process, before its tokens are given up
    """

    in_flight: int = 16
    processes: int | None = None
    items_per_hit: int = 1
    batch: int | None = None
    largest_batch: int = 512
    patience_s: float = 0.5
    backoff: Backoff = field(default_factory=Backoff)
    stage: str = "tokens"
    cpus: float = 0.01
    restarts: int = 3


class TokenKeeper:
    """The process behind a token actor. Its methods run on one event loop, many calls at once."""

    def __init__(
        self, credentials: Sequence[Credential], make_client: Callable[[], Client], options: TokenOptions
    ) -> None:
        self._credentials = credentials
        self._make_client = make_client
        self._options = options
        self._client: Client | None = None
        self._circuit = Circuit()
        self._slots: dict[str, TokenSlots] = {}
        self._meters = Meters(options.stage)

    async def ready(self) -> int:
        """Make the client, and tell the id of this process."""
        self._connect()
        return os.getpid()

    async def ask(self, alias: str, items: Sequence[Any]) -> Answer:
        """Ask for a batch with one of the tokens. A client's troubles are in the answer, not raised."""
        self._connect()
        return self._noted(await self._slots[alias].ask(items))

    async def late(self, alias: str, key: str, items: Sequence[Any]) -> Answer:
        """The answer for items that were late in another one. They are left if that process is gone."""
        slots = self._slots.get(alias)
        answer = await slots.late(key) if slots is not None else None
        return Answer(alias, left=list(items)) if answer is None else self._noted(answer)

    def _noted(self, answer: Answer) -> Answer:
        remaining = self._slots[answer.alias].token.budget.remaining(time.monotonic())
        self._meters.record(answer, remaining, host_is_down=self._circuit.is_open)
        return answer

    async def close(self) -> None:
        """Give up the connections."""
        if self._client is not None:
            await self._client.close()

    def _connect(self) -> None:
        """Make the client, at the first call: sessions need the event loop, which `__init__` has not."""
        if self._client is not None:
            return
        self._client = self._make_client()
        options = self._options
        for credential in self._credentials:
            budget = RateBudget(self._client.limits)
            token = PacedToken(credential, budget, options.in_flight, options.backoff, self._circuit)
            self._slots[credential.alias] = TokenSlots(
                token, self._client, options.in_flight, options.patience_s
            )


class Meters:
    """What the dashboard's Prometheus endpoint shows of tokens, by alias."""

    def __init__(self, stage: str) -> None:
        self._stage = StageMetrics(stage)
        self._hits = metrics.TOKEN_HITS.counter()
        self._errors = metrics.TOKEN_ERRORS.counter()
        self._waited = metrics.TOKEN_WAITED.counter()
        self._remaining = metrics.TOKEN_REMAINING.gauge()
        self._reset = metrics.TOKEN_RESET.gauge()
        self._circuit = metrics.TOKEN_CIRCUIT.gauge()

    def record(self, answer: Answer, remaining: int, *, host_is_down: bool) -> None:
        """Count a batch; `remaining` hits are left to its token."""
        tags = {"alias": answer.alias}
        if answer.hits:  # Ray refuses to count nothing
            self._hits.inc(answer.hits, tags)
        for cause, n in answer.errors.items():
            self._errors.inc(n, {**tags, "cause": cause})
        if answer.waited_s:
            self._waited.inc(answer.waited_s, tags)
        self._remaining.set(remaining, tags)
        self._reset.set(answer.wait_s, tags)
        self._circuit.set(float(host_is_down), tags)
        self._stage.done(answer.asked)
        for cause, n in answer.given_up.items():
            self._stage.failed(cause, n)


def start(credentials: Sequence[Credential], make_client: Callable[[], Client], options: TokenOptions) -> Any:
    """Start a token actor and return its handle at once; `ready` tells when it runs."""
    more = f"+{len(credentials) - 1}" if len(credentials) > 1 else ""
    actor = ray.remote(TokenKeeper).options(
        name=f"token-{credentials[0].alias}{more}",
        namespace=NAMESPACE,
        num_cpus=options.cpus,
        scheduling_strategy="SPREAD",  # networks count hits by address, too
        max_restarts=options.restarts,
        max_concurrency=1000,
    )
    return actor.remote(list(credentials), make_client, options)
