"""Requests that come one by one, answered together: whoever waits when a batch ends is in the next.

Ray Serve's own batching closes a batch after a wait, also while the one before it still runs. Clients that
each wait for their answer then come back one by one, and batches stay as small as the first (Ray 2.60).

Knows asyncio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Calls `answer` with all items that wait, up to `most` at a time, one call after the other.

    Parameters
    ----------
    answer : one result for each item, in their order; what it raises, all of them get
    """

    def __init__(self, answer: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._at_work: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The item's result."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._at_work is None:
            self._at_work = asyncio.create_task(self._work())
        return await result

    async def _work(self) -> None:
        await asyncio.sleep(0)  # for those that come in the same moment
        try:
            while self._waiting:
                n = min(self._most, len(self._waiting))
                taken = [self._waiting.popleft() for _ in range(n)]
                await self._serve([(item, result) for item, result in taken if not result.done()])
        finally:
            self._at_work = None

    async def _serve(self, asked: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        """Answer items that nobody has given up waiting for."""
        if not asked:
            return
        try:
            found = await self._answer([item for item, _ in asked])
        except Exception as error:  # every caller's, as if it had asked alone
            for _, result in asked:
                if not result.done():
                    result.set_exception(error)
            return
        for (_, result), value in zip(asked, found, strict=True):
            if not result.done():
                result.set_result(value)
