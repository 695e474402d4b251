"""A photo with what was found out drawn on it: what raised and lowered the score, faces, the best crop.

Knows pixels and results. Knows nothing of how anything was found out.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.scoring.results import Box, PhotoScore
from raylike.vision import decode

LONGEST_PX = 1024
RAISED, LOWERED = (230, 97, 1), (94, 60, 153)
"""Orange and purple of ColorBrewer's PuOr, which colour-blind people tell apart; RGB."""
FACE, CROP = (255, 255, 255), (0, 200, 120)
STRONGEST = 0.6
"""Opacity of the strongest influence."""
LINE_PX = 3


def drawn(data: bytes, result: PhotoScore) -> bytes:
    """A PNG of the photo, its longer side at most 1024 px; `data` is the file that `result` is about.

    Orange parts raised the score, purple ones lowered it; faces are framed white, the best crop green.
    """
    picture = decode.decode(data, at_least_px=LONGEST_PX)
    assert picture is not None
    picture = decode.fit(picture, LONGEST_PX)
    pixels, scale = picture.pixels.copy(), picture.scale
    if result.explanation is not None and result.seen is not None:
        _paint(pixels, _scaled(result.seen, scale), result.explanation.heat)
    for face in result.faces or ():
        _frame(pixels, _scaled(face.box, scale), FACE)
    if result.crop is not None:
        _frame(pixels, _scaled(result.crop.box, scale), CROP)
    _, file = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return file.tobytes()


def smoothed(heat: NDArray[np.float64], side_px: int) -> NDArray[np.float64]:
    """Influence of every pixel of the square: the mean over the patches that lie on it, then interpolated."""
    steps = len(heat)
    total, count = np.zeros((steps + 1, steps + 1)), np.zeros((steps + 1, steps + 1))
    for down in (0, 1):
        for across in (0, 1):
            total[down : down + steps, across : across + steps] += heat
            count[down : down + steps, across : across + steps] += 1
    found = cv2.resize(total / count, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(found, np.float64)


def _paint(pixels: NDArray[np.uint8], seen: Box, heat: NDArray[np.float64]) -> None:
    """Lay colours over the part that was seen, in place."""
    part = pixels[seen.y : seen.y + seen.height, seen.x : seen.x + seen.width]
    strength = smoothed(heat, seen.width)[: part.shape[0], : part.shape[1], None]
    largest = np.abs(strength).max()
    if not largest > 0:
        return
    colour = np.where(strength > 0, np.array(RAISED), np.array(LOWERED))
    opacity = STRONGEST * np.abs(strength) / largest
    part[:] = np.round((1 - opacity) * part + opacity * colour).astype(np.uint8)


def _frame(pixels: NDArray[np.uint8], box: Box, colour: tuple[int, int, int]) -> None:
    corner = (box.x + box.width - 1, box.y + box.height - 1)
    cv2.rectangle(pixels, (box.x, box.y), corner, colour, LINE_PX)


def _scaled(box: Box, scale: float) -> Box:
    x, y = round(box.x / scale), round(box.y / scale)
    return Box(x, y, max(1, round(box.width / scale)), max(1, round(box.height / scale)))
