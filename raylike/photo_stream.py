"""Photos as a stream through Ray: each process reads the photos it is about to look at.

What travels is only which photos to read: a unit names a row group of the `images` table and the posts
wanted from it. Photos themselves never pass through the driver or the object store, and no process
holds more than a few units of them.

Knows the `images` table and Ray Data's `Dataset`. Knows nothing of what is done with photos.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from raylike import cluster
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import ray.data


Unit = Mapping[str, Any]
"""A row group with wanted photos: `file`, `row_group`, and the `post_ids` wanted from it."""


def plan(workspace: Workspace, post_ids: Collection[str]) -> list[Unit]:
    """The units that hold the photos of some posts."""
    wanted = frozenset(post_ids)
    return [
        {"file": group.file, "row_group": group.index, "post_ids": hits}
        for group in workspace.row_groups("images")
        if (hits := [post_id for post_id in group.keys if post_id in wanted])
    ]


def turns(some_units: Sequence[Unit], processes: int, most: int) -> list[list[Unit]]:
    """What a process takes at a time: `most` units, and fewer towards the end, so that all end together.

    Guided self-scheduling (Polychronopoulos and Kuck 1987, doi:10.1109/TC.1987.5009495), with half a share
    of what is left, since a process has a turn waiting while it is at another.
    """
    left, found = list(some_units), []
    while left:
        size = max(1, min(most, len(left) // (2 * processes)))
        found.append(left[:size])
        left = left[size:]
    return found


def in_turns(
    workspace: Workspace, post_ids: Collection[str], name: str, processes: int, most: int
) -> ray.data.Dataset:
    """The units as a Ray data set of turns, one a block, under `units`; called `name` in the dashboard."""
    taken = turns(plan(workspace, post_ids), processes, most)
    dataset = cluster.from_items([{"units": some_units} for some_units in taken])
    dataset.set_name(name)
    return dataset


def units(workspace: Workspace, post_ids: Collection[str], name: str) -> ray.data.Dataset:
    """The same units as a Ray data set, one a block, called `name` in the Ray dashboard."""
    dataset = cluster.from_items(plan(workspace, post_ids))
    dataset.set_name(name)
    return dataset


def read(workspace: Workspace, some_units: Iterable[Unit]) -> Iterator[tuple[str, bytes]]:
    """Post id and file of each photo that was downloaded; one row group is in memory at a time."""
    for unit in some_units:
        rows = workspace.read_row_group(unit["file"], unit["row_group"], ["post_id", "bytes"])
        rows = rows.filter(pc.is_in(rows["post_id"], value_set=pa.array(unit["post_ids"], pa.string())))
        for post_id, photo in zip(rows["post_id"].to_pylist(), rows["bytes"].to_pylist(), strict=True):
            if photo is not None:
                yield post_id, photo


def downloaded(workspace: Workspace) -> set[str]:
    """The posts whose photo is there."""
    return set(workspace.read("images", ["post_id"], where=pc.field("status") == "ok")["post_id"].to_pylist())
