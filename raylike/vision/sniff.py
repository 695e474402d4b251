"""What a file is and how large its picture is, from its first bytes, without decoding anything.

A file's name and the server's Content-Type are claims; the signature and the header are what a
decoder will act on. Reading them costs microseconds and cannot be made to allocate a billion pixels.

Sources: ITU-T T.81 annex B (JPEG markers), PNG specification section 5 and 11.2.2 (IHDR), RFC 9649
(WebP container). Knows bytes. Knows nothing of OpenCV.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Bytes = bytes | bytearray | memoryview

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_WITH_ALPHA = (4, 6)
"""Colour types gray with alpha and RGB with alpha."""

JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
JPEG_START_OF_SCAN = 0xDA
JPEG_END_OF_IMAGE = b"\xff\xd9"

MAX_SCANS = 500
"""A progressive JPEG with more is refused: a few bytes a scan can keep a decoder busy for hours. The
bound is the one that libjpeg-turbo advises; ordinary files have about 10."""


@dataclass(frozen=True)
class Header:
    """What a file's header says of its picture.

    Attributes
    ----------
    width, height : px as stored, before any EXIF rotation; each >= 1
    alpha : whether pixels may be transparent
    progressive : whether a JPEG's picture comes in several scans
    """

    format: Literal["jpeg", "png", "webp"]
    width: int
    height: int
    alpha: bool = False
    progressive: bool = False


def sniff(data: Bytes) -> Header | None:
    """Read the header of a JPEG, PNG or WebP file; None for anything else, or a header cut short."""
    view = memoryview(data).cast("B")
    try:
        start = bytes(view[:12])
        if start.startswith(b"\xff\xd8\xff"):
            return _jpeg(view)
        if start.startswith(PNG_SIGNATURE):
            return _png(view)
        if start.startswith(b"RIFF") and start.endswith(b"WEBP"):
            return _webp(view)
    except (struct.error, IndexError):
        pass  # the header ends early
    return None


def is_complete(data: Bytes, header: Header) -> bool:
    """Whether the file reaches its own end: a JPEG's end marker, a PNG's last chunk, a WebP's length.

    What follows the end (padding, a second picture) is no fault.
    """
    raw = data if isinstance(data, bytes) else bytes(data)
    if header.format == "jpeg":
        # In a scan the byte FF is always followed by 00 or a restart marker, so the marker is no chance
        # hit; the search starts there because an EXIF thumbnail has an end marker of its own.
        scan = _jpeg_scan_offset(memoryview(raw))
        return scan is not None and raw.rfind(JPEG_END_OF_IMAGE, scan) >= 0
    if header.format == "png":
        return raw.rfind(b"IEND") >= 0
    return int.from_bytes(raw[4:8], "little") + 8 <= len(raw)


def scans(data: Bytes) -> int:
    """How many scans a JPEG has, roughly: 1 for a baseline file, about 10 for a progressive one.

    Each costs the decoder a pass over all pixels, however few bytes it takes in the file.
    """
    raw = data if isinstance(data, bytes) else bytes(data)
    return raw.count(bytes((0xFF, JPEG_START_OF_SCAN)))


def has_too_many_scans(data: Bytes, header: Header) -> bool:
    """Whether the file is a progressive JPEG of more than `MAX_SCANS` scans."""
    return header.progressive and scans(data) > MAX_SCANS


def _jpeg(view: memoryview) -> Header | None:
    for marker, at in _jpeg_segments(view):
        if marker in JPEG_START_OF_FRAME:
            height, width = struct.unpack_from(">HH", view, at + 3)
            return _sized("jpeg", width, height, progressive=marker in JPEG_PROGRESSIVE)
    return None


def _jpeg_scan_offset(view: memoryview) -> int | None:
    return next((at for marker, at in _jpeg_segments(view) if marker == JPEG_START_OF_SCAN), None)


def _jpeg_segments(view: memoryview) -> list[tuple[int, int]]:
    """Markers up to the first scan, each with the offset of its length field."""
    found: list[tuple[int, int]] = []
    at = 2
    while at + 4 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        at += 2
        if marker in JPEG_WITHOUT_LENGTH:
            continue
        found.append((marker, at))
        length = int.from_bytes(view[at : at + 2], "big")
        if marker == JPEG_START_OF_SCAN or length < 2:
            break
        at += length
    return found


def _png(view: memoryview) -> Header | None:
    if bytes(view[12:16]) != b"IHDR":
        return None
    width, height, _, colour = struct.unpack_from(">IIBB", view, 16)
    return _sized("png", width, height, colour in PNG_WITH_ALPHA)


def _webp(view: memoryview) -> Header | None:
    kind = bytes(view[12:16])
    if kind == b"VP8X":
        flags, width, height = view[20], _uint24(view, 24), _uint24(view, 27)
        return _sized("webp", width + 1, height + 1, bool(flags & 0x10))
    if kind == b"VP8L" and view[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", view, 21)
        return _sized("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if kind == b"VP8 " and bytes(view[23:26]) == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", view, 26)
        return _sized("webp", width & 0x3FFF, height & 0x3FFF)
    return None


def _uint24(view: memoryview, at: int) -> int:
    if at + 3 > len(view):
        raise IndexError
    return int.from_bytes(view[at : at + 3], "little")


def _sized(
    kind: Literal["jpeg", "png", "webp"],
    width: int,
    height: int,
    alpha: bool = False,
    progressive: bool = False,
) -> Header | None:
    return Header(kind, width, height, alpha, progressive) if width and height else None
