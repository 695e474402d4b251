"""The requests under way for one token: so many slots, each of which sends one hit after the other.

Batches are worked on in the order in which they came, and a slot goes on with the next batch while the last
hits of the one before are still under way, so nothing idles between batches. There is a task for each slot,
not for each item. A hit that is to be tried again waits outside, so that its pause takes no slot. A batch of
which few hits are left is answered without them, so that one that stalls does not hold up what came with it.

Knows asyncio and `PacedToken`. Knows nothing of Ray, HTTP or of what the items are.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from actors.budget import Limit
from actors.outcomes import (
    ClientError,
    Credential,
    RateLimited,
    Refused,
    Reply,
    TokenRevoked,
    Transient,
    kind_of,
)
from actors.paced import PacedToken


class Client(Protocol):
    """What is asked. Built inside the process that asks, so that sockets are never pickled."""

    batch_size: int
    """Items that one hit can ask for."""
    limits: tuple[Limit, ...]
    """What the server allows one token."""

    async def send(self, credential: Credential, items: Sequence[Any]) -> Reply[list[Any]]:
        """One hit: results for at most `batch_size` items. Raises only `outcomes.ClientError`."""

    async def close(self) -> None:
        """Give up the connections."""


LOOK_S = 0.5
"""Between two looks whether all but a few hits of a batch are done."""

FEW = 1 / 8
"""Of a batch's hits: so many may be late."""


@dataclass
class Answer:
    """What became of a batch: each of its items is in exactly one of `asked`, `left`, `failed` and `late`.

    Attributes
    ----------
    asked : number of items that the server answered for
    results : what it answered
    left : items not asked for, to be handed to another token
    failed : items asked for in vain, each with the cause
    given_up : the number of these by kind
    late : items still under way; `TokenSlots.late` waits for them
    late_key : what it is to be given; unique over all processes, as one that is started anew knows of none
    wait_s : seconds until this token has budget again; 0.0 if it has some
    revoked : why the server no longer accepts the token; None while it does
    hits, waited_s : requests sent and seconds waited for budget since the token's previous answer
    errors : of these requests, those that brought no answer, by kind
    """

    alias: str
    asked: int = 0
    results: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    failed: list[tuple[Any, str]] = field(default_factory=list)
    given_up: Counter[str] = field(default_factory=Counter)
    late: list[Any] = field(default_factory=list)
    late_key: str = ""
    wait_s: float = 0.0
    revoked: str | None = None
    hits: int = 0
    waited_s: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)

    def give_up(self, items: Sequence[Any], trouble: ClientError) -> None:
        """Note that items were asked for in vain."""
        self.failed += [(item, str(trouble)) for item in items]
        self.given_up[kind_of(trouble)] += len(items)


class TokenSlots:
    """A token at work on batches of items.

    Parameters
    ----------
    slots : requests under way at once
    patience_s : a longer wait for budget gives items back
    """

    def __init__(self, token: PacedToken, client: Client, slots: int, patience_s: float) -> None:
        self.token = token
        self._client = client
        self._patience_s = patience_s
        self._idle = slots
        self._hits: deque[_Hit] = deque()
        self._late: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_hits, self._told_waited_s = 0, 0.0

    async def ask(self, items: Sequence[Any]) -> Answer:
        """Ask for a batch. A client's troubles are in the answer, not raised."""
        size = self._client.batch_size
        hits = [_Hit(items[i : i + size]) for i in range(0, len(items), size)]
        batch = _Batch(Answer(self.token.credential.alias), hits)
        self._hits.extend(hits)
        for _ in range(min(self._idle, len(self._hits))):
            self._idle -= 1
            self._start(self._slot())
        few = int(len(hits) * FEW)
        while batch.open:
            await asyncio.wait([batch.done], timeout=LOOK_S)
            if 0 < len(batch.open) <= few:
                self._part(batch)
        return self._told(batch)

    async def late(self, key: str) -> Answer | None:
        """The answer for items that were late in another one; None if that one is not from here."""
        batch = self._late.pop(key, None)
        if batch is None:
            return None
        if batch.open:
            await batch.done
        return self._told(batch)

    def _part(self, batch: _Batch) -> None:
        """Take the open hits out of a batch and into one of their own."""
        rest = _Batch(Answer(batch.answer.alias), list(batch.open))
        batch.open.clear()
        batch.answer.late = [item for hit in rest.open for item in hit.items]
        batch.answer.late_key = uuid4().hex
        self._late[batch.answer.late_key] = rest

    def _told(self, batch: _Batch) -> Answer:
        """A batch's answer, with what the token has done since it was last told. Raises what went wrong."""
        if batch.done.done():
            batch.done.result()
        answer = batch.answer
        hits, waited_s = self.token.hits, self.token.waited_s
        answer.hits, answer.waited_s = hits - self._told_hits, waited_s - self._told_waited_s
        self._told_hits, self._told_waited_s = hits, waited_s
        answer.errors = dict(self.token.errors)
        self.token.errors.clear()
        return answer

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _slot(self) -> None:
        """Hit after hit, as long as there is one."""
        try:
            while self._hits:
                await self._send(self._hits.popleft())
        finally:
            self._idle += 1

    async def _send(self, hit: _Hit, after: Transient | None = None) -> None:
        """Send a hit, for the first time or after a fault that may have passed, and note what comes of it."""
        items = hit.items
        if hit.batch.answer.revoked is not None:
            hit.batch.answer.left += items
            hit.batch.settled(hit)
            return
        send = partial(self._client.send, items=items)
        try:
            if after is None:
                results: list[Any] = await self.token.attempt(send, self._patience_s)
            else:
                results = await self.token.call(send, self._patience_s, after)
            answer = hit.batch.answer  # now, as the hit may have been parted from its batch meanwhile
            answer.results += results
            answer.asked += len(items)
        except RateLimited as limited:
            answer = hit.batch.answer
            answer.left += items
            answer.wait_s = max(answer.wait_s, limited.retry_after_s or 0.0)
        except TokenRevoked as revoked:
            answer = hit.batch.answer
            answer.left += items
            answer.revoked = str(revoked)
        except Transient as trouble:
            if after is None:
                self._start(self._send(hit, trouble))
                return
            hit.batch.answer.give_up(items, trouble)
        except Refused as trouble:
            hit.batch.answer.give_up(items, trouble)
        except Exception as error:  # a bug, or an address that is refused: raised where the answer is awaited
            hit.batch.fail(error)
        hit.batch.settled(hit)


class _Hit:
    """A hit's worth of items."""

    __slots__ = ("batch", "items")

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.batch: _Batch


class _Batch:
    """Hits that are answered together; those in `open` are not settled yet."""

    def __init__(self, answer: Answer, hits: Sequence[_Hit]) -> None:
        self.answer = answer
        self.open = set(hits)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for hit in hits:
            hit.batch = self

    def settled(self, hit: _Hit) -> None:
        self.open.discard(hit)
        if not self.open and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        self.open.clear()
        if not self.done.done():
            self.done.set_exception(error)
