"""Draws the simulated network's photos.

`draw(spec)` gives a JPEG of 640x640 px and 40 to 150 kB, the same bytes for the same spec. Knows
pictures. Knows nothing of accounts, likes or the network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raylike.simulator.drawing import bait, scenes
from raylike.simulator.drawing.finish import finish
from raylike.simulator.drawing.noise import Image
from raylike.simulator.drawing.people import draw_person
from raylike.simulator.drawing.spec import CANVAS_PX, SIDE_PX, Kind, PhotoSpec

__all__ = ["CANVAS_PX", "SIDE_PX", "Kind", "PhotoSpec", "draw"]

_SCENES: dict[Kind, Callable[[PhotoSpec, np.random.Generator], Image]] = {
    Kind.PERSON: draw_person,
    Kind.DOLL: bait.draw_doll,
    Kind.CARTOON: bait.draw_cartoon,
    Kind.FACE_LIKE: bait.draw_face_like,
    Kind.FAINT_FACE: bait.draw_faint_face,
    Kind.PATTERN: bait.draw_pattern,
    Kind.QUOTE: scenes.draw_quote,
    Kind.MEME: scenes.draw_meme,
    Kind.FOOD: scenes.draw_food,
    Kind.LANDSCAPE: scenes.draw_landscape,
    Kind.PET: scenes.draw_pet,
    Kind.OBJECT: scenes.draw_object,
}


def draw(spec: PhotoSpec) -> bytes:
    """The photo that a spec describes, as JPEG. About 10 ms of one core."""
    rng = np.random.default_rng((spec.seed, int(spec.kind)))
    return finish(_SCENES[spec.kind](spec, rng), spec, rng)
