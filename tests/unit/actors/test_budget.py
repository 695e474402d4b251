"""Laws of the budget, under a virtual clock: no test here sleeps."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.budget import RESOLUTION_S, Limit, RateBudget, RateReport

LIMITS = st.lists(
    st.builds(Limit, st.integers(1, 6), st.sampled_from([1.0, 2.5, 10.0])), min_size=1, max_size=3
)
LATENCIES = st.lists(st.sampled_from([0.0, 0.1, 0.7, 3.0]), min_size=1, max_size=8)


@dataclass
class Server:
    """Counts hits where they arrive, at some moment between sending and answer."""

    limits: list[Limit]
    arrivals: list[float] = field(default_factory=list)
    most: dict[Limit, int] = field(default_factory=dict)

    def hit(self, at: float) -> int:
        """Count a hit; what the first limit has left."""
        self.arrivals.append(at)
        for limit in self.limits:
            used = sum(limit.window_s > at - arrival >= 0 for arrival in self.arrivals)
            self.most[limit] = max(self.most.get(limit, 0), used)
        first = self.limits[0]
        used = sum(first.window_s > at - arrival >= 0 for arrival in self.arrivals)
        return first.hits - used


def spend(
    budget: RateBudget, server: Server, hits: int, latencies: list[float], arrives: float, *, report: bool
) -> float:
    """Make `hits` hits as fast as the budget allows, up to 4 at once. Returns the virtual seconds taken."""
    now, sent = 0.0, 0
    under_way: list[tuple[float, int]] = []
    pending: deque[tuple[float, float]] = deque()
    steps = 0
    while sent < hits or under_way:
        steps += 1
        assert steps < 100 * hits + 1000, "starved"
        wait_s = budget.acquire(now) if sent < hits and len(under_way) < 4 else float("inf")
        if wait_s == 0.0:
            latency_s = latencies[sent % len(latencies)]
            pending.append((now + arrives * latency_s, now + latency_s))
            heapq.heappush(under_way, (now + latency_s, sent))
            sent += 1
            continue
        next_answer = under_way[0][0] if under_way else float("inf")
        now = max(now, min(now + wait_s, next_answer))
        while under_way and under_way[0][0] <= now:
            answered_at, number = heapq.heappop(under_way)
            budget.settle(answered_at)
            if report:
                remaining = server.hit(pending[number][0])
                budget.observe(answered_at, RateReport(server.limits[0].hits, max(0, remaining)))
            else:
                server.hit(pending[number][0])
    return now


@given(LIMITS, LATENCIES, st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_the_server_never_counts_more_hits_than_any_limit(
    limits: list[Limit], latencies: list[float], arrives: float, hits: int
) -> None:
    server = Server(limits)
    spend(RateBudget(limits), server, hits, latencies, arrives, report=False)
    arrivals = sorted(server.arrivals)
    assert len(arrivals) == hits
    for limit in limits:
        for i, last in enumerate(arrivals):
            # A window that begins exactly where a hit ended does not hold it, but for rounding.
            window = [t for t in arrivals[: i + 1] if t > last - limit.window_s + RESOLUTION_S / 2]
            assert len(window) <= limit.hits


@given(LIMITS, LATENCIES, st.integers(1, 40), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_hit_is_made_in_the_time_that_the_limits_need(
    limits: list[Limit], latencies: list[float], hits: int, report: bool
) -> None:
    took_s = spend(RateBudget(limits), Server(limits), hits, latencies, 0.5, report=report)
    slowest = max(latencies)
    # A hit holds its place for a window and its latency; reports in disorder may cost another round.
    rounds = [-(-hits // limit.hits) * (limit.window_s + slowest) for limit in limits]
    assert took_s <= 2 * sum(rounds) + hits * slowest + 1.0


@dataclass
class FixedServer:
    """Counts hits in windows that follow one another, the first of which began before time 0."""

    limit: Limit
    phase_s: float
    taken: dict[int, int] = field(default_factory=dict)

    def hit(self, at: float) -> RateReport:
        number, into_s = divmod(at + self.phase_s, self.limit.window_s)
        self.taken[int(number)] = self.taken.get(int(number), 0) + 1
        left = max(0, self.limit.hits - self.taken[int(number)])
        return RateReport(self.limit.hits, left, self.limit.window_s - into_s)


def spend_fixed(
    budget: RateBudget, server: FixedServer, hits: int, latencies: list[float], arrives: float
) -> float:
    """Make `hits` hits, up to 4 at once; returns the virtual seconds taken."""
    now, sent = 0.0, 0
    under_way: list[tuple[float, int, RateReport, float]] = []
    while sent < hits or under_way:
        wait_s = budget.acquire(now) if sent < hits and len(under_way) < 4 else float("inf")
        if wait_s == 0.0:
            latency_s = latencies[sent % len(latencies)]
            report = server.hit(now + arrives * latency_s)
            heapq.heappush(under_way, (now + latency_s, sent, report, latency_s))
            sent += 1
            continue
        now = max(now, min(now + wait_s, under_way[0][0] if under_way else float("inf")))
        while under_way and under_way[0][0] <= now:
            answered_at, _, report, latency_s = heapq.heappop(under_way)
            budget.settle(answered_at)
            budget.observe(answered_at, report, latency_s)
    return now


@given(
    st.builds(Limit, st.integers(1, 6), st.sampled_from([1.0, 2.5, 10.0]), st.just(True)),
    st.floats(0, 10), LATENCIES, st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 40),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_fixed_window_is_never_overrun_wherever_it_begins(
    limit: Limit, phase_s: float, latencies: list[float], arrives: float, hits: int
) -> None:
    server = FixedServer(limit, phase_s)
    spend_fixed(RateBudget([limit]), server, hits, latencies, arrives)
    assert sum(server.taken.values()) == hits
    assert max(server.taken.values()) <= limit.hits


@given(st.integers(2, 6), st.floats(0, 9.9), st.integers(1, 5))
@settings(deadline=None)
def test_with_quick_answers_every_fixed_window_is_used_up(hits: int, phase_s: float, windows: int) -> None:
    """But for one that ends while the first answers are on their way: nobody knows in which they count."""
    limit = Limit(hits, 10.0, fixed=True)
    server = FixedServer(limit, phase_s)
    spend_fixed(RateBudget([limit]), server, hits * windows, [0.001], 0.5)
    assert set(server.taken.values()) == {hits}
    numbers = sorted(server.taken)
    assert numbers == list(range(numbers[0], numbers[0] + windows)), "no window is let go by"


def test_a_share_used_up_is_taken_for_hits() -> None:
    budget = RateBudget([Limit(200, 3600.0)])
    budget.observe(0.0, RateReport(used_share=0.28))
    assert budget.remaining(0.0) == 144
    budget.observe(1.0, RateReport(used_share=1.0, reset_after_s=600.0))
    assert budget.acquire(1.0) == pytest.approx(600.0, abs=1e-3)


def test_of_two_limits_alike_the_headers_tighten_both_and_end_the_shorter() -> None:
    budget = RateBudget([Limit(300, 300.0, fixed=True), Limit(300, 900.0, fixed=True)])
    budget.observe(0.0, RateReport(300, 0, reset_after_s=700.0))
    assert budget.acquire(0.0) == pytest.approx(700.0, abs=1e-3), "it can only be the longer one"


@given(st.integers(2, 30), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_processes_that_share_a_token_overrun_it_by_what_they_had_under_way_at_most(
    hits: int, arrives: float, at_once: int
) -> None:
    """Without a word between them, only the headers tell one of what the other spends."""
    limit = Limit(hits, 10.0)
    server = Server([limit])
    budgets = [RateBudget([limit]), RateBudget([limit])]
    now = 0.0
    under_way: list[tuple[float, int, int]] = []
    while now < 40.0:
        for who, budget in enumerate(budgets):
            while budget.in_flight < at_once and budget.acquire(now) == 0.0:
                remaining = server.hit(now + arrives * 0.2)
                heapq.heappush(under_way, (now + 0.2, who, remaining))
        now += 0.05
        while under_way and under_way[0][0] <= now:
            answered_at, who, remaining = heapq.heappop(under_way)
            budgets[who].settle(answered_at)
            budgets[who].observe(answered_at, RateReport(hits, max(0, remaining)))
    assert server.most[limit] <= hits + 2 * at_once


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=12))
def test_headers_only_ever_tighten(reports: list[tuple[int, int]]) -> None:
    told, untold = RateBudget([Limit(8, 10.0)]), RateBudget([Limit(8, 10.0)])
    for i, (limit, remaining) in enumerate(reports):
        now = i * 1.3
        if told.acquire(now) == 0.0:
            told.settle(now)
            assert untold.acquire(now) == 0.0
            untold.settle(now)
        told.observe(now, RateReport(limit, remaining))
        assert told.remaining(now) <= untold.remaining(now)
        assert told.remaining(now) <= remaining or limit == 0


def test_what_others_spent_counts_until_a_window_has_passed() -> None:
    budget = RateBudget([Limit(100, 60.0)])
    assert budget.acquire(0.0) == 0.0
    budget.settle(0.0)
    budget.observe(0.0, RateReport(100, 10))
    assert budget.remaining(0.0) == 10
    assert budget.remaining(59.0) == 10
    assert budget.remaining(60.0) == 100


def test_a_reset_ends_what_others_spent_sooner() -> None:
    budget = RateBudget([Limit(100, 60.0)])
    budget.observe(0.0, RateReport(100, 0, reset_after_s=5.0))
    assert budget.acquire(4.0) == pytest.approx(1.0, abs=1e-3)
    assert budget.acquire(5.0) == 0.0


def test_a_smaller_limit_at_the_server_is_adopted_a_larger_one_is_not() -> None:
    budget = RateBudget([Limit(100, 60.0)])
    budget.observe(0.0, RateReport(5000, 4999))
    assert budget.remaining(0.0) == 100
    budget.observe(0.0, RateReport(20, 20))
    assert budget.remaining(0.0) == 20


@pytest.mark.parametrize(("retry_after_s", "wait_s"), [(7.0, 7.0), (None, 60.0)])
def test_after_a_refusal_nothing_is_sent_until_its_time(retry_after_s: float | None, wait_s: float) -> None:
    budget = RateBudget([Limit(100, 60.0)])
    budget.refuse(1.0, retry_after_s)
    assert budget.remaining(1.0) == 0
    assert budget.acquire(1.0) == pytest.approx(wait_s, abs=1e-3)
    assert budget.acquire(1.0 + wait_s) == 0.0


def test_a_hit_under_way_counts_however_long_it_takes() -> None:
    budget = RateBudget([Limit(1, 10.0)])
    assert budget.acquire(0.0) == 0.0
    assert budget.acquire(1000.0) == pytest.approx(10.0, abs=1e-3)
    budget.settle(1000.0)
    assert budget.acquire(1009.9) > 0.0
    assert budget.acquire(1010.0) == 0.0


@pytest.mark.parametrize(("hits", "window_s"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_a_limit_that_is_none_is_refused(hits: int, window_s: float) -> None:
    with pytest.raises(ValueError, match="no limit"):
        Limit(hits, window_s)


def test_a_limit_is_read_from_text() -> None:
    assert Limit.parse("300/10") == Limit(300, 10.0)
    with pytest.raises(ValueError, match="a budget needs a limit"):
        RateBudget([])
