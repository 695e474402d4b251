"""The circuit of a host, under a virtual clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.circuit import Circuit, CircuitOptions

OPTIONS = CircuitOptions(failures_to_open=3, first_s=1.0, cap_s=4.0, give_up_after_s=20.0)


def test_a_few_failures_leave_it_closed() -> None:
    circuit = Circuit(OPTIONS)
    for now in (0.0, 1.0):
        circuit.failed(now)
    assert circuit.acquire(1.0) == 0.0
    circuit.succeeded()
    circuit.failed(2.0)
    assert not circuit.is_open


def test_open_it_lets_one_look_after_pauses_that_double() -> None:
    circuit = Circuit(OPTIONS)
    circuit.succeeded()
    for _ in range(3):
        circuit.failed(0.0)
    now, pauses = 0.0, []
    for _ in range(4):
        pause_s = circuit.acquire(now)
        pauses.append(pause_s)
        now += pause_s
        assert circuit.acquire(now) == 0.0, "one may look"
        assert circuit.acquire(now) > 0.0, "and nobody else meanwhile"
        circuit.failed(now)
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    assert not circuit.is_hopeless(19.0)
    assert circuit.is_hopeless(20.0)
    circuit.succeeded()
    assert circuit.acquire(now) == 0.0
    assert not circuit.is_hopeless(99.0)


def test_a_host_that_never_answered_is_given_up_sooner() -> None:
    circuit = Circuit(CircuitOptions(failures_to_open=3, first_s=1.0, first_answer_s=5.0))
    for _ in range(3):
        circuit.failed(0.0)
    assert not circuit.is_hopeless(4.0)
    assert circuit.is_hopeless(5.0)


def test_those_under_way_when_it_opens_do_not_lengthen_the_pause() -> None:
    circuit = Circuit(OPTIONS)
    for _ in range(10):
        circuit.failed(0.0)
    assert circuit.acquire(0.0) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 5.0)), max_size=60))
def test_every_wait_ends(outcomes: list[tuple[bool, float]]) -> None:
    circuit, now = Circuit(OPTIONS), 0.0
    for good, passed_s in outcomes:
        now += passed_s
        waited_s = circuit.acquire(now)
        assert waited_s <= OPTIONS.cap_s
        now += waited_s
        if waited_s:
            assert circuit.acquire(now) == 0.0
        circuit.succeeded() if good else circuit.failed(now)
