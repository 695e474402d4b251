"""The Haar detector, on a portrait that scikit-image ships and on pictures without a face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from raylike.config import FacesSettings
from raylike.vision.faces import create

skimage_data = pytest.importorskip("skimage.data")


def gray(rgb: np.ndarray) -> np.ndarray:
    return cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (320, 320), interpolation=cv2.INTER_AREA)


def test_it_finds_the_astronaut_where_she_is() -> None:
    faces = create(FacesSettings()).detect(gray(skimage_data.astronaut()))
    best = faces[0]
    assert 110 < best.x + best.width / 2 < 170
    assert 40 < best.y + best.height / 2 < 100
    assert best.confidence > 2


def test_best_confidence_comes_first() -> None:
    faces = create(FacesSettings(min_face_px=20, scale_factor=1.05)).detect(gray(skimage_data.astronaut()))
    confidences = [face.confidence for face in faces]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize("picture", [np.zeros((320, 320)), np.full((320, 320), 128)])
def test_an_even_surface_has_no_face(picture: np.ndarray) -> None:
    assert not create(FacesSettings()).detect(picture.astype(np.uint8))
