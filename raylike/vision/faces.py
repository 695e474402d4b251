"""Face detectors: a photo in, boxes with confidences out.

Knows OpenCV. Knows nothing of Ray, tables, or of which faces are good enough: that is a cut, made
afterwards (`learning/face_cut.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import ConfigError

HAAR_CASCADE = "haarcascade_frontalface_default.xml"
HAAR_MIN_NEIGHBOURS = 1
"""Overlapping hits that make a face. OpenCV's default of 3 drops doubtful faces here and now; the cut on
confidence does that later, and can be moved."""


@dataclass(frozen=True)
class Face:
    """One proposed face.

    Attributes
    ----------
    x, y, width, height : box in px of the picture that was looked at
    confidence : the detector's own scale; more is surer
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float


class FaceDetector(Protocol):
    """Finds faces in one picture. Built once per process, called once per photo."""

    name: str
    colour: bool
    """Whether it wants RGB of shape (height, width, 3) rather than gray of shape (height, width)."""

    def detect(self, image: NDArray[np.uint8]) -> Sequence[Face]:
        """All faces it can see, best confidence first."""


class HaarDetector:
    """OpenCV's frontal-face cascade (Viola and Jones 2001), as the study used it.

    The confidence is the weight of the cascade's last stage that the box passed, as
    `detectMultiScale3` reports it: roughly 0 to 10, without a fixed scale.
    """

    name = "haar"
    colour = False

    def __init__(self, scale_factor: float, min_face_px: int) -> None:
        path = Path(cv2.__file__).parent / "data" / HAAR_CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ConfigError(
                "OpenCV's face cascade is missing", str(path), "reinstall opencv-python-headless<5"
            )
        self._scale_factor = scale_factor
        self._min_size = (min_face_px, min_face_px)

    def detect(self, image: NDArray[np.uint8]) -> Sequence[Face]:
        """All faces in a gray picture of shape (height, width), best confidence first."""
        boxes, _, weights = self._cascade.detectMultiScale3(
            image,
            scaleFactor=self._scale_factor,
            minNeighbors=HAAR_MIN_NEIGHBOURS,
            minSize=self._min_size,
            outputRejectLevels=True,
        )
        found = [
            Face(float(x), float(y), float(width), float(height), float(weight))
            for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True)
        ]
        return sorted(found, key=lambda face: (-face.confidence, face.x, face.y))


def create(settings: FacesSettings) -> FaceDetector:
    """The detector that the settings name."""
    return HaarDetector(settings.scale_factor, settings.min_face_px)
