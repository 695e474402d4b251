"""Every item gets one row; bounds hold; no host holds up the others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.circuit import CircuitOptions
from actors.lanes import Traffic, Unanswered, fetch_all
from actors.outcomes import RateLimited, Transient
from actors.paced import Backoff

QUICK = Backoff(attempts=3, first_s=0.002, cap_s=0.004)


class Hosts:
    """Items are `host/name`. A host answers after its delay, or with what its script says, try by try."""

    def __init__(self, delay_s: dict[str, float] | None = None) -> None:
        self.delay_s = delay_s or {}
        self.strict: set[str] = set()  # hosts that refuse two requests of three
        self.script: dict[str, list[Exception]] = {}
        self.tries: Counter[str] = Counter()
        self.active: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.times: defaultdict[str, list[float]] = defaultdict(list)

    def lane(self, item: str) -> str:
        return item.partition("/")[0]

    async def fetch(self, item: str) -> str:
        host = self.lane(item)
        self.tries[item] += 1
        self.times[host].append(time.monotonic())
        for place in (host, "all"):
            self.active[place] += 1
            self.most[place] = max(self.most[place], self.active[place])
        try:
            await asyncio.sleep(self.delay_s.get(host, 0.0))
        finally:
            self.active[host] -= 1
            self.active["all"] -= 1
        if self.tries.total() % 3 and host in self.strict:
            raise RateLimited(0.001)
        if self.script.get(item):
            raise self.script[item].pop(0)
        return f"row of {item}"

    def give_up(self, item: str, trouble: Transient | RateLimited) -> str:
        return f"gave up {item}: {trouble}"


def run(hosts: Hosts, items: list[str], traffic: Traffic | None = None) -> list[tuple[int, str]]:
    async def collect() -> list[tuple[int, str]]:
        return [row async for row in fetch_all(hosts, items, traffic or Traffic(backoff=QUICK))]

    return asyncio.run(collect())


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from("abc"), max_size=30),
    troubles=st.lists(st.integers(0, 4), min_size=30, max_size=30),
    in_flight=st.integers(1, 8),
    per_lane=st.integers(1, 8),
)
def test_every_item_has_one_row_and_the_bounds_hold(
    names: list[str], troubles: list[int], in_flight: int, per_lane: int
) -> None:
    hosts = Hosts()
    items = [f"{host}/{i}" for i, host in enumerate(names)]
    for item, n in zip(items, troubles, strict=False):
        hosts.script[item] = [RateLimited(0.001) if i % 2 else Transient("reset") for i in range(n)]
    backoff = Backoff(attempts=3, first_s=0.0001, cap_s=0.0002)
    rows = run(hosts, items, Traffic(in_flight, per_lane, backoff=backoff))
    assert sorted(index for index, _ in rows) == list(range(len(items)))
    assert hosts.most["all"] <= in_flight
    assert all(hosts.most[host] <= per_lane for host in "abc")


def test_a_passing_fault_is_tried_again_and_then_given_up() -> None:
    hosts = Hosts()
    hosts.script = {"a/1": [Transient("reset")] * 2, "a/2": [Transient("reset")] * 3}
    rows = dict(run(hosts, ["a/1", "a/2"]))
    assert rows == {0: "row of a/1", 1: "gave up a/2: reset"}
    assert hosts.tries == {"a/1": 3, "a/2": 3}


def test_a_slow_host_does_not_hold_up_the_others() -> None:
    hosts = Hosts({"slow": 0.2, "good": 0.001})
    items = [f"slow/{i}" for i in range(6)] + [f"good/{i}" for i in range(40)]
    rows = run(hosts, items, Traffic(in_flight=8, per_lane=4))
    order = [items[index].split("/")[0] for index, _ in rows]
    assert order[:40] == ["good"] * 40


def test_nothing_is_asked_of_a_host_while_it_wants_patience() -> None:
    hosts = Hosts({"strict": 0.001, "good": 0.01})
    hosts.script = {"strict/0": [RateLimited(0.25)]}
    items = ["strict/0", *(f"strict/{i}" for i in range(1, 20)), *(f"good/{i}" for i in range(20))]
    started = time.monotonic()
    rows = run(hosts, items, Traffic(in_flight=8, per_lane=1))
    assert all(row.startswith("row") for _, row in rows)
    assert hosts.times["strict"][1] - hosts.times["strict"][0] >= 0.24
    assert hosts.times["good"][-1] - started < 0.25


def test_a_host_that_wants_too_much_patience_is_left_alone_altogether() -> None:
    hosts = Hosts()
    hosts.script = {"strict/0": [RateLimited(3600.0)]}
    rows = run(hosts, [f"strict/{i}" for i in range(20)], Traffic(in_flight=1))
    assert hosts.tries.total() == 1
    assert all(row.startswith("gave up") for _, row in rows)


def test_a_strict_host_that_lets_some_through_costs_no_item_its_tries() -> None:
    hosts = Hosts()
    hosts.strict = {"a"}
    rows = run(hosts, [f"a/{i}" for i in range(30)], Traffic(in_flight=4, per_lane=4, backoff=QUICK))
    assert all(row.startswith("row") for _, row in rows)
    assert max(hosts.tries.values()) > QUICK.attempts


def test_an_unknown_error_is_raised_and_the_rest_cancelled() -> None:
    hosts = Hosts({"slow": 60.0})
    hosts.script = {"a/0": [KeyError("a bug")]}
    started = time.monotonic()
    with pytest.raises(KeyError):
        run(hosts, ["slow/0", "a/0"])
    assert time.monotonic() - started < 5


def test_closing_cancels_what_is_under_way() -> None:
    hosts = Hosts({"slow": 60.0})

    async def take_one() -> None:
        async with aclosing(fetch_all(hosts, ["a/0", "slow/0"], Traffic())) as rows:
            async for _ in rows:
                break
        assert hosts.active["all"] == 0

    asyncio.run(take_one())


class Diary(Hosts):
    """Writes down who starts and who ends."""

    def __init__(self) -> None:
        super().__init__({"a": 0.01})
        self.events: list[str] = []

    async def fetch(self, item: str) -> str:
        self.events.append("start")
        row = await super().fetch(item)
        self.events.append("end")
        return row


def test_a_hosts_first_item_goes_alone() -> None:
    hosts = Diary()
    run(hosts, [f"a/{i}" for i in range(9)], Traffic(in_flight=8, per_lane=8))
    assert hosts.events[:10] == ["start", "end", *["start"] * 8]


class Outage(Hosts):
    """Gives no answer until a moment, in seconds from the first request."""

    def __init__(self, back_after_s: float) -> None:
        super().__init__({"good": 0.001})
        self.back_after_s = back_after_s

    async def fetch(self, item: str) -> str:
        row = await super().fetch(item)
        now, began = time.monotonic(), self.times[self.lane(item)][0]
        if item.startswith("down") and now < began + self.back_after_s:
            raise Unanswered("no route")
        return row


QUICK_CIRCUIT = CircuitOptions(
    failures_to_open=3, first_s=0.02, cap_s=0.05, give_up_after_s=1.5, first_answer_s=1.5
)


def test_an_outage_costs_no_item() -> None:
    """Each item would have used up its tries many times over."""
    hosts = Outage(back_after_s=0.6)
    items = [f"down/{i}" for i in range(40)]
    rows = run(hosts, items, Traffic(in_flight=8, per_lane=8, backoff=QUICK, circuit=QUICK_CIRCUIT))
    assert all(row.startswith("row") for _, row in rows)
    assert sum(hosts.tries.values()) < 40 + 8 + 40  # a look every 0.05 s, not 8 tries


def test_a_host_that_stays_down_is_given_up_with_few_requests_and_holds_up_nobody() -> None:
    hosts = Outage(back_after_s=60.0)
    items = [f"down/{i}" for i in range(40)] + [f"good/{i}" for i in range(200)]
    rows = run(hosts, items, Traffic(in_flight=4, per_lane=4, backoff=QUICK, circuit=QUICK_CIRCUIT))
    failed = {row for _, row in rows if not row.startswith("row")}
    assert failed == {f"gave up down/{i}: no route" for i in range(40)}
    assert sum(n for item, n in hosts.tries.items() if item.startswith("down")) < 60
    assert hosts.times["good"][-1] < hosts.times["down"][-1]


def test_items_that_never_get_an_answer_do_not_keep_their_host_down_for_the_others() -> None:
    poison = {f"down/{i}" for i in range(QUICK_CIRCUIT.failures_to_open)}

    class Poisoned(Hosts):
        async def fetch(self, item: str) -> str:
            row = await super().fetch(item)
            if item in poison:
                raise Unanswered("hung up")
            return row

    items = [f"down/{i}" for i in range(10)]
    rows = run(Poisoned(), items, Traffic(in_flight=1, per_lane=1, backoff=QUICK, circuit=QUICK_CIRCUIT))
    assert {items[index] for index, row in rows if not row.startswith("row")} == poison
