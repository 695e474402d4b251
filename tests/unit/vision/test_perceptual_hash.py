"""The perceptual hash: half of its bits set, far for other pictures, none for what shows nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.simulator.drawing import Kind, PhotoSpec, draw
from raylike.vision.decode import decode
from raylike.vision.perceptual_hash import AT_LEAST_PX, distance, perceptual_hash
from tests.pictures import encode


def noise(seed: int, contrast: float = 255) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).uniform(0, contrast, (32, 32)).astype(np.uint8)


def hash_of_drawing(spec: PhotoSpec) -> str:
    return hash_of(draw(spec))


def hash_of(data: bytes, at_least_px: int = AT_LEAST_PX, colour: bool = False) -> str:
    picture = decode(data, at_least_px=at_least_px, colour=colour)
    assert picture is not None
    found = perceptual_hash(picture.pixels)
    assert found is not None
    return found


def test_it_is_16_hex_digits_of_which_half_the_bits_are_set() -> None:
    found = perceptual_hash(noise(0))
    assert found is not None
    assert len(found) == 16
    assert int(found, 16).bit_count() == 32


def test_other_pictures_are_far() -> None:
    hashes = [perceptual_hash(noise(seed)) for seed in range(20)]
    distances = [distance(a or "", b or "") for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 12
    assert np.mean(distances) == pytest.approx(32, abs=3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((50, 70), 90),
        np.tile(np.linspace(0, 255, 200), (100, 1)),
        np.repeat(np.arange(80)[:, None] // 10 % 2 * 255, 60, axis=1),
        noise(0, contrast=3),
    ],
    ids=["one shade", "gradient", "stripes", "noise of three shades"],
)
def test_a_picture_that_shows_nothing_has_none(pixels: NDArray[np.float64]) -> None:
    assert perceptual_hash(pixels.astype(np.uint8)) is None


def test_the_simulators_reposts_are_near_and_its_other_people_are_not() -> None:
    reposts = [hash_of_drawing(PhotoSpec(Kind.PERSON, 1, brightness=light)) for light in (0.44, 0.5, 0.56)]
    others = [hash_of_drawing(PhotoSpec(Kind.PERSON, seed)) for seed in range(2, 12)]
    assert max(distance(reposts[0], copy) for copy in reposts) <= 6
    everybody = [reposts[0], *others]
    assert min(distance(a, b) for i, a in enumerate(everybody) for b in everybody[:i]) > 6


LARGE = np.kron(
    np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8), np.ones((40, 40, 1), np.uint8)
)
"""480 x 640 px, RGB."""


@pytest.mark.parametrize(
    "copy",
    [
        encode(LARGE, quality=30),
        encode(np.ascontiguousarray(LARGE[::2, ::2]), "PNG"),
        encode((LARGE * 0.8).astype(np.uint8)),
    ],
    ids=["JPEG quality 30", "half size, PNG", "darker"],
)
def test_near_copies_are_near(copy: bytes) -> None:
    assert distance(hash_of(encode(LARGE, quality=95)), hash_of(copy)) <= 4


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("at_least_px", [AT_LEAST_PX, 640, 2000])
def test_what_a_detector_wants_decoded_hardly_changes_the_hash(at_least_px: int, colour: bool) -> None:
    data = encode(LARGE, quality=90)
    assert distance(hash_of(data), hash_of(data, at_least_px, colour)) <= 2
