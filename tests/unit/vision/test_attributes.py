"""Attributes of photos whose attributes are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from raylike.vision.attributes import Attributes, has_border, measure

NO_FACE = np.empty((0, 4))


def plain(red: int, green: int, blue: int, side: int = 100) -> NDArray[np.uint8]:
    return np.full((side, side, 3), (red, green, blue), np.uint8)


def noise(side: int = 100, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def look(pixels: NDArray[np.uint8]) -> Attributes:
    return measure(pixels, NO_FACE)


def test_white_is_bright_and_black_is_dark_and_both_are_without_contrast() -> None:
    white, black = look(plain(255, 255, 255)), look(plain(0, 0, 0))
    assert (white.brightness, black.brightness) == (1.0, 0.0)
    assert white.contrast == black.contrast == 0.0


def test_half_black_half_white_has_all_the_contrast_there_is() -> None:
    pixels = plain(0, 0, 0)
    pixels[:50] = 255
    assert look(pixels).contrast == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("colour", "saturation", "greenery", "warmth", "gray"),
    [
        ((255, 0, 0), 1.0, 0.0, 1.0, False),
        ((30, 160, 30), 0.81, 1.0, 0.0, False),
        ((0, 0, 255), 1.0, 0.0, -1.0, False),
        ((128, 128, 128), 0.0, 0.0, 0.0, True),
        ((10, 25, 10), 0.6, 0.0, 0.0, False),  # too dark to be called green
    ],
)
def test_plain_colours(
    colour: tuple[int, int, int], saturation: float, greenery: float, warmth: float, gray: bool
) -> None:
    found = look(plain(*colour))
    assert found.saturation == pytest.approx(saturation, abs=0.01)
    assert found.greenery == greenery
    assert found.warmth == pytest.approx(warmth)
    assert found.black_and_white is gray


def test_half_a_meadow_is_half_green() -> None:
    pixels = plain(200, 200, 220)
    pixels[50:] = (30, 160, 30)
    assert look(pixels).greenery == pytest.approx(0.5)


def test_a_gray_jpeg_stays_without_colour() -> None:
    gray = np.repeat(noise()[:, :, :1], 3, axis=2)
    written = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    again = np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)
    assert look(again).black_and_white
    assert not look(noise()).black_and_white


def test_noise_is_all_detail_and_a_plain_wall_none() -> None:
    assert look(noise()).detail > 0.9
    assert look(plain(90, 90, 90)).detail == 0.0


@pytest.mark.parametrize("sides", ["left and right", "top and bottom", "all"])
def test_a_frame_is_a_border(sides: str) -> None:
    pixels = noise()
    if sides != "top and bottom":
        pixels[:, :6] = pixels[:, -6:] = 255
    if sides != "left and right":
        pixels[:6] = pixels[-6:] = 255
    assert has_border(pixels)


def test_a_plain_sky_a_thin_line_and_a_plain_photo_are_no_border() -> None:
    sky, line = noise(), noise()
    sky[:40] = (120, 160, 250)
    line[:1] = line[-1:] = 255
    assert not has_border(sky)
    assert not has_border(line)
    assert not has_border(plain(255, 255, 255))


def test_the_largest_face_counts() -> None:
    pixels = plain(0, 0, 0, side=200)
    pixels[100:200, 50:150] = 204
    found = measure(pixels, np.array([[10.0, 10.0, 20.0, 20.0], [50.0, 100.0, 100.0, 100.0]]))
    assert found.n_faces == 2
    assert found.face_share == pytest.approx(0.25)
    assert found.face_height == pytest.approx(0.75)
    assert found.face_luminance == pytest.approx(0.8)


def test_without_a_face_its_luminance_is_not_known() -> None:
    found = look(noise())
    assert (found.n_faces, found.face_share) == (0, 0.0)
    assert np.isnan(found.face_luminance)


@settings(deadline=None, max_examples=25)  # a busy machine is no failure
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 99),
    st.lists(st.tuples(*[st.floats(-50, 90)] * 2, *[st.floats(0.5, 90)] * 2), max_size=3),
)  # fmt: skip
def test_whatever_the_photo_and_the_boxes_every_attribute_lies_in_its_range(
    height: int, width: int, seed: int, boxes: list[tuple[float, ...]]
) -> None:
    pixels = noise(side=40, seed=seed)[:height, :width]
    found = measure(pixels, np.array(boxes, np.float64).reshape(-1, 4))
    for name in ("brightness", "saturation", "greenery", "detail", "face_share", "face_height"):
        assert 0 <= getattr(found, name) <= 1, name
    assert 0 <= found.contrast <= 0.5
    assert -1 <= found.warmth <= 1
    assert found.colourfulness >= 0
    assert found.n_faces == len(boxes)
