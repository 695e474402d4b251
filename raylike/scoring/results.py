"""What is found out about a photo, as values and as JSON.

Boxes are in px of the upright photo, at its full size. Knows nothing of how anything is found out.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

OK = "ok"


@dataclass(frozen=True)
class Wanted:
    """What is found out beside the score and the faces.

    Explanation and crop cost some dozens of passes a photo each; neighbours cost one look at the features of
    all labelled photos.
    """

    explanation: bool = True
    crop: bool = True
    neighbours: bool = False

    def __bool__(self) -> bool:
        return self.explanation or self.crop or self.neighbours


USUAL, PLAIN = Wanted(), Wanted(explanation=False, crop=False)


@dataclass(frozen=True)
class Box:
    """A part of a photo: left upper corner, width and height, px."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class FoundFace:
    """A face above the detector's cut, with the detector's own confidence."""

    box: Box
    confidence: float


@dataclass(frozen=True)
class Influence:
    """A part of the photo and what it does.

    Attributes
    ----------
    where : in words, such as `a face` or `top left`
    points : percentile points that the photo would lose were this part covered; below 0: would gain
    """

    where: str
    box: Box
    points: float


@dataclass(frozen=True)
class Explanation:
    """What raised and what lowered the score, strongest first.

    Attributes
    ----------
    heat : for each place of the patch, row by row, percentile points as in `Influence`, (steps, steps)
    """

    raised: tuple[Influence, ...]
    lowered: tuple[Influence, ...]
    heat: NDArray[np.float64] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Crop:
    """The part of the photo that would score best alone, and its percentile."""

    box: Box
    percentile: float


@dataclass(frozen=True)
class Neighbour:
    """A labelled photo of the workspace that the network sees as alike.

    Attributes
    ----------
    post_id : empty where nobody is to be recognised
    likeness : cosine of the two photos' features on their principal axes, -1 to 1
    good : whether it was called good
    thumbnail : a JPEG, faces hidden where nobody is to be recognised; None where the photo cannot be read
    """

    post_id: str
    likeness: float
    good: bool
    thumbnail: bytes | None = field(repr=False)


@dataclass(frozen=True)
class PhotoScore:
    """One photo.

    Attributes
    ----------
    photo : its name, path or address, as it was given
    status : ok, or one of `raylike.causes`
    error : what is wrong, in words; None if ok
    width, height : px, upright; 0 where the file is no photo
    seen : what the network sees of it; None unless ok, as are the next three
    score : the model's own number
    percentile : 0 to 100: the share of held-out photos that it is better than
    probability : of being called good, 0 to 1
    faces : those above the cut; None where no detector could be had
    explanation, crop, neighbours : None where they were not asked for, or cannot be had
    """

    photo: str
    status: str
    error: str | None = None
    width: int = 0
    height: int = 0
    seen: Box | None = None
    score: float | None = None
    percentile: float | None = None
    probability: float | None = None
    faces: tuple[FoundFace, ...] | None = None
    explanation: Explanation | None = None
    crop: Crop | None = None
    neighbours: tuple[Neighbour, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """The same for programs: what is not known is left out."""
        told: dict[str, Any] = {"photo": self.photo, "status": self.status}
        if self.status != OK:
            return {**told, "error": self.error}
        told |= {
            "percentile": _rounded(self.percentile, 1),
            "probability": _rounded(self.probability, 4),
            "score": self.score,
            "width": self.width,
            "height": self.height,
            "seen": None if self.seen is None else asdict(self.seen),
        }
        if self.faces is not None:
            told["faces"] = [
                {**asdict(face.box), "confidence": round(face.confidence, 4)} for face in self.faces
            ]
        if self.explanation is not None:
            told["raised"] = [_told(part) for part in self.explanation.raised]
            told["lowered"] = [_told(part) for part in self.explanation.lowered]
            told["heat"] = self.explanation.heat.round(2).tolist()
        if self.crop is not None:
            told["best_crop"] = {**asdict(self.crop.box), "percentile": round(self.crop.percentile, 1)}
        if self.neighbours is not None:
            told["neighbours"] = [_of_neighbour(neighbour) for neighbour in self.neighbours]
        return told


def _of_neighbour(neighbour: Neighbour) -> dict[str, Any]:
    told = {"likeness": round(neighbour.likeness, 3), "good": neighbour.good}
    named = {"post_id": neighbour.post_id} if neighbour.post_id else {}
    picture = neighbour.thumbnail and base64.b64encode(neighbour.thumbnail).decode()
    return {**named, **told, "thumbnail": picture}


def _told(part: Influence) -> dict[str, Any]:
    return {"where": part.where, "points": round(part.points, 1), **asdict(part.box)}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
