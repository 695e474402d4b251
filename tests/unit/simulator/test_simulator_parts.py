"""Limits, faults, tokens and options by themselves, without a server."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.errors import ConfigError
from raylike.simulator.faults import FAULTS, LASTING, REVOKED_AFTER_HITS, FaultPlan, bomb, unit_hash
from raylike.simulator.limits import SlidingWindow
from raylike.simulator.oauth import TokenBook
from raylike.simulator.options import SimulatorOptions


class Clock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_window_ever_holds_more_hits_than_allowed(pauses: list[float], hits: int) -> None:
    clock = Clock()
    window = SlidingWindow(hits, 60.0, clock)
    taken = []
    for pause in pauses:
        clock.now += pause
        if window.take(0):
            taken.append(clock.now)
    for start in taken:
        assert sum(start <= at < start + 60.0 for at in taken) <= hits


def test_a_window_slides_and_a_refused_hit_does_not_count() -> None:
    clock = Clock()
    window = SlidingWindow(2, 10.0, clock)
    assert [window.take(0), window.take(0), window.take(0)] == [True, True, False]
    assert (window.remaining(0), window.remaining(1)) == (0, 2)
    clock.now += 10
    assert window.remaining(0) == 2


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"token_revoked"}))
def test_a_fault_hits_its_share_of_the_right_requests_and_the_same_ones_each_time(name: str) -> None:
    kind = "users" if name == "rate_limited" else "photo"
    plan, again = (FaultPlan(3, {name: 0.2}, tokens=3) for _ in range(2))
    picks = [plan.pick(kind, str(k), 0) for k in range(2000)]
    assert picks == [again.pick(kind, str(k), 0) for k in range(2000)]
    assert set(picks) == {name, None}
    assert np.mean([pick is not None for pick in picks]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    "name", ["truncated", "bomb", "missing", "corrupt", "redirect_internal", "token_revoked"]
)
def test_a_fault_of_photos_or_tokens_leaves_api_answers_alone(name: str) -> None:
    assert FaultPlan(0, {name: 1.0}, tokens=3).pick("users", "7", 0) is None


def test_a_lasting_fault_stays_and_a_passing_one_goes() -> None:
    for name in ("missing", "error_500"):
        plan = FaultPlan(0, {name: 0.5}, tokens=1)
        hit = next(str(k) for k in range(100) if plan.pick("photo", str(k), 0))
        later = {plan.pick("photo", hit, attempt) for attempt in range(50)}
        assert later == ({name} if name in LASTING else {name, None})


def test_a_share_of_tokens_is_revoked_after_some_hits() -> None:
    plan = FaultPlan(0, {"token_revoked": 0.5}, tokens=4)
    assert [plan.is_revoked(token, REVOKED_AFTER_HITS) for token in range(4)] == [True, True, False, False]
    assert not plan.is_revoked(0, REVOKED_AFTER_HITS - 1)
    assert not FaultPlan(0, {}, tokens=4).is_revoked(0, 10**6)


def test_a_bomb_is_small_and_claims_to_be_huge() -> None:
    assert len(bomb()) < 1000
    assert struct.unpack(">II", bomb()[16:24]) == (50_000, 50_000)


def test_hashes_fill_the_unit_interval_evenly() -> None:
    tenths = Counter(int(10 * unit_hash(0, "x", k)) for k in range(5000))
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) < 2 * min(tenths.values())


def test_a_code_works_once_and_for_its_own_client() -> None:
    book = TokenBook()
    code = book.grant("client", "http://a.test/back", "42")
    made = book.exchange(code, "client", "http://a.test/back")
    assert made is not None
    assert made[1] == "42"
    assert made[0].startswith("42.client")
    assert book.number(made[0]) == 0
    assert book.exchange(code, "client", "http://a.test/back") is None
    assert book.exchange(book.grant("client", "http://a.test/", "1"), "other", "http://a.test/") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_limit": "many"}, {"rate_limit": "0/10"}, {"rate_limit": "5/0"}, {"users": 0}, {"tokens": 0},
        {"faults": {"earthquake": 0.1}}, {"faults": {"reset": 1.5}},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SimulatorOptions(**wrong)  # type: ignore[arg-type]
