"""Detector yunet: a small network for faces (Wu, Peng and Yu 2023), through OpenCV, in one look or two.

A first look at a modest size settles most photos: nothing there, or a face beyond doubt. Doubtful photos
get a second look, larger and mirrored, and each face the mean confidence of both. What only resembles a
face rarely does so at both sizes and both ways round, which one look at any size cannot tell.

Knows OpenCV's `FaceDetectorYN` and where its model is published. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import InputDataError
from raylike.vision import weight_files
from raylike.vision.detectors.base import DetectorKind, Face, Model, read_model, resize

YUNET_FILE = weight_files.WeightFile(
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/47534e27c9851bb1128ccc0102f1145e27f23f98"
    "/models/face_detection_yunet/face_detection_yunet_2026may.onnx",
    "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
)
"""OpenCV Zoo's model of May 2026, 230 kB, MIT licence, at a fixed commit."""

SIZE_PX = 480
MIN_CONFIDENCE = 0.72
"""Measured: see docs/photos.md."""
PROPOSED = 0.3
"""Fainter faces are not kept."""
DOUBTFUL = 2 * MIN_CONFIDENCE - 1
"""Where the best face is fainter, no second look could lift the mean of both to the default cut."""
SURE = 0.87
"""A face as confident as this needs no second look: no photo without a face came near it at the first."""
SECOND_LOOK = 4 / 3
"""Size of the second look, in sizes of the first."""
OVERLAP = 0.3
"""Intersection over union from which two boxes are the same face; the model's own suppression uses it too."""
TOP_K = 5000
"""Boxes before suppression; OpenCV's default."""
MIRRORED_POINTS = (1, 0, 2, 4, 3)
"""Landmarks in a mirrored picture: right and left change places."""


class YuNetDetector:
    """Faces with five landmarks and a confidence in [0, 1].

    Parameters
    ----------
    model : an ONNX file of YuNet
    size_px : longest side of the first look; smaller pictures are enlarged, so that a face that fills
        the same part of its photo is judged alike
    second_look : whether doubtful photos are looked at again

    Raises
    ------
    InputDataError : if the file holds no such network
    """

    colour = True

    def __init__(self, model: Model, size_px: int, second_look: bool) -> None:
        sizes = (size_px, round(size_px * SECOND_LOOK)) if second_look else (size_px,)
        self.at_least_px = max(sizes)
        # A network each: one that changes between sizes allocates all its layers anew each time.
        self._looks = [(size, _network(model)) for size in sizes]

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        """All faces in an RGB picture of shape (height, width, 3), best confidence first."""
        found = self._look(pixels, 0)
        best = max((face.confidence for face in found), default=0.0)
        if DOUBTFUL <= best < SURE and len(self._looks) > 1:
            width = pixels.shape[1]
            mirrored = self._look(np.ascontiguousarray(pixels[:, ::-1]), 1)
            found = agree(found, [mirror(face, width) for face in mirrored])
        return sorted(found, key=lambda face: (-face.confidence, face.x, face.y))

    def _look(self, pixels: NDArray[np.uint8], which: int) -> list[Face]:
        size_px, network = self._looks[which]
        picture, scale = resize(pixels, size_px)
        height, width = picture.shape[:2]
        network.setInputSize((width, height))
        _, rows = network.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [_face(row).scaled(scale) for row in rows.astype(float).tolist()]


def _network(model: Model) -> cv2.FaceDetectorYN:
    buffer = np.frombuffer(model.data, np.uint8)
    try:
        network = cv2.FaceDetectorYN.create(
            "onnx", buffer, np.empty(0, np.uint8), (32, 32), PROPOSED, OVERLAP, TOP_K
        )
        network.detect(np.zeros((32, 32, 3), np.uint8))
    except cv2.error as error:
        raise InputDataError(
            "is no YuNet model that OpenCV can run",
            model.source,
            "take face_detection_yunet_*.onnx from the OpenCV Zoo",
        ) from error
    return network


def agree(first: Sequence[Face], second: Sequence[Face]) -> list[Face]:
    """Faces of two looks at one picture, each with its mean confidence; one seen once has half of its own."""
    merged = [replace(face, confidence=(face.confidence + _best_match(face, second)) / 2) for face in first]
    alone = [face for face in second if not any(overlap(face, other) >= OVERLAP for other in first)]
    return merged + [replace(face, confidence=face.confidence / 2) for face in alone]


def mirror(face: Face, width: float) -> Face:
    """The same face in the picture flipped left to right; `width` is the picture's, in px."""
    points = tuple((width - face.landmarks[i][0], face.landmarks[i][1]) for i in MIRRORED_POINTS)
    return replace(face, x=width - face.x - face.width, landmarks=points)


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (a.width * a.height + b.width * b.height - both)


def _best_match(face: Face, others: Sequence[Face]) -> float:
    """The highest confidence among the boxes of the same face; 0 without one."""
    return max((other.confidence for other in others if overlap(face, other) >= OVERLAP), default=0.0)


def _face(row: list[float]) -> Face:
    """A row of `FaceDetectorYN`: x, y, width, height, five points (x, y), confidence."""
    points = tuple(zip(row[4:14:2], row[5:14:2], strict=True))
    return Face(row[0], row[1], row[2], row[3], min(1.0, max(0.0, row[14])), points)


def load(settings: FacesSettings) -> Model:
    """Read or fetch the model, and refuse a file that is none."""
    model = read_model(settings, YUNET_FILE)
    create(settings, model)
    return model


def create(settings: FacesSettings, model: Model | None) -> YuNetDetector:
    """The detector that the settings describe."""
    assert model is not None
    return YuNetDetector(model, settings.size_px or SIZE_PX, settings.second_look)


KIND = DetectorKind("yunet", MIN_CONFIDENCE, create, load)
