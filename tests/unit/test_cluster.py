"""How batch models are spread over what there is."""

from __future__ import annotations

import pytest

from raylike.cluster import plan_pool


@pytest.mark.parametrize(
    ("cpus", "gpus", "n_items", "size", "threads"),
    [
        (1, 0, 35_000, 1, 1),
        (2, 0, 10, 1, 2),  # too few photos for a second process
        (2, 0, 700, 2, 1),
        (16, 0, 35_000, 16, 1),
        (16, 2, 35_000, 2, 8),  # one process a GPU
    ],
)
def test_known_pools(cpus: int, gpus: int, n_items: int, size: int, threads: int) -> None:
    pool = plan_pool(cpus, gpus, n_items=n_items)
    assert (pool.size, pool.threads) == (size, threads)
    assert pool.num_gpus == (1 if gpus else 0)


def test_a_process_has_no_more_threads_than_its_node_has_cpus() -> None:
    assert plan_pool(8, 0, n_items=10, node_cpus=2).threads == 2
    assert plan_pool(8, 0, n_items=10, node_cpus=8).threads == 8


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 8, 64])
@pytest.mark.parametrize("wanted", [None, 1, 2, 4])
def test_actors_leave_room_for_the_tasks_that_feed_them(cpus: int, wanted: int | None) -> None:
    pool = plan_pool(cpus, 0, n_items=10**6, wanted=wanted)
    free = cpus - pool.size * pool.num_cpus
    assert free >= (0.99 if cpus > 1 else 0.5) or (wanted and wanted > cpus)
