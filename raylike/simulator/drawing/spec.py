"""What a photo shows, in a few numbers: all that drawing needs to know.

Knows kinds and attributes. Knows nothing of accounts, likes or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

SIDE_PX = 640
"""Side of a finished photo, as Instagram's `standard_resolution` was in 2015."""

CANVAS_PX = 320
"""Side of the canvas that scenes are drawn on before they are enlarged and get their grain."""


class Kind(IntEnum):
    """What a photo shows. Kept small: worlds store it as one byte a post."""

    PERSON = 0
    DOLL = 1
    CARTOON = 2
    FACE_LIKE = 3
    FAINT_FACE = 4
    PATTERN = 5
    QUOTE = 6
    MEME = 7
    FOOD = 8
    LANDSCAPE = 9
    PET = 10
    OBJECT = 11

    @property
    def is_bait(self) -> bool:
        """Whether a face detector is likely to propose a face here, and to be wrong."""
        return Kind.DOLL <= self <= Kind.PATTERN


@dataclass(frozen=True)
class PhotoSpec:
    """One photo. The same spec gives the same bytes.

    `greenery`, `saturation`, `closeness` (how much of the frame the face or subject fills) and
    `brightness` lie in [0, 1], 0.5 being ordinary.
    """

    kind: Kind
    seed: int
    greenery: float = 0.3
    saturation: float = 0.5
    closeness: float = 0.5
    brightness: float = 0.5
    text: bool = False
    border: bool = False
    monochrome: bool = False
