"""Where a run that joined a cluster does its work: trees on every CPU, SGD on the nodes that hold the rows.

Trees go through Ray's joblib backend: the same call as in threads. The features are put into shared memory
once; a node that grows trees fetches them once, and all its processes read that copy.

For SGD the features table is opened as a Ray data set and dealt out in shards, one for each CPU. An actor
reads its shard out of the blocks and keeps it, as float32. From then on only weights and sums travel: the
driver never holds the rows. When a node is lost, the rows are read and dealt out anew among those that are
left, and the question that was lost with it is asked again. (Were it left to Ray to restart the actor, it
would wait for blocks that went with the node, and these for a CPU that the other actors hold.)

Knows Ray, and how a features table lies. Knows nothing of what is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray

from raylike import cluster, feature_rows
from raylike.errors import StageError
from raylike.learning import forest
from raylike.learning.photos import Photos
from raylike.learning.scaling import Moments, Scale, scale_of
from raylike.learning.sgd import Shard
from raylike.learning.svm import choices_of
from raylike.stages.classify.reading import FeatureTable
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import ray

T = TypeVar("T")
Blocks = list["ray.ObjectRef[pa.Table]"]

RESTARTS = 3
"""Of processes that were lost; their work is done again."""


def grow_trees(
    grow: forest.Grow, features: NDArray[np.float32], tasks: Sequence[forest.Seeds]
) -> Sequence[forest.Votes]:
    """Grow trees wherever the cluster has a CPU."""
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    kept = ray.put(features)

    def grow_there(task: forest.Seeds) -> forest.Votes:
        return grow(ray.get(kept), task)

    processes = min(cluster.cpus(), len(tasks))
    worker = {"num_cpus": 1, "max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    with parallel_config("ray", n_jobs=processes, ray_remote_args=worker):
        votes: list[forest.Votes] = Parallel()(delayed(grow_there)(task) for task in tasks)
    return votes


@dataclass(frozen=True)
class RowsOfPhotos:
    """Finds a layer's rows of some photos in blocks of the features table.

    Attributes
    ----------
    place_of : of each photo among all, by its id
    choices : `choices_of` the photos
    recipe : whose rows of the table count; None: all
    """

    layer: str
    orientations: tuple[bool, ...]
    place_of: dict[str, int]
    labels: NDArray[np.int8]
    choices: NDArray[np.bool_]
    recipe: str | None

    def rows(self, blocks: Blocks) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The rows (m, d) that are in the blocks, and their numbers (m,): orientation by orientation."""
        import ray

        parts = [self._of_block(ray.get(block)) for block in blocks]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([numbers for _, numbers in parts])

    def moments(self, blocks: Blocks) -> Moments:
        """Of the training rows; the other rows are only looked at for values that are not finite."""
        rows, numbers = self.rows(blocks)
        return Moments.of(rows, self.choices[numbers % self.labels.size, -1])

    def shard(self, blocks: Blocks, scale: Scale) -> Shard:
        """The rows on a common scale, with what is known of their photos."""
        rows, numbers = self.rows(blocks)
        places = numbers % self.labels.size
        return Shard(scale.apply_in_place(rows), self.labels[places], self.choices[places], numbers)

    def _of_block(self, block: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self.recipe is not None:
            block = block.filter(pc.field(feature_rows.RECIPE) == self.recipe)
        places = np.array(
            [self.place_of.get(post, -1) for post in block["post_id"].to_pylist()], dtype=np.int64
        )
        sides = np.array(
            [self.orientations.index(side) for side in block["flipped"].to_pylist()], dtype=np.int64
        )
        column = block[self.layer].combine_chunks()
        rows = column.flatten().to_numpy(zero_copy_only=False).reshape(len(block), -1)
        known = places >= 0
        return rows[known].astype(np.float32), (sides * self.labels.size + places)[known]


class Holder:
    """A process that holds one shard, and answers questions about it."""

    def __init__(self, find: RowsOfPhotos, blocks: Blocks, scale: Scale) -> None:
        self._shard = find.shard(blocks, scale)

    def answer(self, ask: Callable[[Shard], T]) -> T:
        """What the question gives of the shard."""
        return ask(self._shard)


class Holders:
    """All shards, each in a process of its own; used as a context.

    Parameters
    ----------
    shards : reads the rows and deals them out
    """

    def __init__(self, find: RowsOfPhotos, shards: Callable[[], list[Blocks]]) -> None:
        self._find = find
        self._shards = shards
        self._scale: Scale | None = None
        self._actors: list[Any] = []
        self._losses = 0

    def __enter__(self) -> Holders:
        self(_nothing)
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    def __call__(self, ask: Callable[[Shard], T]) -> Sequence[T]:
        """At the same time; a question is sent to each node once.

        Raises
        ------
        StageError : if the features are constant, one is not finite, or nodes are lost too often
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        while True:
            try:
                if not self._actors:
                    self._deal_out()
                sent = ray.put(ask)
                answers: list[T] = ray.get([actor.answer.remote(sent) for actor in self._actors])
                return answers
            except RayError as error:
                if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
                    raise  # what was asked has failed, not who was asked
                self._release()
                self._losses += 1
                if self._losses > RESTARTS:
                    raise StageError(
                        f"processes that hold the features were lost {self._losses} times",
                        "classify",
                        "run again: what is done is kept",
                    ) from error

    def _deal_out(self) -> None:
        import ray

        known, shards = ray.put(self._find), self._shards()
        if self._scale is None:
            look = ray.remote(RowsOfPhotos.moments)
            moments: list[Moments] = ray.get([look.remote(known, blocks) for blocks in shards])
            self._scale = scale_of(reduce(add, moments), self._find.layer)
        scale = ray.put(self._scale)
        holder = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Holder)
        self._actors = [holder.remote(known, blocks, scale) for blocks in shards]

    def _release(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


def _nothing(_: Shard) -> None:
    pass


def open_rows(workspace: Workspace, table: FeatureTable, photos: Photos, layer: str) -> Holders:
    """A layer's rows of some photos, to be dealt over the cluster for as long as they are needed."""
    find = RowsOfPhotos(
        layer=layer,
        orientations=table.orientations,
        place_of={post: place for place, post in enumerate(photos.ids.tolist())},
        labels=photos.labels,
        choices=choices_of(photos),
        recipe=feature_rows.recipe_in_force(workspace, table.name),
    )
    return Holders(find, lambda: _shards(workspace, table.name, layer))


def _shards(workspace: Workspace, name: str, layer: str) -> list[Blocks]:
    """The blocks of the features table, read by Ray Data, in as many shards as there are CPUs for.

    Blocks stay in order, so that the same table on as many CPUs gives the same sums to the last bit.
    """
    dataset = workspace.table(name).to_ray(["post_id", "flipped", feature_rows.RECIPE, layer])
    dataset.context.execution_options.preserve_order = True
    read = dataset.materialize()
    n = max(1, min(cluster.cpus(), read.num_blocks()))
    return [shard.to_arrow_refs() for shard in read.split(n)]
