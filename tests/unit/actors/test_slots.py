"""A token's slots: every item of a batch ends in exactly one place, and nothing holds anything up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from pydantic import SecretStr

from actors import slots
from actors.budget import Limit, RateBudget
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from actors.paced import Backoff, PacedToken
from actors.slots import Answer, TokenSlots


class Server:
    """Answers each item with itself; `trouble(item, number of times it was asked for)` may raise instead."""

    limits: tuple[Limit, ...] = (Limit(1000, 60.0),)

    def __init__(
        self, trouble: Callable[[int, int], Exception | None] = lambda item, n: None, batch_size: int = 1
    ) -> None:
        self.batch_size = batch_size
        self.trouble = trouble
        self.asked: list[int] = []
        self.under_way = 0
        self.most_under_way: list[int] = []
        self.stalls: dict[int, asyncio.Event] = {}

    async def send(self, credential: Credential, items: Sequence[int]) -> Reply[list[int]]:
        self.asked += items
        self.under_way += 1
        self.most_under_way.append(self.under_way)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if items[0] in self.stalls:
            await self.stalls[items[0]].wait()
        self.under_way -= 1
        error = self.trouble(items[0], self.asked.count(items[0]))
        if error is not None:
            raise error
        return Reply(list(items))

    async def close(self) -> None:
        pass


def ask(server: Server, *batches: Sequence[int], at_once: int = 4, attempts: int = 3) -> list[Answer]:
    async def main() -> list[Answer]:
        backoff = Backoff(attempts, 0.01, 0.01)
        token = PacedToken(Credential("a", SecretStr("t")), RateBudget(server.limits), at_once, backoff)
        worker = TokenSlots(token, server, at_once, patience_s=0.5)
        return await asyncio.gather(*(worker.ask(batch) for batch in batches))

    return asyncio.run(main())


def whereabouts(answer: Answer) -> list[int]:
    return sorted([*answer.results, *answer.left, *(item for item, _ in answer.failed)])


def test_batches_are_answered_one_hit_at_a_time_in_each_slot() -> None:
    server = Server()
    first, second = ask(server, range(20), range(20, 40))
    assert sorted(first.results) == list(range(20))
    assert sorted(second.results) == list(range(20, 40))
    assert (first.asked, second.asked, first.hits + second.hits) == (20, 20, 40)
    assert server.most_under_way[0] == 1, "the first goes alone"
    assert set(server.most_under_way[5:]) == {4}, "no slot idles between batches"
    assert max(server.asked[:20]) < 20, "the first batch goes first"


def test_a_hit_takes_as_many_items_as_the_network_allows() -> None:
    server = Server(batch_size=3)
    (answer,) = ask(server, range(8))
    assert sorted(answer.results) == list(range(8))
    assert (answer.asked, answer.hits) == (8, 3)


def test_an_empty_batch_is_answered() -> None:
    (answer,) = ask(Server(), [])
    assert answer == Answer("a")


def test_a_hit_that_is_tried_again_pauses_outside_the_slots() -> None:
    server = Server(lambda item, n: Transient("HTTP 500") if item == 1 and n == 1 else None)
    (answer,) = ask(server, range(10), at_once=1)
    assert sorted(answer.results) == list(range(10))
    assert answer.results.index(1) > answer.results.index(2), "the next one did not wait for its pause"
    assert answer.hits == 11


def test_what_fails_every_time_is_given_up_with_its_cause() -> None:
    server = Server(lambda item, n: {1: Transient("HTTP 500"), 2: Refused("no")}.get(item))
    (answer,) = ask(server, range(6))
    assert sorted(answer.failed) == [(1, "HTTP 500"), (2, "no")]
    assert whereabouts(answer) == list(range(6))
    assert (server.asked.count(1), server.asked.count(2)) == (3, 1)
    assert answer.errors == {"HTTP 500": 3, "refused": 1}
    assert answer.given_up == {"HTTP 500": 1, "refused": 1}


@pytest.mark.parametrize("error", [RateLimited(30.0), TokenRevoked("gone")])
def test_what_the_token_may_not_ask_for_any_more_is_left(error: Exception) -> None:
    server = Server(lambda item, n: error if item >= 10 else None)
    first, second = ask(server, range(20), range(20, 40))
    assert whereabouts(first) == list(range(20))
    assert whereabouts(second) == list(range(20, 40))
    assert sorted([*first.results, *second.results]) == list(range(10))
    assert len(server.asked) <= 10 + 4
    assert second.revoked == ("gone" if isinstance(error, TokenRevoked) else None)
    assert (second.wait_s > 29) == isinstance(error, RateLimited)


def test_an_error_that_is_no_answer_is_raised_and_the_next_batch_goes_on() -> None:
    async def main() -> Answer:
        server = Server(lambda item, n: KeyError("bug") if item == 3 else None)
        token = PacedToken(Credential("a", SecretStr("t")), RateBudget(server.limits), 2)
        worker = TokenSlots(token, server, 2, patience_s=0.5)
        with pytest.raises(KeyError, match="bug"):
            await worker.ask(range(6))
        return await worker.ask(range(10, 16))

    assert sorted(asyncio.run(main()).results) == list(range(10, 16))


def test_a_batch_is_answered_without_the_few_that_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LOOK_S", 0.01)

    async def main() -> tuple[Answer, Answer, Answer | None]:
        server = Server(lambda item, n: Transient("HTTP 500") if item == 8 and n == 1 else None)
        server.stalls = {3: asyncio.Event(), 8: asyncio.Event()}
        backoff = Backoff(3, 0.0, 0.0)
        token = PacedToken(Credential("a", SecretStr("t")), RateBudget(server.limits), 4, backoff)
        worker = TokenSlots(token, server, 4, patience_s=0.5)
        first = await worker.ask(range(16))
        second = await worker.ask(range(16, 32))
        server.stalls[3].set()
        server.stalls[8].set()
        assert await worker.late("of another process") is None
        return first, second, await worker.late(first.late_key)

    first, second, late = asyncio.run(main())
    assert late is not None
    assert sorted(first.late) == [3, 8]
    assert sorted([*first.results, *first.late]) == list(range(16))
    assert sorted(second.results) == list(range(16, 32))
    assert sorted(late.results) == [3, 8]
    assert first.hits + second.hits + late.hits == 33


def test_a_batch_of_which_many_hits_are_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LOOK_S", 0.01)

    async def main() -> Answer:
        server = Server()
        server.stalls = {item: asyncio.Event() for item in range(5, 8)}
        token = PacedToken(Credential("a", SecretStr("t")), RateBudget(server.limits), 4)
        asking = asyncio.create_task(TokenSlots(token, server, 4, patience_s=0.5).ask(range(16)))
        await asyncio.sleep(0.05)
        assert not asking.done()
        for stall in server.stalls.values():
            stall.set()
        return await asking

    answer = asyncio.run(main())
    assert (sorted(answer.results), answer.late) == (list(range(16)), [])
