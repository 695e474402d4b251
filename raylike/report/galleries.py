"""Thumbnails: photos of a gallery as small JPEGs inside the page.

Knows the images table and how to decode. Reads only what holds a wanted photo, and keeps none
of the bytes. Knows nothing of rankings.
"""

from __future__ import annotations

import base64
from collections.abc import Collection

import cv2

from raylike import photo_stream
from raylike.vision import decode
from raylike.workspace import Workspace

QUALITY = 78
"""JPEG quality: 160 px thumbnails of the simulator's photos are 4-6 kB."""


def thumbnails(workspace: Workspace, post_ids: Collection[str], side_px: int) -> dict[str, str]:
    """Post id -> data URI of a square JPEG, for those photos that are there and can be decoded."""
    found: dict[str, str] = {}
    for post_id, photo in photo_stream.read(workspace, photo_stream.plan(workspace, post_ids)):
        thumbnail = make_thumbnail(photo, side_px)
        if thumbnail is not None:
            found[post_id] = "data:image/jpeg;base64," + base64.b64encode(thumbnail).decode()
    return found


def make_thumbnail(photo: bytes | memoryview, side_px: int) -> bytes | None:
    """The middle square of a photo as a JPEG of `side_px`; None if it cannot be decoded."""
    picture = decode.decode(photo, at_least_px=2 * side_px)
    if picture is None:
        return None
    height, width = picture.pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture.pixels[top : top + side, left : left + side]
    small = cv2.resize(square, (side_px, side_px), interpolation=cv2.INTER_AREA)
    written, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(small, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    )
    return data.tobytes() if written else None
