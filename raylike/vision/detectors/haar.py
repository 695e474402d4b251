"""Detector haar: OpenCV's frontal-face cascade, as the study used it. Needs no model file.

Knows OpenCV's cascades. Knows nothing of which faces are good enough: that is a cut, made afterwards
(`learning/face_cut.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import ConfigError
from raylike.vision.decode import Picture, fit
from raylike.vision.detectors.base import DetectorKind, Face, Model

FRONTAL = "haarcascade_frontalface_default.xml"
PROFILE = "haarcascade_profileface.xml"
"""Trained on faces that look to the left; the mirrored picture is searched for the others."""
SIZE_PX = 320
MIN_CONFIDENCE = 5.0
MIN_NEIGHBOURS = 1
"""Overlapping hits that make a face. OpenCV's default of 3 drops doubtful faces here and now; the cut on
confidence does that later, and can be moved."""


class HaarDetector:
    """A boosted cascade (Viola and Jones 2001).

    The confidence is the weight of the cascade's last stage that the box passed, as
    `detectMultiScale3` reports it: roughly 0 to 10, without a fixed scale.

    Parameters
    ----------
    size_px : longest side of what it looks at; smaller pictures are not enlarged
    scale_factor : step of the image pyramid
    min_face_px : smallest face, in px of that
    profile : also look for faces from the side, at three times the cost
    """

    colour = False

    def __init__(self, size_px: int, scale_factor: float, min_face_px: int, profile: bool = False) -> None:
        self.at_least_px = size_px
        self._frontal = _cascade(FRONTAL)
        self._profile = _cascade(PROFILE) if profile else None
        self._scale_factor = scale_factor
        self._min_size = (min_face_px, min_face_px)

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        """All faces in a gray picture of shape (height, width), best confidence first."""
        picture = fit(Picture(pixels), self.at_least_px)
        found = self._search(self._frontal, picture.pixels)
        if self._profile is not None:
            width = picture.pixels.shape[1]
            found += self._search(self._profile, picture.pixels)
            mirrored = self._search(self._profile, np.ascontiguousarray(picture.pixels[:, ::-1]))
            found += [Face(width - f.x - f.width, f.y, f.width, f.height, f.confidence) for f in mirrored]
        found.sort(key=lambda face: (-face.confidence, face.x, face.y))
        return [face.scaled(picture.scale) for face in found]

    def _search(self, cascade: cv2.CascadeClassifier, pixels: NDArray[np.uint8]) -> list[Face]:
        boxes, _, weights = cascade.detectMultiScale3(
            pixels,
            scaleFactor=self._scale_factor,
            minNeighbors=MIN_NEIGHBOURS,
            minSize=self._min_size,
            outputRejectLevels=True,
        )
        return [
            Face(float(x), float(y), float(width), float(height), float(weight))
            for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True)
        ]


def _cascade(name: str) -> cv2.CascadeClassifier:
    path = Path(cv2.__file__).parent / "data" / name
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise ConfigError("OpenCV's face cascade is missing", str(path), "reinstall opencv-python-headless<5")
    return cascade


def create(settings: FacesSettings, model: Model | None) -> HaarDetector:
    """The detector that the settings describe."""
    return HaarDetector(
        settings.size_px or SIZE_PX, settings.scale_factor, settings.min_face_px, settings.profile
    )


KIND = DetectorKind("haar", MIN_CONFIDENCE, create)
