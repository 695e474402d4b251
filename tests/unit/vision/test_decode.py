"""Every encoding gives the same upright picture; hostile files give none."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from raylike.vision.decode import Picture, decode, fit
from raylike.vision.sniff import MAX_SCANS
from tests.pictures import encode, many_scans, photo, png_bomb, scene


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of pixels, after shrinking the larger to the smaller."""
    size = (one.shape[1], one.shape[0])
    return float(np.abs(one.astype(int) - cv2.resize(other, size, interpolation=cv2.INTER_AREA)).mean())


@pytest.mark.parametrize(
    "data",
    [
        encode(scene()),
        encode(scene(), progressive=True),
        encode(scene(), mode="CMYK"),
        encode(scene(), "PNG"),
        encode(scene(), "PNG", mode="RGBA"),
        encode(scene(), "WEBP", quality=95),
        encode(scene(), "WEBP", lossless=True),
    ],
    ids=["jpeg", "progressive", "cmyk", "png", "rgba", "webp", "lossless webp"],
)
def test_encodings_agree(data: bytes) -> None:
    picture = decode(data)
    assert picture is not None
    assert picture.pixels.shape == (200, 320, 3)
    assert picture.pixels.dtype == np.uint8
    assert difference(picture.pixels, scene()) < 3
    gray = decode(data, colour=False)
    assert gray is not None
    assert difference(gray.pixels, cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY)) < 3


@pytest.mark.parametrize("gray", [False, True])
def test_sixteen_bits_become_eight(gray: bool) -> None:
    pixels = cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY) if gray else scene()[:, :, ::-1]
    written, file = cv2.imencode(".png", pixels.astype(np.uint16) * 257)
    assert written
    picture = decode(file.tobytes())
    assert picture is not None
    expected = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if gray else scene()
    assert difference(picture.pixels, expected) < 1


def test_transparent_parts_are_white() -> None:
    hidden = np.zeros((80, 100, 4), np.uint8)
    hidden[:, 50:] = (255, 0, 0, 255)
    for data in (encode(hidden, "PNG"), encode(hidden, "WEBP", lossless=True)):
        picture = decode(data)
        assert picture is not None
        assert tuple(picture.pixels[40, 10]) == (255, 255, 255)
        assert tuple(picture.pixels[40, 90]) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("at_least_px", [None, 160, 40])
def test_exif_rotation_is_applied_at_every_size(orientation: int, at_least_px: int | None) -> None:
    data = encode(scene(), orientation=orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    picture = decode(data, at_least_px=at_least_px)
    assert picture is not None
    assert difference(picture.pixels, upright) < 3
    assert picture.scale * max(picture.pixels.shape[:2]) == pytest.approx(320)


@pytest.mark.parametrize(
    ("at_least_px", "longest"), [(None, 320), (321, 320), (161, 320), (160, 160), (50, 80), (1, 40)]
)
def test_reduced_decoding_keeps_what_is_asked_for(at_least_px: int | None, longest: int) -> None:
    picture = decode(photo(320, 240), at_least_px=at_least_px)
    assert picture is not None
    assert max(picture.pixels.shape) == longest
    assert picture.scale == 320 / longest


def test_fit_shrinks_and_never_enlarges() -> None:
    whole = Picture(scene(320, 200))
    small = fit(whole, 100)
    assert small.pixels.shape == (62, 100, 3)
    assert small.scale == 3.2
    assert fit(whole, 400) is whole
    again = fit(Picture(scene(320, 200), scale=2.0), 160)
    assert again.scale == 4.0


def test_any_buffer_will_do() -> None:
    data = photo()
    for form in (bytearray(data), memoryview(data)):
        picture = decode(form)
        assert picture is not None
        assert np.array_equal(picture.pixels, decode(data).pixels)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a photo",
        png_bomb(),
        many_scans(MAX_SCANS),
        photo()[:200],
        photo()[:-2000],
        photo()[:400] + bytes(2000),
    ],
    ids=["empty", "text", "bomb", "scans", "header only", "truncated", "zeros"],
)
def test_what_cannot_be_decoded_gives_none(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert decode(data) is None


def test_pixels_are_limited() -> None:
    assert decode(photo(320, 240), max_pixels=320 * 240) is not None
    assert decode(photo(320, 240), max_pixels=320 * 240 - 1) is None


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    at=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=8),
    colour=st.booleans(),
)
def test_a_damaged_file_never_raises(kind: str, at: float, noise: bytes, colour: bool) -> None:
    data = bytearray(encode(scene(64, 48), kind))
    start = int(at * len(data))
    data[start : start + len(noise)] = noise
    picture = decode(data, at_least_px=16, colour=colour, max_pixels=1_000_000)
    assert picture is None or picture.pixels.dtype == np.uint8
