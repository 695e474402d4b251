"""What is drawn on a photo: colour where the score came from, frames, nothing elsewhere."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from raylike.scoring import picture
from raylike.scoring.results import Box, Crop, FoundFace
from tests.unit.scoring.fakes import green_scorer, patched


def pixels_of(png: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_influence_is_spread_over_the_pixels_of_its_patches() -> None:
    heat = np.zeros((6, 6))
    heat[0, 0] = 4.0
    spread = picture.smoothed(heat, 70)
    assert spread[0, 0] == spread.max() == 4.0
    assert spread[40:, 40:].max() == 0


def test_the_photo_is_painted_where_the_score_came_from() -> None:
    file = patched(256, 256, 30, 30, 60)
    (result,) = green_scorer().score([("x", file)])
    drawn = pixels_of(picture.drawn(file, replace(result, crop=None)))
    assert drawn[60, 60, 0] > 100  # orange over green
    assert drawn[2, 2].tolist() == [0, 0, 0]


def test_faces_and_crop_are_framed_on_a_picture_that_was_shrunk() -> None:
    file = patched(2048, 2048, 0, 0, 10)
    (result,) = green_scorer(FoundFace(Box(400, 400, 200, 200), 9.0)).score([("x", file)])
    result = replace(result, explanation=None, crop=Crop(Box(1000, 1000, 800, 800), 50.0))
    drawn = pixels_of(picture.drawn(file, result))
    assert drawn.shape == (1024, 1024, 3)
    assert drawn[200, 250].tolist() == list(picture.FACE)
    assert drawn[500, 600].tolist() == list(picture.CROP)
