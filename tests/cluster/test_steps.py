"""Training steps as a source of Ray Data: all of them, in order, with less than a CPU to spare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.cluster import configure_data
from raylike.stages.finetune.steps import Steps

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def squares(steps: range) -> dict[str, NDArray[Any]]:
    numbers = np.array(steps)
    return {"iteration": numbers, "photos": (numbers**2)[:, None, None] * np.ones((1, 2, 3), np.int64)}


@pytest.mark.usefixtures("ray_local")
def test_steps_come_in_order_where_half_a_cpu_is_left() -> None:
    import ray.data
    from ray.data import ExecutionResources

    configure_data()
    steps = Steps(range(5, 28), 4, squares)
    assert steps.n_tasks == 6
    data = ray.data.read_datasource(steps, override_num_blocks=steps.n_tasks, num_cpus=0.5)
    data.context.execution_options.preserve_order = True
    data.context.execution_options.resource_limits = ExecutionResources(cpu=0.5)
    blocks = list(data.iter_batches(batch_size=None))
    np.testing.assert_array_equal(np.concatenate([block["iteration"] for block in blocks]), np.arange(5, 28))
    photos = np.concatenate([block["photos"] for block in blocks])
    assert photos.shape == (23, 2, 3)
    np.testing.assert_array_equal(photos[:, 1, 2], np.arange(5, 28) ** 2)
