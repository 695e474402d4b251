"""Photo files for tests, in every encoding that turns up."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scene(width: int = 320, height: int = 200, shade: int = 0) -> NDArray[np.uint8]:
    """Smooth RGB pixels of shape (height, width, 3) that differ in every corner."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    red = 200 * x / width + shade
    green = 255 * y / height
    blue = 127 + 120 * np.sin(6 * x / width) * np.cos(4 * y / height)
    return np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8)


def encode(pixels: NDArray[Any], kind: str = "JPEG", mode: str | None = None, **options: Any) -> bytes:
    """The pixels as a file, written by Pillow, so that reading is checked against another library."""
    picture = Image.fromarray(pixels)
    if mode is not None:
        picture = picture.convert(mode)
    if kind == "JPEG":
        options.setdefault("quality", 92)
    if "orientation" in options:
        exif = Image.Exif()
        exif[0x0112] = options.pop("orientation")
        options["exif"] = exif.tobytes()
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 320, height: int = 240, shade: int = 0) -> bytes:
    """An ordinary JPEG; another `shade`, another file."""
    return encode(scene(width, height, shade))


def png_bomb(side_px: int = 50_000) -> bytes:
    """A small, well-formed PNG that claims `side_px` squared pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def many_scans(n: int, side_px: int | None = None) -> bytes:
    """A progressive JPEG, square if a side is given, in which the last scan is repeated `n` times."""
    data = encode(scene(side_px, side_px) if side_px else scene(), progressive=True)
    last, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:end] + data[last:end] * n + data[end:]
