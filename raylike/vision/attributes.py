"""What anybody can see in a photo, as numbers: light, colour, detail, border, faces.

Everything is measured from pixels and face boxes; nothing is guessed of who a person is. Text in
photos is not looked for: cheap tests confuse it with leaves and fabric.

Knows pixels. Knows nothing of models, scores or tables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

GREEN_HUE = (35, 85)
"""Of OpenCV's 0 to 179: from yellowish to bluish green, as leaves are."""
LEAF_SATURATION, LEAF_VALUE = 50, 30
"""Of 255: below these, green is gray or black."""
GRAY_CHROMA = 6.0
"""Mean of the largest less the smallest of R, G and B, of 255: JPEG leaves about 1 in a gray photo."""
FLAT_SD, SAME_COLOUR = 3.0, 8.0
"""Of 255: a line of a border varies less along itself, and differs less from the outermost line."""
Plane = NDArray[np.float32]
MIN_BORDER = 0.02
"""Share of the side: a thinner frame is not called a border."""
EDGE = 40.0
"""Sobel gradient (3 x 3, of 255) above which a pixel lies on an edge."""
INNER_FACE = 0.5
"""Share of a face box's sides that is looked at for skin: hair and background lie further out."""


@dataclass(frozen=True)
class Attributes:
    """One photo's attributes.

    Attributes
    ----------
    brightness : mean luma, 0 to 1
    contrast : standard deviation of luma, 0 to 0.5
    saturation : mean HSV saturation, 0 to 1
    colourfulness : of Hasler and Süsstrunk, "Measuring colourfulness in natural images", 2003; from 0
    warmth : mean of red less blue, -1 to 1
    greenery : share of pixels that are green as leaves are, 0 to 1
    detail : share of pixels on an edge, 0 to 1
    black_and_white : without colour
    border : a plain frame on two opposite sides or more
    n_faces : boxes given
    face_share : area of the largest face by the photo's, 0 to 1
    face_height : of the middle of the largest face, 0 at the top, 1 at the bottom; 0.5 without a face
    face_luminance : median luma inside the largest face, 0 to 1; NaN without a face
    """

    brightness: float
    contrast: float
    saturation: float
    colourfulness: float
    warmth: float
    greenery: float
    detail: float
    black_and_white: bool
    border: bool
    n_faces: int
    face_share: float
    face_height: float
    face_luminance: float


NAMES = tuple(field.name for field in fields(Attributes))


def measure(pixels: NDArray[np.uint8], faces: NDArray[np.float64]) -> Attributes:
    """Measure a photo.

    Parameters
    ----------
    pixels : shape (height, width, 3), RGB; a few hundred px a side are enough
    faces : shape (n, 4): x, y, width, height of each face in these px; n may be 0
    """
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), np.uint8)
    red, green, blue = (pixels[..., channel].astype(np.float32) for channel in range(3))
    chroma = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return Attributes(
        brightness=float(luma.mean()) / 255,
        contrast=float(luma.std()) / 255,
        saturation=float(hsv[..., 1].mean()) / 255,
        colourfulness=_colourfulness(red, green, blue),
        warmth=(float(red.mean()) - float(blue.mean())) / 255,
        greenery=_greenery(hsv),
        detail=_detail(luma),
        black_and_white=bool(chroma.mean() < GRAY_CHROMA),
        border=has_border(pixels),
        n_faces=len(faces),
        **_face(luma, faces),
    )


def _colourfulness(red: Plane, green: Plane, blue: Plane) -> float:
    """Spread and mean of the two opponent colours, as in the paper's equation for M3."""
    means, spreads = zip(*map(cv2.meanStdDev, (red - green, (red + green) / 2 - blue)), strict=True)
    return float(np.linalg.norm(spreads) + 0.3 * np.linalg.norm(means))


def _greenery(hsv: NDArray[np.uint8]) -> float:
    low = np.array([GREEN_HUE[0], LEAF_SATURATION, LEAF_VALUE], np.uint8)
    high = np.array([GREEN_HUE[1], 255, 255], np.uint8)
    return float(cv2.inRange(hsv, low, high).mean()) / 255


def _detail(luma: NDArray[np.uint8]) -> float:
    across = cv2.Sobel(luma, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    return float((cv2.magnitude(across, down) > EDGE).mean())


def has_border(pixels: NDArray[np.uint8]) -> bool:
    """Whether two opposite sides, or all, end in a plain strip; a photo that is plain all over has none."""
    pairs = []
    for lines in (pixels, pixels.transpose(1, 0, 2)):
        strips = [_strip(side) for side in (lines, lines[::-1])]
        pairs.append(min(strips) >= MIN_BORDER and max(strips) < 0.5)
    return any(pairs)


def _strip(lines: NDArray[np.uint8]) -> float:
    """Share of the lines, from the first on, that are plain and of the first one's colour."""
    half = max(1, len(lines) // 2)
    first = lines[0].mean(axis=0)
    for number in range(half):
        line = lines[number].astype(np.float32)
        mean = line.mean(axis=0)
        if (line - mean).std() >= FLAT_SD or np.abs(mean - first).max() >= SAME_COLOUR:
            return number / len(lines)
    return half / len(lines)


def _face(luma: NDArray[np.uint8], faces: NDArray[np.float64]) -> dict[str, float]:
    """Size, height and luminance of the largest face."""
    if not len(faces):
        return {"face_share": 0.0, "face_height": 0.5, "face_luminance": float("nan")}
    height, width = luma.shape
    x, y, w, h = faces[np.argmax(faces[:, 2] * faces[:, 3])]
    margin = (1 - INNER_FACE) / 2
    top, bottom = np.clip([y + margin * h, y + (1 - margin) * h], 0, height).astype(int)
    left, right = np.clip([x + margin * w, x + (1 - margin) * w], 0, width).astype(int)
    inner = luma[top : max(bottom, top + 1), left : max(right, left + 1)]
    return {
        "face_share": float(min(1.0, w * h / (width * height))),
        "face_height": float(np.clip((y + h / 2) / height, 0, 1)),
        "face_luminance": float(np.median(inner)) / 255 if inner.size else float("nan"),
    }
