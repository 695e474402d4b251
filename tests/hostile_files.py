"""Files as strangers' servers and folders hold them: odd, broken and made to harm."""

from __future__ import annotations

import gzip
import struct

import numpy as np

from tests.pictures import encode, many_scans, photo, png_bomb, scene


def jpeg_bomb() -> bytes:
    """A small JPEG whose header claims 50,000 x 50,000 px."""
    data = bytearray(photo())
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, 50_000, 50_000)
    return bytes(data)


FILES: dict[str, bytes] = {
    "photo": photo(),
    "rotated": encode(scene(), orientation=6),
    "CMYK": encode(scene(), mode="CMYK"),
    "progressive": encode(scene(), progressive=True),
    "16 bit PNG": encode((scene()[:, :, 0].astype(np.uint16) * 257), "PNG"),
    "WebP": encode(scene(), "WEBP"),
    "one pixel": photo(1, 1),
    "PNG bomb": png_bomb(50_000),
    "JPEG bomb": jpeg_bomb(),
    "too many scans": many_scans(600, side_px=64),
    "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "HTML": b"<!DOCTYPE html><html>please log in</html>",
    "GIF": encode(scene(), "GIF"),
    "gzip bomb": gzip.compress(bytes(30_000_000)),
    "nothing": b"",
    "cut off": photo()[:-500],
    "noise": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40,
    "large": photo() + bytes(1_000_000),
}
"""Name -> contents."""

STATUS: dict[str, str] = {
    "one pixel": "too_small",
    "PNG bomb": "too_many_pixels",
    "JPEG bomb": "too_many_pixels",
    "too many scans": "too_many_scans",
    "SVG": "not_an_image",
    "HTML": "not_an_image",
    "GIF": "not_an_image",
    "gzip bomb": "not_an_image",
    "nothing": "not_an_image",
    "cut off": "truncated",
    "noise": "not_an_image",
    "large": "too_large",
}
"""What becomes of those that are no photos to be used, where 200 kB are allowed."""
