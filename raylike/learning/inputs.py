"""What a tail is trained on, computed once a photo and kept in a file that all processes map.

With a frozen trunk that is the trunk's output, plain and mirrored; without one, the photo's central
square. The file is mapped, not read: memory does not grow with the number of photos, and several
trials of one machine share one copy.

Knows the `images` table, torch and files. Knows nothing of training.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raylike import feature_rows, photo_stream
from raylike.vision import crops, decode
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import nn

PHOTOS_AT_ONCE = 32
"""Decoded together: 5 MB of pixels."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of n photos.

    Attributes
    ----------
    values : float32 (n, 2, d), plain and mirrored; or uint8 (n, 256, 256, 3); mapped from a file
    there : whether the photo could be decoded, shape (n,); other rows are 0
    """

    values: NDArray[Any]
    there: NDArray[np.bool_]


def prepare(
    workspace: Workspace,
    ids: NDArray[np.str_],
    trunk: nn.Module | None,
    key: str,
    device: torch.device,
) -> Inputs:
    """Map the inputs of the photos `ids`, computing them first if no process of this machine has yet.

    Parameters
    ----------
    trunk : takes uint8 (N, 224, 224, 3) to (N, d); None to keep the photos themselves
    key : names what the inputs depend on: the same key, the same inputs
    """
    return _mapped(workspace, ids, key, lambda position: _looked_at(workspace, position, trunk, device))


def from_features(workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_], key: str) -> Inputs:
    """Map one layer of a features table as inputs: float32 (n, 2, d), plain and mirrored.

    Where photos were not mirrored, both orientations are the plain one.
    """
    return _mapped(workspace, ids, key, lambda position: _rows_of(workspace, table, layer, position))


Chunks = Iterator[tuple[NDArray[np.int64], NDArray[Any]]]
"""Positions (b,) of photos, and their inputs (b, ...)."""


def _mapped(
    workspace: Workspace, ids: NDArray[np.str_], key: str, compute: Callable[[dict[str, int]], Chunks]
) -> Inputs:
    """The inputs under `key`, from their file; `compute` gives them where no process has written it yet."""
    folder = _folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("\n".join([key, *ids.tolist()]).encode()).hexdigest()[:16]
    path = folder / f"{name}.npy"
    with _only_one(folder / f"{name}.lock"):
        if not path.is_file():
            for old in folder.glob("*.npy"):
                old.unlink()
            _write(compute({post: i for i, post in enumerate(ids.tolist())}), ids.size, path)
    values = np.load(path, mmap_mode="r")
    return Inputs(values, np.load(_mask(path)))


def _folder(workspace: Workspace) -> Path:
    if workspace.is_local:
        return Path(workspace.artifact("cache", "inputs"))
    return Path(tempfile.gettempdir()) / f"raylike-{hashlib.sha256(workspace.uri.encode()).hexdigest()[:12]}"


def _mask(path: Path) -> Path:
    return path.with_suffix(".there.npy")


def _write(chunks: Chunks, n: int, path: Path) -> None:
    """Write both files under other names and move them into place, the one that is looked for last."""
    there = np.zeros(n, np.bool_)
    part = path.with_suffix(f".{os.getpid()}.part")
    values: NDArray[Any] | None = None
    try:
        for rows, outputs in chunks:
            if values is None:
                values = np.lib.format.open_memmap(part, "w+", outputs.dtype, (n, *outputs.shape[1:]))
            values[rows] = outputs
            there[rows] = True
        if values is None:
            values = np.lib.format.open_memmap(part, "w+", np.float32, (n, 2, 1))
        del values
        np.save(_mask(path), there)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _looked_at(
    workspace: Workspace, position: dict[str, int], trunk: nn.Module | None, device: torch.device
) -> Chunks:
    for rows, squares in _squares(workspace, position):
        yield rows, squares if trunk is None else _through(trunk, squares, device)


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


def _squares(workspace: Workspace, position: dict[str, int]) -> Chunks:
    """Squares (b, 256, 256, 3) of the photos that can be decoded, a few at a time."""
    decode.use_threads(1)
    photos = photo_stream.read(workspace, photo_stream.plan(workspace, position))
    squares = ((position[post], crops.central_square(photo)) for post, photo in photos)
    there = ((row, square) for row, square in squares if square is not None)
    while batch := list(islice(there, PHOTOS_AT_ONCE)):
        rows, pixels = zip(*batch, strict=True)
        yield np.array(rows), np.stack(pixels)


def _through(trunk: nn.Module, squares: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """The trunk's output for the central crops, plain and mirrored: shape (b, 2, d)."""
    import torch

    from raylike.vision.networks import equal_batches

    edge = (crops.SQUARE_PX - crops.INPUT_PX) // 2
    centres = torch.from_numpy(squares).to(device)[:, edge:-edge, edge:-edge]
    with torch.inference_mode():
        sides = [
            torch.cat([trunk(batch) for batch in equal_batches(side)])[: len(squares)]
            for side in (centres, centres.flip(2))
        ]
        return np.asarray(torch.stack(sides, dim=1).cpu().numpy(), np.float32)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Let one process of this machine at a time into the block."""
    with open(lock, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
