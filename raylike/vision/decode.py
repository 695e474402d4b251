"""Photo files become arrays: upright, 8 bit, RGB or gray, and no larger than needed.

Never raises for what a file contains: hostile and broken files give None. JPEG can be decoded at a
half, quarter or eighth of its size for less time (libjpeg's scaled DCT), which costs nothing where
the picture is shrunk anyway.

Knows OpenCV and file headers. Knows nothing of what the pictures are for.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.vision.sniff import Bytes, Header, has_too_many_scans, sniff

MAX_PIXELS = 50_000_000
"""Larger pictures are not decoded: 150 MB as RGB. The download's default limit is the same."""

REDUCED = (8, 4, 2)
"""Divisors that OpenCV can decode by, strongest first."""

GRAY_FLAGS = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
COLOUR_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

WHITE = 255


@dataclass(frozen=True)
class Picture:
    """Decoded pixels.

    Attributes
    ----------
    pixels : uint8 array of shape (height, width, 3), RGB, or (height, width), gray
    scale : px of the upright photo for one px here; 1 where nothing was reduced
    """

    pixels: NDArray[np.uint8]
    scale: float = 1.0


def use_threads(n: int) -> None:
    """Set how many threads OpenCV may use in this process; 1 where every core has a process already."""
    cv2.setNumThreads(n)


def decode(
    data: Bytes, *, at_least_px: int | None = None, colour: bool = True, max_pixels: int = MAX_PIXELS
) -> Picture | None:
    """Decode a JPEG, PNG or WebP file; None if that is not possible.

    EXIF rotation is applied, CMYK becomes RGB, 16 bit become 8, transparent parts become white.

    Parameters
    ----------
    data : the file
    at_least_px : decode at a half, a quarter or an eighth as long as the longer side stays at least this
        long; None for full size
    colour : RGB, or else gray
    max_pixels : width x height, by the header, above which nothing is decoded
    """
    header = sniff(data)
    if header is None or header.width * header.height > max_pixels:
        return None
    if has_too_many_scans(data, header):
        return None
    divisor = _divisor(header, at_least_px)
    try:
        pixels = _with_alpha(data, colour) if header.alpha else _opaque(data, colour, divisor)
    except (cv2.error, MemoryError):
        return None
    if pixels is None:
        return None
    longest = max(header.width, header.height)
    return Picture(pixels, longest / max(pixels.shape[:2]))


def fit(picture: Picture, longest_px: int) -> Picture:
    """The same picture with its longer side at most `longest_px`; smaller ones are left alone."""
    height, width = picture.pixels.shape[:2]
    longest = max(height, width)
    if longest <= longest_px:
        return picture
    size = (max(1, round(width * longest_px / longest)), max(1, round(height * longest_px / longest)))
    pixels = cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA)
    return Picture(_uint8(pixels), picture.scale * longest / longest_px)


def _divisor(header: Header, at_least_px: int | None) -> int:
    if at_least_px is None or header.format != "jpeg":
        return 1  # the other decoders only shrink afterwards, and less well than `fit`
    longest = max(header.width, header.height)
    return next((d for d in REDUCED if longest // d >= at_least_px), 1)


def _opaque(data: Bytes, colour: bool, divisor: int) -> NDArray[np.uint8] | None:
    flags = COLOUR_FLAGS if colour else GRAY_FLAGS
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags[divisor])
    if pixels is None:
        return None
    return _uint8(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if colour else pixels)


def _with_alpha(data: Bytes, colour: bool) -> NDArray[np.uint8] | None:
    """Lay a picture on white. OpenCV drops alpha otherwise, and shows what hides under it."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.uint16)
        under = (WHITE * (WHITE - alpha) + alpha * pixels[:, :, :3]) // WHITE
        pixels = under.astype(np.uint8)
    if pixels.ndim == 2:
        return _uint8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if colour else pixels)
    return _uint8(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if colour else cv2.COLOR_BGR2GRAY))


def _uint8(pixels: object) -> NDArray[np.uint8]:
    return np.asarray(pixels, np.uint8)
