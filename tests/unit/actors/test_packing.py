"""How many processes tokens share, as a table."""

from __future__ import annotations

import pytest

from actors.packing import describe, plan_processes, share_out


@pytest.mark.parametrize(
    ("tokens", "cpus", "wanted", "processes"),
    [
        (1, 2, None, 1),
        (3, 2, None, 1),  # run-all's preset on a small laptop
        (3, 8, None, 3),  # and where there is room: one process for each token
        (5, 2, None, 1),
        (6, 2, None, 2),
        (20, 2, None, 4),
        (20, 8, None, 4),
        (20, 16, None, 8),
        (20, 40, None, 20),
        (500, 2, None, 4),
        (3, 1, None, 1),
        (3, 0, None, 1),  # a head node that does no work
        (20, 2, 1, 20),  # the user's own choice goes first
        (20, 2, 3, 7),
        (2, 2, 9, 1),
    ],
)
def test_processes(tokens: int, cpus: int, wanted: int | None, processes: int) -> None:
    assert plan_processes(tokens, cpus, wanted) == processes


@pytest.mark.parametrize(("tokens", "processes"), [(3, 3), (4, 4), (20, 4), (30, 6)])
def test_every_node_has_a_process_if_there_are_tokens_for_it(tokens: int, processes: int) -> None:
    assert plan_processes(tokens, cpus=4, nodes=4) == processes


@pytest.mark.parametrize(
    ("n", "processes", "sizes"),
    [(20, 4, [5] * 4), (20, 7, [2, 3, 3, 3, 3, 3, 3]), (3, 3, [1] * 3), (2, 5, [1, 1])],
)
def test_tokens_are_shared_out_evenly_and_in_order(n: int, processes: int, sizes: list[int]) -> None:
    groups = share_out(range(n), processes)
    assert [len(group) for group in groups] == sizes
    assert [token for group in groups for token in group] == list(range(n))


@pytest.mark.parametrize(
    ("tokens", "processes", "words"),
    [
        (3, 3, "each in a process of its own"),
        (20, 4, "in 4 processes of up to 5"),
        (2, 1, "in 1 process of up to 2"),
    ],
)
def test_it_is_said_in_words(tokens: int, processes: int, words: str) -> None:
    assert describe(tokens, processes) == words
