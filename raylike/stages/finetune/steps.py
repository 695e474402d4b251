"""Training steps as a source of Ray Data: each task makes what a few steps in a row are shown.

A source of its own, because what Ray Data makes of `range` and `map_batches` asks for a whole CPU beside the
training worker, and with one core waits for it for ever. Knows Ray Data. Knows nothing of photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from ray.data.block import BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

if TYPE_CHECKING:
    from ray.data.block import Block

Show = Callable[[range], dict[str, NDArray[Any]]]
"""Some steps -> columns, a row for each."""


class Steps(Datasource):  # type: ignore[misc]  # Ray is not followed by mypy
    """Steps in order, `per_task` of them a task."""

    def __init__(self, steps: range, per_task: int, show: Show) -> None:
        super().__init__()
        self._parts = [steps[at : at + per_task] for at in range(0, len(steps), per_task)]
        self._show = show

    @property
    def n_tasks(self) -> int:
        """How many tasks make all steps."""
        return len(self._parts)

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known before the first task has run."""
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """A task for each part, whatever parallelism is asked for."""
        return [ReadTask(partial(_blocks, self._show, part), _about(part)) for part in self._parts]


def _blocks(show: Show, steps: range) -> Iterator[Block]:
    yield BlockAccessor.batch_to_block(show(steps))


def _about(steps: range) -> BlockMetadata:
    size = np.dtype(np.int64).itemsize * len(steps)
    return BlockMetadata(num_rows=len(steps), size_bytes=size, input_files=None, exec_stats=None)
