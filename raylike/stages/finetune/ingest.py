"""Photos for whole networks in training: read, decoded and cropped by Ray Data, ahead of the steps.

What a step sees is a pure function of its number, so tasks need no state, a lost one is simply run again,
and a run that goes on begins its data where its last saved state is. Each worker has data sets of its own,
one row a step, in order: which worker sees what does not depend on who is fast. A step whose row is not
there, such as those between a saved state and where the data begin, is made by the worker itself, with the
same result.

Ray Data plans about a thousand tasks a second before it hands out the first row, so the steps come in legs, a
data set each.

Knows Ray Data. Knows nothing of networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raylike import cluster
from raylike.learning import learning_set
from raylike.learning.material import Feed
from raylike.stages.finetune.job import Job, saved_iteration
from raylike.vision import decode

if TYPE_CHECKING:
    import ray
    from ray.data import Dataset, ExecutionOptions

LEG = 1000
"""Steps of a data set."""
STEPS_AHEAD = 8
"""Of which photos may wait in the object store; more, where they are small."""
LEAST_AHEAD = 128 * 2**20
"""Bytes that Ray Data gets at least: with less it waits for room more than it works."""
SCHEDULED_EVERY_S = 0.1
"""Ray Data looks at its tasks so often."""
TASK_PHOTOS = 128
"""A task makes so many photos ready at least, which takes some 0.1 s."""


def datasets(job: Job, task_cpus: float) -> dict[str, Callable[[], Dataset]]:
    """The data sets of all workers by name. They are made when a group of workers starts."""
    import ray

    told = ray.put(job)
    n_workers, iterations = job.settings.finetune.workers, job.settings.finetune.iterations
    return {
        _name(rank, first): partial(_dataset, told, rank, first, min(first + LEG, iterations), task_cpus)
        for rank in range(n_workers)
        for first in range(0, iterations, LEG)
    }


def options(job: Job) -> ExecutionOptions:
    """In order, and no more photos in memory than a few steps need, however many steps there are."""
    from ray.data import ExecutionOptions, ExecutionResources

    share = job.settings.finetune.batch_size // job.settings.finetune.workers
    room = max(LEAST_AHEAD, STEPS_AHEAD * share * 3 * job.framing.input_px**2)
    return ExecutionOptions(preserve_order=True, resource_limits=ExecutionResources(object_store_memory=room))


class Unhurried:
    """Lets Ray Data's scheduler rest, which runs in the training process, between two looks at its tasks.

    While photos wait to be taken it would look again at once, which takes the training a core and Python's
    lock: half of its photos a second on two cores (Ray 2.60; benchmarks/README.md, Fine-tuning).
    """

    def before_execution_starts(self, executor: object) -> None:
        """Nothing."""

    def on_execution_step(self, executor: object) -> None:
        """Rest."""
        time.sleep(SCHEDULED_EVERY_S)

    def after_execution_succeeds(self, executor: object) -> None:
        """Nothing."""

    def after_execution_fails(self, executor: object, error: Exception) -> None:
        """Nothing."""


class Stream:
    """The photos of one worker's steps, out of its data sets.

    Parameters
    ----------
    own : makes the photos of a step that the data sets do not have
    start : the first step that will be asked for
    shard : the data set of a name, `ray.train.get_dataset_shard`
    """

    def __init__(self, own: Feed, start: int, iterations: int, shard: Callable[[str], Any]) -> None:
        self._own = own
        self._rows = _rows(own.rank, start, iterations, shard)
        self._waiting: tuple[float, Any] = (-1, None)

    def __call__(self, iteration: int) -> NDArray[Any]:
        """The photos of a step; steps are asked for in order."""
        while self._waiting[0] < iteration:
            self._waiting = next(self._rows, (np.inf, None))
        reached, photos = self._waiting
        return photos if reached == iteration else self._own(iteration)


def _name(rank: int, first: int) -> str:
    return f"photos of worker {rank} from step {first}"


def _rows(
    rank: int, start: int, iterations: int, shard: Callable[[str], Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    for first in range(start // LEG * LEG, iterations, LEG):
        for block in shard(_name(rank, first)).iter_batches(batch_size=None, prefetch_batches=1):
            yield from zip(block["iteration"].tolist(), block["photos"], strict=True)


def _dataset(told: ray.ObjectRef[Job], rank: int, first: int, end: int, task_cpus: float) -> Dataset:
    """Steps `first` to `end`, or from the last saved state on, where that is among them."""
    import ray
    import ray.data

    from raylike.stages.finetune.steps import Steps

    cluster.configure_data()
    job: Job = ray.get(told)
    filesystem, root = job.workspace.filesystem()
    first = min(max(first, saved_iteration(filesystem, f"{root}/{job.folder}")), end - 1)
    share = job.settings.finetune.batch_size // job.settings.finetune.workers
    steps = Steps(range(first, end), -(-TASK_PHOTOS // share), partial(_shown, job=told, rank=rank))
    shown = ray.data.read_datasource(steps, override_num_blocks=steps.n_tasks, num_cpus=task_cpus)
    shown.context.custom_execution_callback_classes = [Unhurried]
    return shown


def _shown(steps: range, *, job: ray.ObjectRef[Job], rank: int) -> dict[str, NDArray[Any]]:
    """The photos of some steps of a worker: `iteration` (k,), `photos` (k, b, px, px, 3)."""
    feed = _feed(job, rank)
    return {"iteration": np.array(steps), "photos": np.stack([feed(step) for step in steps])}


@cache
def _feed(job: ray.ObjectRef[Job], rank: int) -> Feed:
    """What a worker is shown; read once a process."""
    import ray

    told: Job = ray.get(job)
    decode.use_threads(1)
    chosen = told.settings.finetune
    material, _ = learning_set.photos_themselves(told.workspace, told.photos, told.framing, chosen)
    return Feed(material.inputs, material.draw(chosen, told.settings.seed), rank, chosen.workers)
