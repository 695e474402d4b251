"""Square parts of a photo to be tried as crops: several sizes, all over it, with the faces kept.

They are square because that is what a network sees of a crop, whatever shape it has. Knows boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from raylike.scoring.results import Box

SIDES = (1.0, 0.85, 0.7, 0.55)
"""Of a window, as shares of the photo's shorter side."""
STRIDE = 0.25
"""From one window to the next, at most, as a share of its side; less where `MOST` allows."""
MOST = 4
"""Windows along each side of the photo."""
KEPT = 0.95
"""Share of a face's area that a window must hold to keep it: boxes are no finer than this."""


def windows(width: int, height: int, faces: Sequence[Box], min_side_px: int) -> list[Box]:
    """Windows of a photo of `width` x `height` px, largest first; the largest is always among the candidates.

    Those that keep every face; if there is none, those that keep most of the largest face.

    Parameters
    ----------
    min_side_px : smaller windows are left out, but for the largest
    """
    shorter = min(width, height)
    sides = {shorter, *(round(share * shorter) for share in SIDES if share * shorter >= min_side_px)}
    found = [
        Box(x, y, side, side)
        for side in sorted(sides, reverse=True)
        for y in _places(height, side)
        for x in _places(width, side)
    ]
    if not faces:
        return found
    keeping = [window for window in found if all(held(face, window) >= KEPT for face in faces)]
    if keeping:
        return keeping
    largest = max(faces, key=lambda face: face.width * face.height)
    most = max(held(largest, window) for window in found)
    return [window for window in found if held(largest, window) >= KEPT * most]


def held(face: Box, window: Box) -> float:
    """The share of a face's area that lies in a window, 0 to 1."""
    across = min(face.x + face.width, window.x + window.width) - max(face.x, window.x)
    down = min(face.y + face.height, window.y + window.height) - max(face.y, window.y)
    return max(0, across) * max(0, down) / max(1, face.width * face.height)


def _places(extent: int, side: int) -> list[int]:
    gap = extent - side
    n = min(MOST, math.ceil(gap / (STRIDE * side)) + 1)
    return sorted({round(gap * i / (n - 1)) for i in range(n)}) if n > 1 else [0]
