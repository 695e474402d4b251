"""What a downloaded file is worth, as far as its bytes tell: its facts if it may be a photo, else why not.

The order is from cheap to dear: signature, size by the header, completeness. Nothing is decoded: whoever
looks at the photo finds out then whether all of it can be.

Knows files. Knows nothing of pixels, or of where files came from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from raylike.vision.sniff import MAX_SCANS, Header, has_too_many_scans, is_complete, sniff


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
    status : ok, not_an_image, too_many_pixels, too_small, truncated or too_many_scans
    error : what is wrong, in words; None if it is ok
    sha256 : of the bytes, hex
    header : None if the file is no image
    """

    status: str
    error: str | None
    sha256: str
    header: Header | None = None


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
    if has_too_many_scans(data, header):
        return Findings("too_many_scans", f"a JPEG of more than {MAX_SCANS} scans", sha256, header)
    return Findings("ok", None, sha256, header)


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
