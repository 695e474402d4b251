"""The learning set's photos in one file of this machine, from which any of them can be had by one read.

Training sees photos in random order, and a row group of the `images` table would be read for each of them.
So their central squares are written once, as JPEG, one after the other. A batch is read, decoded and cropped
when it is needed: memory does not grow with the number of photos.

Squares are scaled as for features (`crops.py`) and then compressed once more, at quality 95: a third of the
bytes of a photo of 640 px, and a third of the time to decode.

Knows the `images` table, JPEG and files. Knows nothing of torch or training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike import photo_stream
from raylike.learning import machine_cache
from raylike.learning.batches import Batch
from raylike.vision import crops, decode
from raylike.vision.backbones import PIXELS, Framing
from raylike.workspace import Workspace

QUALITY = 95
AT_ONCE = 64
"""Photos that are encoded together."""


@dataclass(frozen=True)
class Pack:
    """The squares of n photos; cheap to send to a process of this machine.

    Attributes
    ----------
    path : the JPEGs one after the other, then `places`
    n : photos
    square_px, input_px : side of a square, and of the crop of it that a network sees
    """

    path: Path
    n: int
    square_px: int
    input_px: int

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where each photo's bytes begin, and how many they are, (n, 2)."""
        size = 2 * self.n * np.dtype(np.int64).itemsize
        with open(self.path, "rb") as file:
            file.seek(-size, os.SEEK_END)
            return np.frombuffer(file.read(size), np.int64).reshape(self.n, 2)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Whether the photo could be decoded, shape (n,)."""
        return self.places[:, 1] > 0

    def shown(self, batch: Batch) -> NDArray[np.uint8]:
        """The crops of a batch, uint8 (b, input_px, input_px, 3), RGB."""
        seen = np.empty((batch.rows.size, self.input_px, self.input_px, 3), np.uint8)
        corners = np.rint(batch.offsets * (self.square_px - self.input_px)).astype(np.int64)
        with open(self.path, "rb", buffering=0) as file:
            for i, (row, (top, left)) in enumerate(zip(batch.rows, corners, strict=True)):
                begin, length = self.places[row].tolist()
                square = _decoded(os.pread(file.fileno(), length, begin))
                crop = square[top : top + self.input_px, left : left + self.input_px]
                seen[i] = crop[:, ::-1] if batch.mirrored[i] else crop
        return seen


def prepare(workspace: Workspace, ids: NDArray[np.str_], framing: Framing, source: str) -> Pack:
    """The pack of the photos `ids`, written first if no process of this machine has yet.

    Parameters
    ----------
    source : digest of the learning set
    """
    path = machine_cache.once(
        workspace,
        source,
        machine_cache.digest(PIXELS, str(framing.square_px), str(QUALITY)),
        ".jpegs",
        lambda part: _write(workspace, ids, framing.square_px, part),
    )
    return Pack(path, ids.size, framing.square_px, framing.input_px)


def _write(workspace: Workspace, ids: NDArray[np.str_], square_px: int, path: Path) -> None:
    position = {post: i for i, post in enumerate(ids.tolist())}
    places = np.zeros((ids.size, 2), np.int64)
    at = 0
    with open(path, "wb") as file:
        for post, square in _squares(workspace, position, square_px):
            places[position[post]] = at, len(square)
            at += file.write(square)
        file.write(places.tobytes())


def _squares(workspace: Workspace, position: dict[str, int], square_px: int) -> Iterator[tuple[str, bytes]]:
    """Squares of the photos that can be decoded, as JPEG; all cores work on a few photos at a time."""
    decode.use_threads(1)
    photos = photo_stream.read(workspace, photo_stream.plan(workspace, position))
    with ThreadPoolExecutor() as threads:
        while some := list(islice(photos, AT_ONCE)):
            encoded = threads.map(lambda photo: _encoded(photo[1], square_px), some)
            for (post, _), square in zip(some, encoded, strict=True):
                if square is not None:
                    yield post, square


def _encoded(photo: bytes, square_px: int) -> bytes | None:
    square = crops.central_square(photo, square_px)
    if square is None:
        return None
    pixels = cv2.cvtColor(square, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _decoded(square: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(square, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None, "written by this module"
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
