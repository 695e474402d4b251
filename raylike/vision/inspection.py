"""What a downloaded file is worth: its facts if it is a photo that can be used, else why not.

The order is from cheap to dear: signature, size by the header, completeness, and only then a decode,
at an eighth of the size and gray, for the perceptual hash. Measured on 640 px JPEGs of 70 kB: about
1.3 ms of CPU a photo, 1.0 of it in the decode.

Knows files and pixels. Knows nothing of where they came from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from raylike.vision import decode
from raylike.vision.perceptual_hash import SIZE_PX, perceptual_hash
from raylike.vision.sniff import Header, is_complete, sniff


@dataclass(frozen=True)
class Limits:
    """What is accepted: `max_pixels` in all, `min_side_px` on the shorter side."""

    max_pixels: int
    min_side_px: int


@dataclass(frozen=True)
class Findings:
    """What was found out about a file.

    Attributes
    ----------
    status : ok, not_an_image, too_many_pixels, too_small, truncated or corrupt
    error : what is wrong, in words; None if it is ok
    sha256 : of the bytes, hex
    header : None if the file is no image
    phash : perceptual hash, hex; None unless the file is ok
    """

    status: str
    error: str | None
    sha256: str
    header: Header | None = None
    phash: str | None = None


def inspect(data: bytes, limits: Limits) -> Findings:
    """Look at one file."""
    sha256 = hashlib.sha256(data).hexdigest()
    header = sniff(data)
    if header is None:
        return Findings("not_an_image", f"{_looks_like(data)}, not JPEG, PNG or WebP", sha256)
    size = f"{header.width} x {header.height} px"
    if header.width * header.height > limits.max_pixels:
        return Findings("too_many_pixels", f"{size} are more than {limits.max_pixels}", sha256, header)
    if min(header.width, header.height) < limits.min_side_px:
        return Findings("too_small", f"{size}, a side below {limits.min_side_px}", sha256, header)
    if not is_complete(data, header):
        return Findings("truncated", f"the {header.format} file ends early", sha256, header)
    gray = decode.decode(data, at_least_px=2 * SIZE_PX, colour=False, max_pixels=limits.max_pixels)
    if gray is None:
        return Findings("corrupt", f"the {header.format} file cannot be decoded", sha256, header)
    return Findings("ok", None, sha256, header, perceptual_hash(gray.pixels))


def _looks_like(data: bytes) -> str:
    """A guess at what a file is that is no photo, for people."""
    start = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if start.startswith(b"gif8"):
        return "a GIF"
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"\x1f\x8b"):
        return "gzip data"
    return "a file of unknown kind"
