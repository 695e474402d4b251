"""What a network sees of a photo: the central square at 256 px, and 224 px of that, or its own sizes.

The shorter side becomes 256 px, as AlexNet and its descendants were trained. JPEG is decoded at a
fraction of its size where that still leaves the square 256 px.

Knows pixels. Knows nothing of networks or tables.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.vision.decode import decode
from raylike.vision.sniff import Bytes, sniff

SQUARE_PX = 256
INPUT_PX = 224
"""Side of a network's input; random crops of the square are this large too."""


def preprocess(
    photo: Bytes, square_px: int = SQUARE_PX, input_px: int = INPUT_PX
) -> NDArray[np.uint8] | None:
    """The central `input_px` of the central square: uint8 (input_px, input_px, 3), RGB.

    Returns
    -------
    None for a file that cannot be decoded
    """
    square = central_square(photo, square_px)
    return None if square is None else centre(square, input_px)


def central_square(photo: Bytes, side_px: int = SQUARE_PX) -> NDArray[np.uint8] | None:
    """Decode, cut the largest central square, and scale it: uint8 (side_px, side_px, 3), RGB.

    The cut comes first: a panorama then costs no more than a square photo.

    Returns
    -------
    None for a file that cannot be decoded
    """
    header = sniff(photo)
    if header is None:
        return None
    shortest, longest = sorted((header.width, header.height))
    picture = decode(photo, at_least_px=math.ceil(side_px * longest / max(1, shortest)))
    if picture is None:
        return None
    return _scaled(centre(picture.pixels, min(picture.pixels.shape[:2])), side_px)


def framed(square: NDArray[np.uint8], square_px: int, input_px: int) -> NDArray[np.uint8]:
    """What a network sees of a square part (side, side, 3) of a photo, were that part the photo."""
    return centre(_scaled(square, square_px), input_px)


def _scaled(square: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    # Below a factor of two, linear interpolation misses no pixel; area averaging is slower.
    method = cv2.INTER_AREA if square.shape[0] >= 2 * side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (side_px, side_px), interpolation=method), np.uint8)


def centre(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The central square of `side_px`, which must fit into `pixels` of shape (height, width, 3)."""
    height, width = pixels.shape[:2]
    top, left = (height - side_px) // 2, (width - side_px) // 2
    return pixels[top : top + side_px, left : left + side_px]
