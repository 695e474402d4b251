"""Face detectors by name: those of raylike, and those that other packages bring.

A package brings one by an entry point of the group `raylike.face_detectors`, whose name is the
detector's and whose object is a `DetectorKind`.

Knows names. Imports a detector when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points

from raylike.config import DETECTOR_GROUP, DETECTORS, FacesSettings
from raylike.errors import ConfigError
from raylike.vision.detectors.base import DetectorKind, Face, FaceDetector, Model

__all__ = ["DetectorKind", "Face", "FaceDetector", "Model", "built", "kind", "min_confidence"]


def kind(name: str) -> DetectorKind:
    """The detector called `name`.

    Raises
    ------
    ConfigError : if there is none, or what a package brings under this name is none
    """
    if name in DETECTORS:
        found = importlib.import_module(f"raylike.vision.detectors.{name}").KIND
    else:
        (entry,) = entry_points(group=DETECTOR_GROUP, name=name) or (None,)
        if entry is None:
            raise ConfigError(f"there is no face detector {name!r}", "faces.detector", "install its package")
        try:
            found = entry.load()
        except Exception as error:
            raise ConfigError(
                f"cannot be imported: {error}",
                f"{DETECTOR_GROUP} {entry.value}",
                "mend or remove its package",
            ) from error
    if not isinstance(found, DetectorKind):
        raise ConfigError("is no DetectorKind", f"{DETECTOR_GROUP} {name}", "see docs/photos.md")
    return found


def min_confidence(settings: FacesSettings) -> float:
    """The cut that applies: the one chosen, or else the detector's own."""
    if settings.min_confidence is not None:
        return settings.min_confidence
    return kind(settings.detector).min_confidence


@functools.lru_cache(maxsize=1)
def built(settings: FacesSettings, model: Model | None) -> FaceDetector:
    """The detector, built once a process."""
    return kind(settings.detector).create(settings, model)
