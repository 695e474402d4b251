"""The token actor: one process that holds one or a few tokens and an HTTP session, and spends their hits.

It takes a batch of items, asks its client for them hit by hit, never beyond what the token's budget
allows, and returns what was done, what was left and why. Its process imports neither torch, OpenCV,
pandas nor pyarrow, so that many fit on a node.

Knows Ray. Knows nothing of the network it speaks to (the client arrives as a factory) or of what the
items mean.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray

from actors import metrics
from actors.budget import Limit, RateBudget
from actors.circuit import Circuit
from actors.metrics import StageMetrics
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from actors.paced import Backoff, PacedToken

NAMESPACE = "raylike"
"""Ray namespace of named actors: the dashboard lists them by name, and a name exists once in it."""


class Client(Protocol):
    """What an actor asks. Built inside the actor's process, so that sockets are never pickled."""

    batch_size: int
    """Items that one hit can ask for."""
    limits: tuple[Limit, ...]
    """What the server allows one token."""

    async def send(self, credential: Credential, items: Sequence[Any]) -> Reply[list[Any]]:
        """One hit: results for at most `batch_size` items. Raises only `outcomes.ClientError`."""

    async def close(self) -> None:
        """Give up the connections."""


@dataclass(frozen=True)
class TokenOptions:
    """How token actors are run.

    Attributes
    ----------
    in_flight : requests under way for one token
    tokens_per_actor : tokens that share one process
    items_per_hit : that the client asks for at once
    batch : hits' worth of items handed to a token at once; two batches are with it at a time
    patience_s : a longer wait for budget gives the batch back, so that another token can take it
    stage : whose items these are, in the metrics
    cpus : CPUs that Ray sets aside for an actor: nearly none, as it waits for the network
    restarts : of an actor's process, before its tokens are given up
    """

    in_flight: int = 16
    tokens_per_actor: int = 1
    items_per_hit: int = 1
    batch: int = 64
    patience_s: float = 0.5
    backoff: Backoff = field(default_factory=Backoff)
    stage: str = "tokens"
    cpus: float = 0.01
    restarts: int = 3


@dataclass
class Answer:
    """What became of a batch: each of its items is in exactly one of `asked`, `left` and `failed`.

    Attributes
    ----------
    asked : number of items that the server answered for
    results : what it answered
    left : items not asked for, to be handed to another token
    failed : items asked for in vain, each with the cause
    wait_s : seconds until this token has budget again; 0.0 if it has some
    revoked : why the server no longer accepts the token; None while it does
    hits, waited_s : requests sent and seconds waited for budget since the token's previous answer
    """

    alias: str
    asked: int = 0
    results: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    failed: list[tuple[Any, str]] = field(default_factory=list)
    wait_s: float = 0.0
    revoked: str | None = None
    hits: int = 0
    waited_s: float = 0.0


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
        self._tokens: dict[str, PacedToken] = {}
        self._told = {credential.alias: (0, 0.0) for credential in credentials}
        self._meters = Meters(options.stage)

    async def ready(self) -> int:
        """Make the client, and tell the id of this process."""
        self._connect()
        return os.getpid()

    async def ask(self, alias: str, items: Sequence[Any]) -> Answer:
        """Ask for a batch with one of the tokens. A client's troubles are in the answer, not raised."""
        client = self._connect()
        token = self._tokens[alias]
        answer = Answer(alias)
        size = client.batch_size
        await asyncio.gather(
            *(self._ask_once(token, client, items[i : i + size], answer) for i in range(0, len(items), size))
        )
        hits, waited_s = self._told[alias]
        self._told[alias] = token.hits, token.waited_s
        answer.hits, answer.waited_s = token.hits - hits, token.waited_s - waited_s
        self._meters.record(
            answer, token.budget.remaining(time.monotonic()), host_is_down=self._circuit.is_open
        )
        return answer

    async def close(self) -> None:
        """Give up the connections."""
        if self._client is not None:
            await self._client.close()

    async def _ask_once(
        self, token: PacedToken, client: Client, items: Sequence[Any], answer: Answer
    ) -> None:
        if answer.revoked is not None:
            answer.left += items
            return
        try:
            results: list[Any] = await token.call(
                lambda credential: client.send(credential, items), self._options.patience_s
            )
            answer.results += results
            answer.asked += len(items)
        except RateLimited as limited:
            answer.left += items
            answer.wait_s = max(answer.wait_s, limited.retry_after_s or 0.0)
        except TokenRevoked as revoked:
            answer.left += items
            answer.revoked = str(revoked)
        except (Transient, Refused) as trouble:
            answer.failed += [(item, str(trouble)) for item in items]

    def _connect(self) -> Client:
        """The client, made at the first call: sessions need the event loop, which `__init__` has not."""
        if self._client is None:
            self._client = self._make_client()
            for credential in self._credentials:
                budget = RateBudget(self._client.limits)
                self._tokens[credential.alias] = PacedToken(
                    credential, budget, self._options.in_flight, self._options.backoff, self._circuit
                )
        return self._client


class Meters:
    """What the dashboard's Prometheus endpoint shows of tokens, by alias."""

    def __init__(self, stage: str) -> None:
        self._stage = StageMetrics(stage)
        self._hits = metrics.TOKEN_HITS.counter()
        self._waited = metrics.TOKEN_WAITED.counter()
        self._remaining = metrics.TOKEN_REMAINING.gauge()
        self._reset = metrics.TOKEN_RESET.gauge()
        self._circuit = metrics.TOKEN_CIRCUIT.gauge()

    def record(self, answer: Answer, remaining: int, *, host_is_down: bool) -> None:
        """Count a batch; `remaining` hits are left to its token."""
        tags = {"alias": answer.alias}
        if answer.hits:  # Ray refuses to count nothing
            self._hits.inc(answer.hits, tags)
        if answer.waited_s:
            self._waited.inc(answer.waited_s, tags)
        self._remaining.set(remaining, tags)
        self._reset.set(answer.wait_s, tags)
        self._circuit.set(float(host_is_down), tags)
        self._stage.done(answer.asked)
        for cause, n in Tally(cause for _, cause in answer.failed).items():
            self._stage.failed(cause, n)


def start(credentials: Sequence[Credential], make_client: Callable[[], Client], options: TokenOptions) -> Any:
    """Start a token actor and return its handle at once; `ready` tells when it runs."""
    more = f"+{len(credentials) - 1}" if len(credentials) > 1 else ""
    actor = ray.remote(TokenKeeper).options(
        name=f"token-{credentials[0].alias}{more}",
        namespace=NAMESPACE,
        num_cpus=options.cpus,
        max_restarts=options.restarts,
        max_concurrency=1000,
    )
    return actor.remote(list(credentials), make_client, options)
