"""The perceptual hash: half of its bits set, far for other pictures, none for what shows nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.simulator.drawing import Kind, PhotoSpec, draw
from raylike.vision.decode import decode
from raylike.vision.perceptual_hash import distance, perceptual_hash


def noise(seed: int, contrast: float = 255) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).uniform(0, contrast, (32, 32)).astype(np.uint8)


def hash_of_drawing(spec: PhotoSpec) -> str:
    picture = decode(draw(spec), at_least_px=64, colour=False)
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
