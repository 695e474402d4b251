"""Items that come while a batch is at work are answered together, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from raylike.serving.together import Together


class Doubling:
    """Doubles numbers, when it is let; keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.go_on.wait()
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


def test_who_comes_while_a_batch_is_at_work_is_in_the_next() -> None:
    async def go() -> None:
        double = Doubling()
        together = Together(double, most=4)
        first = asyncio.create_task(together(0))
        while not double.batches:
            await asyncio.sleep(0)
        others = []
        for number in range(1, 7):  # one by one, as clients come back that each wait for an answer
            others.append(asyncio.create_task(together(number)))
            await asyncio.sleep(0)
        double.go_on.set()
        assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10, 12]
        assert double.batches == [[0], [1, 2, 3, 4], [5, 6]]
        assert await together(9) == 18, "after a rest"

    asyncio.run(go())


def test_an_error_is_everybodys_in_the_batch_and_nobody_elses() -> None:
    async def go() -> None:
        double = Doubling()
        double.go_on.set()
        together = Together(double, most=2)
        found = await asyncio.gather(*map(together, (1, 13, 2, 3)), return_exceptions=True)
        assert [isinstance(one, ValueError) for one in found] == [True, True, False, False]
        assert found[2:] == [4, 6]

    asyncio.run(go())


def test_who_has_given_up_is_not_asked_for() -> None:
    async def go() -> None:
        double = Doubling()
        together = Together(double, most=2)
        first = asyncio.create_task(together(0))
        while not double.batches:
            await asyncio.sleep(0)
        gone, there = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        await asyncio.sleep(0)
        gone.cancel()
        double.go_on.set()
        assert [await first, await there] == [0, 4]
        assert double.batches == [[0], [2]]
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(go())
