"""Photos' bytes become scores, with faces, what made the score, and the best crop.

A photo that cannot be scored is a result with a reason. Knows a `Model`, a face detector and pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import RaylikeError
from raylike.scoring.influence import explained
from raylike.scoring.models import Model
from raylike.scoring.neighbours import Neighbours
from raylike.scoring.results import OK, USUAL, Box, Crop, FoundFace, PhotoScore, Wanted
from raylike.scoring.windows import SIDES, windows
from raylike.vision import crops, decode, detectors, occlusion
from raylike.vision.inspection import Limits, inspect
from raylike.vision.sniff import sniff


@dataclass(frozen=True)
class Unread:
    """A photo whose bytes could not be had: why, as in `raylike.causes`."""

    status: str
    error: str


class FaceFinder:
    """A detector with the cut below which what it proposes is no face."""

    def __init__(self, settings: FacesSettings) -> None:
        kind = detectors.kind(settings.detector)
        self._detector = kind.create(settings, kind.load(settings))
        self._min_confidence = detectors.min_confidence(settings)

    def find(self, data: bytes) -> tuple[FoundFace, ...]:
        """The faces in a photo, surest first."""
        detector = self._detector
        picture = decode.decode(data, at_least_px=detector.at_least_px, colour=detector.colour)
        if picture is None:
            return ()
        return tuple(
            FoundFace(
                Box(round(face.x), round(face.y), round(face.width), round(face.height)), face.confidence
            )
            for face in (found.scaled(picture.scale) for found in detector.detect(picture.pixels))
            if face.confidence >= self._min_confidence
        )


def face_finder(settings: FacesSettings) -> tuple[FaceFinder | None, str]:
    """The detector that the settings name; or none, and why, where it cannot be had."""
    try:
        return FaceFinder(settings), ""
    except RaylikeError as error:
        return None, f"no faces are looked for: {error.what}"


class Scorer:
    """Scores photos by one model.

    Parameters
    ----------
    faces : None: faces are neither looked for nor kept in crops
    limits : what is accepted as a photo
    neighbours : None: nobody is alike
    """

    def __init__(
        self, model: Model, faces: FaceFinder | None, limits: Limits, neighbours: Neighbours | None = None
    ) -> None:
        self.model = model
        self.limits = limits
        self._faces = faces
        self._neighbours = neighbours

    def score(self, photos: Sequence[tuple[str, bytes | Unread]], wanted: Wanted = USUAL) -> list[PhotoScore]:
        """One result for each photo, in their order; they go through the network together."""
        found = [self._looked_at(name, data) for name, data in photos]
        squares = [square for _, square in found if square is not None]
        if not squares:
            return [result for result, _ in found]
        features = self.model.features(np.stack(squares))
        seen = zip(self.model.of_features(features).tolist(), features[0], strict=True)
        results = []
        for (result, square), (_, data) in zip(found, photos, strict=True):
            if square is None or isinstance(data, Unread):
                results.append(result)
                continue
            score, row = next(seen)
            detailed = self._detailed(self._valued(result, score), data, square, wanted)
            near = self._neighbours.of(row) if wanted.neighbours and self._neighbours is not None else None
            results.append(replace(detailed, neighbours=near))
        return results

    def _looked_at(self, name: str, data: bytes | Unread) -> tuple[PhotoScore, NDArray[np.uint8] | None]:
        """What is known before any network has seen the photo, and what it will see."""
        if isinstance(data, Unread):
            return PhotoScore(name, data.status, data.error), None
        findings = inspect(data, self.limits)
        if findings.status != OK:
            return PhotoScore(name, findings.status, findings.error), None
        framing = self.model.framing
        square = crops.preprocess(data, framing.square_px, framing.input_px)
        if square is None:
            return PhotoScore(name, "corrupt", "the file cannot be decoded"), None
        width, height = upright_size(data)
        seen = seen_of(Box(0, 0, width, height), framing.input_px / framing.square_px)
        faces = None if self._faces is None else self._faces.find(data)
        return PhotoScore(name, OK, None, width, height, seen, faces=faces), square

    def _valued(self, result: PhotoScore, score: float) -> PhotoScore:
        return replace(
            result,
            score=score,
            percentile=float(self.model.standard.percentile(np.array(score))),
            probability=float(self.model.standard.probability(np.array(score))),
        )

    def _detailed(
        self, result: PhotoScore, data: bytes, square: NDArray[np.uint8], wanted: Wanted
    ) -> PhotoScore:
        if wanted.explanation and result.seen is not None:
            heat = self._heat(square)
            result = replace(result, explanation=explained(heat, result.seen, result.faces or ()))
        return replace(result, crop=self._best_crop(result, data)) if wanted.crop else result

    def _heat(self, square: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Percentile points lost where each patch is covered."""
        steps = occlusion.STEPS
        scores = self.model.score(np.concatenate([square[None], occlusion.covered(square)]))
        percentiles = self.model.standard.percentile(scores)
        return np.reshape(percentiles[0] - percentiles[1:], (steps, steps))

    def _best_crop(self, result: PhotoScore, data: bytes) -> Crop | None:
        framing = self.model.framing
        smallest = min(SIDES) * min(result.width, result.height)
        longest = max(result.width, result.height)
        picture = decode.decode(data, at_least_px=math.ceil(framing.square_px * longest / max(1, smallest)))
        if picture is None:
            return None
        faces = [face.box for face in result.faces or ()]
        tried = windows(result.width, result.height, faces, self.limits.min_side_px)
        pictures = [
            crops.framed(cut(picture, window), framing.square_px, framing.input_px) for window in tried
        ]
        percentiles = self.model.standard.percentile(scores := self.model.score(np.stack(pictures)))
        best = int(np.argmax(scores))
        return Crop(tried[best], float(percentiles[best]))


def cut(picture: decode.Picture, window: Box) -> NDArray[np.uint8]:
    """A square part, named in px of the full photo, of a picture that may be smaller."""
    height, width = picture.pixels.shape[:2]
    side = max(1, min(round(window.width / picture.scale), width, height))
    left = min(round(window.x / picture.scale), width - side)
    top = min(round(window.y / picture.scale), height - side)
    return picture.pixels[top : top + side, left : left + side]


def seen_of(photo: Box, share: float) -> Box:
    """The central `share` of a photo's central square."""
    side = round(min(photo.width, photo.height) * share)
    return Box((photo.width - side) // 2, (photo.height - side) // 2, side, side)


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height of a photo that can be decoded, px, when its EXIF rotation is applied."""
    picture = decode.decode(data, at_least_px=1, colour=False)
    header = sniff(data)
    assert picture is not None
    assert header is not None
    height, width = picture.pixels.shape
    turned = (header.width > header.height) != (width > height) and header.width != header.height
    return (header.height, header.width) if turned else (header.width, header.height)
