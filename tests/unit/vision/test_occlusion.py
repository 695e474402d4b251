"""Which patch and which part of a photo a score depends on, for scores that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raylike.vision import occlusion
from raylike.vision.occlusion import PARTS, STEPS

SIDE = 70
"""Of ten px a place, and half a patch more on each side."""


def redness(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A score that only sees red."""
    red = pictures[..., 0].astype(np.float64) - pictures[..., 1]
    return np.asarray(red.mean(axis=(1, 2)), np.float64)


def black_with_a_red_corner() -> NDArray[np.uint8]:
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[:10, :10, 0] = 255
    return square


def test_only_the_patch_that_covers_what_the_score_sees_changes_it_much() -> None:
    changes, _ = occlusion.changes(redness, black_with_a_red_corner())
    assert changes.shape == (STEPS, STEPS)
    assert changes.argmin() == 0  # upper left
    assert changes[0, 0] < -4
    assert np.abs(changes[1:, 1:]).max() < 1


def test_each_patch_hides_a_quarter_of_two_places_and_leaves_the_rest() -> None:
    square = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    pictures = occlusion.covered(square)
    assert pictures.shape == (STEPS * STEPS, SIDE, SIDE, 3)
    for picture in pictures:
        changed = (picture != square).any(axis=2)
        assert 0.95 * 400 < changed.sum() <= 400
        assert len(np.unique(picture[changed], axis=0)) == 1


def test_the_part_that_shows_it_larger_scores_highest() -> None:
    _, parts = occlusion.changes(redness, black_with_a_red_corner())
    assert list(parts) == list(PARTS)
    assert max(parts, key=lambda name: parts[name]) == "upper left"
    assert parts["upper left"] > 0 > parts["lower right"]


def test_a_plain_photo_looks_the_same_from_everywhere() -> None:
    changes, parts = occlusion.changes(redness, np.full((SIDE, SIDE, 3), 90, np.uint8))
    assert not changes.any()
    assert not any(parts.values())
