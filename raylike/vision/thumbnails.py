"""Small pictures for people to look at, with faces hidden where nobody is to be recognised.

Knows pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.vision import decode

QUALITY = 78
"""JPEG quality: 160 px thumbnails of the simulator's photos are 4-6 kB."""
MOSAIC_CELLS, MOSAIC_MARGIN = 4, 0.35
"""Cells along a face's side, and how far beyond its box the mosaic goes, as a share of the side."""


def hide_faces(picture: decode.Picture, boxes: NDArray[np.float64]) -> decode.Picture:
    """The same picture with a mosaic over every box of the upright photo."""
    pixels = picture.pixels.copy()
    height, width = pixels.shape[:2]
    for x, y, w, h in boxes / picture.scale:
        left, right = np.clip([x - MOSAIC_MARGIN * w, x + (1 + MOSAIC_MARGIN) * w], 0, width).astype(int)
        top, bottom = np.clip([y - MOSAIC_MARGIN * h, y + (1 + MOSAIC_MARGIN) * h], 0, height).astype(int)
        if right > left and bottom > top:
            face = pixels[top:bottom, left:right]
            cells = cv2.resize(face, (MOSAIC_CELLS, MOSAIC_CELLS), interpolation=cv2.INTER_AREA)
            face[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return decode.Picture(pixels, picture.scale)


def square(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The middle square, scaled to `side_px`."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = pixels[top : top + side, left : left + side]
    return np.asarray(cv2.resize(middle, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(pixels: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """A JPEG file of RGB pixels."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()
