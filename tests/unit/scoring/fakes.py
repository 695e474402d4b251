"""A model without a network: the greener a picture, the higher its score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raylike.learning.calibration import Platt
from raylike.scoring.models import Model, Standard
from raylike.scoring.results import FoundFace
from raylike.scoring.scorer import FaceFinder, Scorer
from raylike.vision.backbones import Framing
from raylike.vision.inspection import Limits
from tests.pictures import encode

LIMITS = Limits(50_000_000, 64)
HELD_OUT = np.linspace(0, 1, 101)


def greenness(pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Activations (1, n, 1): the mean of green, 0 to 1."""
    return (pictures_NHWC[..., 1].mean(axis=(1, 2)) / 255).astype(np.float32)[None, :, None]


def green_model(*notes: str) -> Model:
    return Model(
        name="LinearSVC on greenness",
        design="ratio_median",
        framing=Framing(),
        standard=Standard(Platt(1.0, 0.0, 0.5, 0.25), HELD_OUT, 40),
        features=greenness,
        of_features=lambda features: features[0, :, 0].astype(np.float64),
        notes=notes,
    )


class Sees(FaceFinder):
    """Finds the same faces in every photo."""

    def __init__(self, *faces: FoundFace) -> None:
        self._faces = faces

    def find(self, data: bytes) -> tuple[FoundFace, ...]:
        return self._faces


def green_scorer(*faces: FoundFace) -> Scorer:
    return Scorer(green_model(), Sees(*faces), LIMITS)


def patched(width: int, height: int, x: int, y: int, side: int) -> bytes:
    """A black PNG with a green square."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + side, x : x + side, 1] = 255
    return encode(pixels, "PNG")
