"""The output of a frozen trunk, computed once a photo and kept in a file that all processes map.

The file is mapped, not read: several trials of one machine share one copy, and the kernel may take its
pages back. How large it may become is `finetune.in_memory_mib`; where that is not enough, nothing is kept,
and photos go through the whole network at every step (`pack.py`).

Knows the `images` and features tables, torch and files. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raylike import feature_rows, photo_stream
from raylike.learning import machine_cache
from raylike.learning.batches import Batch
from raylike.vision import crops, decode
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import nn

PHOTOS_AT_ONCE = 32
"""Decoded together: 5 MB of pixels."""
BYTES = 4
"""Of a number that is kept, float32."""


@dataclass(frozen=True)
class Inputs:
    """What a frozen trunk gives for n photos.

    Attributes
    ----------
    values : float32 (n, 2, d), plain and mirrored; mapped from a file
    there : whether the photo could be decoded, shape (n,); other rows are 0
    """

    values: NDArray[np.float32]
    there: NDArray[np.bool_]

    def shown(self, batch: Batch) -> NDArray[np.float32]:
        """The trunk's output, (b, d), for the centre of each photo, wherever the crop was to lie."""
        return self.values[batch.rows, batch.mirrored.astype(np.int64)]


def mib(n_photos: int, width: int) -> float:
    """What is kept of so many photos, MiB."""
    return 2 * n_photos * width * BYTES / 2**20


def prepare(
    workspace: Workspace,
    ids: NDArray[np.str_],
    trunk: nn.Module,
    framing: Framing,
    source: str,
    key: str,
    device: torch.device,
) -> Inputs:
    """Map the trunk's output for the photos `ids`, computing it first if no process of this machine has yet.

    Parameters
    ----------
    trunk : takes uint8 (N, side, side, 3) to (N, d)
    source : digest of the learning set
    key : names what the output depends on besides: the same key, the same output
    """
    return _mapped(
        workspace, ids, source, key, lambda position: _through(workspace, position, trunk, framing, device)
    )


def from_features(
    workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_], source: str, key: str
) -> Inputs:
    """Map one layer of a features table as inputs.

    Where photos were not mirrored, both orientations are the plain one.
    """
    return _mapped(workspace, ids, source, key, lambda position: _rows_of(workspace, table, layer, position))


Chunks = Iterator[tuple[NDArray[np.int64], NDArray[Any]]]
"""Positions (b,) of photos, and their inputs (b, ...)."""


def _mapped(
    workspace: Workspace,
    ids: NDArray[np.str_],
    source: str,
    key: str,
    compute: Callable[[dict[str, int]], Chunks],
) -> Inputs:
    """The inputs under `key`, from their file; a photo that could not be decoded is not a number there."""
    path = machine_cache.once(
        workspace,
        source,
        machine_cache.digest(key),
        ".npy",
        lambda part: _write(compute({post: i for i, post in enumerate(ids.tolist())}), ids.size, part),
    )
    values = np.load(path, mmap_mode="r")
    return Inputs(values, ~np.isnan(values[:, 0, 0]))


def _write(chunks: Chunks, n: int, path: Path) -> None:
    values: NDArray[Any] | None = None
    there = np.zeros(n, np.bool_)
    for rows, outputs in chunks:
        if values is None:
            values = np.lib.format.open_memmap(path, "w+", np.float32, (n, *outputs.shape[1:]))
        values[rows] = outputs
        there[rows] = True
    if values is None:
        values = np.lib.format.open_memmap(path, "w+", np.float32, (n, 2, 1))
    values[~there] = np.nan


def _rows_of(workspace: Workspace, table: str, layer: str, position: dict[str, int]) -> Chunks:
    """Both orientations of each photo, a part of the table at a time: a part holds both."""
    counts = feature_rows.in_force(workspace, table)
    for group in workspace.row_groups(table):
        columns = ["post_id", "flipped", "recipe", layer]
        features = workspace.read_row_group(group.file, group.index, columns).filter(counts)
        rows = np.array([position.get(post, -1) for post in features["post_id"].to_pylist()])
        flipped = features["flipped"].to_numpy()
        column = features[layer].combine_chunks()
        values = column.flatten().to_numpy().reshape(len(column), -1)
        sides = {side: {row: values[i] for i, row in enumerate(rows) if row >= 0 and flipped[i] == side}
                 for side in (False, True)}  # fmt: skip
        found = sorted(sides[False])
        if found:
            both = [(sides[False][row], sides[True].get(row, sides[False][row])) for row in found]
            yield np.array(found), np.array(both, np.float32)


def _through(
    workspace: Workspace,
    position: dict[str, int],
    trunk: nn.Module,
    framing: Framing,
    device: torch.device,
) -> Chunks:
    """The trunk's output for the central crops, plain and mirrored, (b, 2, d), a few photos at a time."""
    import torch

    from raylike.vision.networks import equal_batches

    decode.use_threads(1)
    photos = photo_stream.read(workspace, photo_stream.plan(workspace, position))
    centres = (
        (position[post], crops.preprocess(photo, framing.square_px, framing.input_px))
        for post, photo in photos
    )
    there = ((row, centre) for row, centre in centres if centre is not None)
    while batch := list(islice(there, PHOTOS_AT_ONCE)):
        rows, pixels = zip(*batch, strict=True)
        plain = torch.from_numpy(np.stack(pixels)).to(device)
        with torch.inference_mode():
            sides = [
                torch.cat([trunk(part) for part in equal_batches(side)])[: len(rows)]
                for side in (plain, plain.flip(2))
            ]
        yield np.array(rows), np.asarray(torch.stack(sides, dim=1).cpu().numpy(), np.float32)
