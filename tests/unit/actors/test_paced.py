from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from actors.budget import Limit, RateBudget, RateReport
from actors.circuit import Circuit, CircuitOptions
from actors.outcomes import Credential, RateLimited, Reply, TokenRevoked, Transient
from actors.paced import Backoff, PacedToken

AT_ONCE = Backoff(attempts=3, first_s=0.0, cap_s=0.0)


def paced(
    hits: int = 100, window_s: float = 60.0, in_flight: int = 4, circuit: Circuit | None = None
) -> PacedToken:
    credential = Credential("a", SecretStr("t"))
    return PacedToken(credential, RateBudget([Limit(hits, window_s)]), in_flight, AT_ONCE, circuit)


class Scripted:
    """Sends what a list says, one entry a hit."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.under_way = 0
        self.most_under_way: list[int] = []

    async def __call__(self, credential: Credential) -> Reply[object]:
        self.under_way += 1
        self.most_under_way.append(self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        entry = self.script.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return entry if isinstance(entry, Reply) else Reply(entry)


def test_transient_faults_are_tried_again_and_then_raised() -> None:
    token = paced()
    assert asyncio.run(token.call(Scripted(Transient("x"), Transient("x"), "done"))) == "done"
    assert token.hits == 3
    with pytest.raises(Transient):
        asyncio.run(paced().call(Scripted(*[Transient("x")] * 3)))


def test_an_item_is_not_given_up_for_its_hosts_failures() -> None:
    """More failures than attempts, but in a row and for everybody: the host is down, and comes back."""
    circuit = Circuit(CircuitOptions(failures_to_open=2, first_s=0.01, cap_s=0.01))
    token = paced(circuit=circuit)
    assert asyncio.run(token.call(Scripted(*[Transient("down")] * 9, "back"))) == "back"


def test_a_host_that_stays_down_is_given_up() -> None:
    circuit = Circuit(CircuitOptions(failures_to_open=2, first_s=0.01, cap_s=0.01, first_answer_s=0.05))
    with pytest.raises(Transient):
        asyncio.run(paced(circuit=circuit).call(Scripted(*[Transient("down")] * 200)))


def test_while_the_host_is_down_one_request_at_a_time_looks_for_it() -> None:
    circuit = Circuit(CircuitOptions(failures_to_open=4, first_s=0.02, cap_s=0.02))
    token, script = paced(in_flight=4, circuit=circuit), Scripted("up", *[Transient("down")] * 12, *range(9))

    async def nine() -> None:
        await asyncio.gather(*(token.call(script) for _ in range(9)))

    asyncio.run(nine())
    assert script.most_under_way[5:12] == [1] * 7


def test_a_long_wait_is_raised_and_a_short_one_waited() -> None:
    token = paced(hits=1, window_s=30.0)
    assert asyncio.run(token.call(Scripted(1))) == 1
    with pytest.raises(RateLimited) as caught:
        asyncio.run(token.call(Scripted(2), patience_s=1.0))
    assert caught.value.retry_after_s == pytest.approx(30.0, abs=1.0)
    short = paced(hits=1, window_s=0.05)
    script = Scripted(1, 2)

    async def both() -> list[object]:
        return [await short.call(script), await short.call(script)]

    assert asyncio.run(both()) == [1, 2]


def test_a_refusal_without_a_time_blocks_the_token() -> None:
    token = paced()
    with pytest.raises(RateLimited) as caught:
        asyncio.run(token.call(Scripted(RateLimited(None)), patience_s=1.0))
    assert caught.value.retry_after_s == pytest.approx(60.0, abs=1.0)


def test_a_revoked_token_is_never_used_again() -> None:
    token = paced()
    for _ in range(2):
        with pytest.raises(TokenRevoked, match="gone"):
            asyncio.run(token.call(Scripted(TokenRevoked("gone"), "never sent")))
    assert token.hits == 1


def test_the_first_hit_goes_alone_and_the_rest_in_company() -> None:
    token, script = paced(in_flight=4), Scripted(*range(20))

    async def all_of_them() -> None:
        await asyncio.gather(*(token.call(script) for _ in range(20)))

    asyncio.run(all_of_them())
    assert script.most_under_way[:1] == [1]
    assert max(script.most_under_way) == 4


def test_what_the_server_counted_before_is_respected_from_the_second_hit_on() -> None:
    token = paced(hits=100)
    script = Scripted(Reply("first", RateReport(100, 2)), *["more"] * 9)

    async def ten() -> list[object]:
        calls = (token.call(script, patience_s=0.0) for _ in range(10))
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(ten())
    assert token.hits == 3
    assert sum(isinstance(result, RateLimited) for result in results) == 7
