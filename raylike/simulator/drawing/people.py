"""A person in front of something: background, shoulders and clothes, head.

Knows how the parts are put together; `head.py` knows what a head looks like.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from raylike.simulator.drawing.backgrounds import background
from raylike.simulator.drawing.head import MIDDLE_Y_PX, PATCH_PX, REACH, Head, draw_head, random_head
from raylike.simulator.drawing.noise import Field, Image, clouds
from raylike.simulator.drawing.spec import CANVAS_PX, PhotoSpec

_CLOTHES = [(40, 40, 44), (230, 228, 226), (120, 60, 40), (60, 60, 170), (90, 110, 60), (160, 150, 140),
            (70, 40, 90), (90, 150, 210), (180, 130, 80), (100, 90, 190), (150, 190, 160), (50, 70,
            110)]  # fmt: skip


def draw_person(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A portrait, (CANVAS_PX, CANVAS_PX, 3): the face is 0.28 to 0.6 of the frame wide, by closeness."""
    canvas = background(rng, spec.greenery)
    half_width = CANVAS_PX * (0.14 + 0.15 * spec.closeness)
    x = CANVAS_PX / 2 + float(rng.normal(0, 0.07)) * (CANVAS_PX - 2 * half_width)
    y = CANVAS_PX * (0.44 + 0.06 * spec.closeness) + float(rng.normal(0, 8))
    place_person(
        canvas, random_head(rng), (x, y), half_width, float(np.clip(rng.normal(0, 0.07), -0.16, 0.16)), rng
    )
    return canvas


def place_person(
    canvas: Image,
    head: Head,
    centre: tuple[float, float],
    half_width: float,
    tilt: float,
    rng: np.random.Generator,
) -> None:
    """Draw shoulders and head on `canvas`, in place.

    Parameters
    ----------
    centre : middle of the face, px
    half_width : of the face, px
    tilt : of the head, radians, clockwise
    """
    _draw_shoulders(canvas, head, centre, half_width, rng)
    patch, alpha = draw_head(head, rng)
    lay_over(canvas, patch, alpha, centre, half_width * 2 * REACH / PATCH_PX, tilt)


def lay_over(
    canvas: Image, patch: Image, alpha: Field, centre: tuple[float, float], scale: float, tilt: float
) -> None:
    """Lay a head's patch over `canvas`, scaled and turned about the middle of the face, in place."""
    cos, sin = scale * math.cos(tilt), scale * math.sin(tilt)
    from_x, from_y = PATCH_PX / 2, MIDDLE_Y_PX
    matrix = np.array(
        [
            [cos, -sin, centre[0] - cos * from_x + sin * from_y],
            [sin, cos, centre[1] - sin * from_x - cos * from_y],
        ]
    )
    height, width = canvas.shape[:2]
    four = cv2.merge([*cv2.split(patch), (alpha * 255).astype(np.uint8)])
    laid = cv2.warpAffine(four, matrix, (width, height), flags=cv2.INTER_LINEAR)
    blend(canvas, cv2.cvtColor(laid, cv2.COLOR_BGRA2BGR), laid[..., 3])


def blend(canvas: Image, over: Image, share: Image) -> None:
    """Mix `over` into `canvas` in place; `share` is (height, width) uint8, 255 hiding the canvas."""
    x, y, width, height = cv2.boundingRect(share)
    if width == 0:
        return
    rows, columns = slice(y, y + height), slice(x, x + width)
    weight = share[rows, columns].astype(np.float32) * (1 / 255)
    canvas[rows, columns] = cv2.blendLinear(canvas[rows, columns], over[rows, columns], 1 - weight, weight)


def _draw_shoulders(
    canvas: Image, head: Head, centre: tuple[float, float], half_width: float, rng: np.random.Generator
) -> None:
    x, y = centre
    side = canvas.shape[0]
    unit = half_width
    lean = float(rng.normal(0, 0.05))
    outline = [(-0.5, 1.3), (-0.75, 1.62), (-1.5, 1.86), (-2.05, 2.25), (-2.4, 3.4), (-2.5, 7.0)]
    points = [(x + px * unit, y + (py + lean * px) * unit) for px, py in outline]
    points += [(x - px * unit, y + (py - lean * px) * unit) for px, py in reversed(outline)]
    share = np.zeros((side, side), np.uint8)
    cv2.fillPoly(share, [np.array(points, np.float32).round().astype(np.int32)], 255, cv2.LINE_AA)
    cloth = _cloth(side // 2, (x / 2, y / 2), unit / 2, head.light[0], rng)
    blend(canvas, cv2.resize(cloth, (side, side), interpolation=cv2.INTER_LINEAR), share)


def _cloth(
    side: int, centre: tuple[float, float], unit: float, light_x: float, rng: np.random.Generator
) -> Image:
    """Fabric with folds, a pattern or none, and the shadow of its neckline, (side, side, 3)."""
    across = ((np.arange(side, dtype=np.float32) - centre[0]) / unit)[None, :]
    down = ((np.arange(side, dtype=np.float32) - centre[1]) / unit)[:, None]
    folds = clouds(rng, side, side, 0.5)
    hem = 2.12 - 0.9 * across**2
    shade = 0.92 + 0.16 * light_x * across - 0.1 * across**2 + 0.06 * folds
    shade *= 1 - 0.25 * np.exp(-(((down - hem) / 0.06) ** 2)) * (np.abs(across) < 1.1)
    shade = np.clip(shade, 0.25, 1.15)
    base, other = (_CLOTHES[k] for k in rng.integers(0, len(_CLOTHES), 2))
    pattern = rng.random()
    if pattern < 0.18:
        woven = (np.sin((down + 0.06 * folds) * 22) > 0.2).astype(np.float32)
    elif pattern < 0.28:
        woven = 0.5 * ((np.sin(across * 14) > 0) + (np.sin(down * 14) > 0)).astype(np.float32)
    else:
        woven = np.zeros((1, 1), np.float32)
    planes = [
        np.clip((one + woven * (two - one)) * shade, 0, 255) for one, two in zip(base, other, strict=True)
    ]
    cloth: Image = cv2.merge(planes).astype(np.uint8)
    return cloth
