"""What a face detector is: a kind with a name and a cut of its own, and a worker that looks at photos.

Knows settings and the files of models. Knows nothing of any one detector, of Ray or of tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import ConfigError, ServiceUnavailable
from raylike.vision import weight_files

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One proposed face (or person, where the detector looks for whole people).

    Attributes
    ----------
    x, y, width, height : box in px of the picture that was handed over
    confidence : the detector's own scale; more is surer
    landmarks : right eye, left eye, tip of the nose, right and left corner of the mouth, in px; the right
        eye is the person's own. Empty where the detector gives none.
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float
    landmarks: tuple[Point, ...] = ()

    def scaled(self, factor: float) -> Face:
        """The same face in px of a picture that is `factor` times as large."""
        return Face(
            self.x * factor,
            self.y * factor,
            self.width * factor,
            self.height * factor,
            self.confidence,
            tuple((x * factor, y * factor) for x, y in self.landmarks),
        )


@dataclass(frozen=True)
class Model:
    """The file that a detector was trained into; small enough to travel to every worker.

    Two are equal if their hashes are. `source` is the path or the address that it came from.
    """

    sha256: str
    data: bytes = field(compare=False, repr=False)
    source: str = field(default="", compare=False)


class FaceDetector(Protocol):
    """Finds faces in one picture. Built once a process, called once a photo."""

    colour: bool
    """Whether it wants RGB of shape (height, width, 3) rather than gray of shape (height, width)."""
    at_least_px: int
    """Longest side below which it would see less; larger pictures it shrinks itself."""

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        """All faces it can see, best confidence first, in px of `pixels`."""


def no_model(settings: FacesSettings) -> Model | None:
    """For detectors that need no file of their own; refuses one that was named in vain."""
    if settings.model_path is not None:
        raise ConfigError(
            f"detector {settings.detector} takes no model file",
            "faces.model_path",
            "choose the detector that it is for, such as --detector yunet",
        )
    return None


@dataclass(frozen=True)
class DetectorKind:
    """A detector before it is built.

    Attributes
    ----------
    name : what `faces.detector` calls it
    min_confidence : its default cut, where `faces.min_confidence` is empty
    create : builds it in a worker, from settings and from what `load` returned
    load : reads or fetches its model, in the driver; None where it needs none
    """

    name: str
    min_confidence: float
    create: Callable[[FacesSettings, Model | None], FaceDetector]
    load: Callable[[FacesSettings], Model | None] = no_model


def read_model(settings: FacesSettings, published: weight_files.WeightFile) -> Model:
    """The model file that the settings name, whatever its hash, or else the published one with its hash.

    Raises
    ------
    ConfigError : if the named file cannot be read
    ServiceUnavailable : if the published one is neither cached nor to be had
    """
    path = settings.model_path
    if path is not None:
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ConfigError(
                f"the model cannot be read: {error.strerror}", str(path), "check --model or faces.model_path"
            ) from None
        return Model(hashlib.sha256(data).hexdigest(), data, str(path))
    try:
        data = weight_files.fetch(published).read_bytes()
    except OSError as error:
        raise ServiceUnavailable(
            f"the model of detector {settings.detector} cannot be had: {error.strerror or error}",
            published.url,
            f"name the file with --model or put it into {weight_files.folder()}, or choose --detector haar",
        ) from error
    return Model(hashlib.sha256(data).hexdigest(), data, published.url)


def resize(pixels: NDArray[np.uint8], longest_px: int) -> tuple[NDArray[np.uint8], float]:
    """The picture with its longer side at `longest_px`, enlarged if need be, and old px for one new px."""
    height, width = pixels.shape[:2]
    factor = longest_px / max(height, width)
    if factor == 1:
        return pixels, 1.0
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8), 1 / factor
