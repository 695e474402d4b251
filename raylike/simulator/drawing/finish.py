"""From a drawn canvas to the bytes of a photo: colours, filter, caption, border, grain, JPEG."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from raylike.simulator.drawing.noise import Image, add_grain
from raylike.simulator.drawing.spec import SIDE_PX, PhotoSpec

_CAPTIONS = ("good vibes", "me, today", "weekend!", "hello sunday", "mood", "no filter", "summer '15",
             "throwback", "monday again", "feeling lucky", "be kind", "just me", "home sweet home",
             "so happy", "goals")  # fmt: skip
_FONTS = (
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_LUMA = np.array([[0.114, 0.587, 0.299]])
_TINTS = ((1.0, 1.0, 1.0), (0.93, 1.0, 1.05), (1.07, 1.0, 0.95), (0.97, 1.02, 1.03), (1.04, 0.99, 1.02))


def finish(canvas: Image, spec: PhotoSpec, rng: np.random.Generator) -> bytes:
    """Apply a spec's looks to a canvas, enlarge it to SIDE_PX and encode it.

    Grain and quality vary as cameras' do and give 40 to 150 kB.
    """
    coloured = _colour(canvas, spec, rng)
    photo: Image = cv2.resize(coloured, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    photo = add_grain(photo, rng, float(rng.uniform(4.0, 8.5)), float(rng.choice((0.6, 0.8, 1.0))))
    if spec.monochrome:
        photo = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if spec.text:
        write(
            photo,
            str(rng.choice(_CAPTIONS)),
            y=int(SIDE_PX * rng.uniform(0.86, 0.94)),
            font=int(rng.choice(_FONTS)),
        )
    if spec.border:
        _frame(photo, rng)
    return encode(photo, quality=int(rng.integers(82, 92)))


def encode(photo: Image, quality: int) -> bytes:
    """A picture as JPEG."""
    return bytes(cv2.imencode(".jpg", photo, (cv2.IMWRITE_JPEG_QUALITY, quality))[1])


def write(
    photo: Image,
    text: str,
    *,
    y: int,
    font: int,
    width_px: int = 520,
    colour: tuple[int, int, int] = (255, 255, 255),
) -> None:
    """Write a line of text, centred at height `y`, with a dark edge, in place."""
    (width, _), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(width_px / width, 2.0)
    x = int((photo.shape[1] - width * scale) / 2)
    thick = max(round(2.4 * scale), 2)
    edge = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    cv2.putText(photo, text, (x, y), font, scale, edge, thick + 4, cv2.LINE_AA)
    cv2.putText(photo, text, (x, y), font, scale, colour, thick, cv2.LINE_AA)


def _colour(canvas: Image, spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """Filter tint, saturation, brightness and vignette: one matrix, and one mask."""
    keep = 0.3 + 1.4 * spec.saturation
    tint = np.array(_TINTS[rng.integers(len(_TINTS))]) * (0.62 + 0.76 * spec.brightness)
    matrix = (keep * np.eye(3) + (1 - keep) * _LUMA) * tint[:, None]
    image: Image = cv2.transform(canvas, matrix)
    if rng.random() < 0.4:
        image = cv2.multiply(image, _vignette(image.shape[0]), scale=1 / 255)
    return image


@cache
def _vignette(side: int) -> Image:
    line = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    mask = (255 * (1 - 0.22 * (line[:, None] + line[None, :]))).astype(np.uint8)
    return cv2.merge([mask, mask, mask])


def _frame(photo: Image, rng: np.random.Generator) -> None:
    width = int(rng.integers(24, 52))
    tone = 250 if rng.random() < 0.75 else 12
    colour = (tone, tone, tone)
    photo[:width] = photo[-width:] = colour
    photo[:, :width] = photo[:, -width:] = colour
