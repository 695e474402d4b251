"""Items are made ahead of a busy consumer, as many as allowed, in order, and errors arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from actors.downloads import ahead


class Source:
    """Counts up; fails at the end if told to; notes when it is closed."""

    def __init__(self, n: int, error: Exception | None = None) -> None:
        self.n = n
        self.error = error
        self.made = 0

    async def items(self) -> AsyncIterator[int]:
        for i in range(self.n):
            self.made += 1
            yield i
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


async def let_others_run() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_all_items_come_in_order() -> None:
    async def go() -> list[int]:
        return [item async for item in ahead(Source(50).items(), 4)]

    assert asyncio.run(go()) == list(range(50))


def test_a_busy_consumer_finds_as_many_as_allowed_and_no_more() -> None:
    async def go() -> tuple[int, int]:
        source = Source(50)
        async with aclosing(ahead(source.items(), 4)) as items:
            await anext(items)
            await let_others_run()
            before = source.made
        await let_others_run()
        return before, source.made

    before, after = asyncio.run(go())
    assert before == 6  # one consumed, four waiting, one that finds no room
    assert after == before, "closing ends the making"


def test_an_error_arrives_after_the_items_before_it() -> None:
    found = []

    async def go() -> None:
        async for item in ahead(Source(3, KeyError("a bug")).items(), 4):
            found.append(item)

    with pytest.raises(KeyError):
        asyncio.run(go())
    assert found == [0, 1, 2]
