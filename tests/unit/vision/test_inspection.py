"""What is found out about a file, and the perceptual hash of near and far copies."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from raylike.vision.inspection import Limits, inspect
from raylike.vision.perceptual_hash import distance
from tests.pictures import encode, photo, png_bomb, scene

LIMITS = Limits(max_pixels=1_000_000, min_side_px=64)


def test_a_good_photo_has_all_its_facts() -> None:
    data = photo(320, 240)
    found = inspect(data, LIMITS)
    assert found.status == "ok"
    assert found.error is None
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.header is not None
    assert (found.header.format, found.header.width, found.header.height) == ("jpeg", 320, 240)
    assert found.phash is not None
    assert len(found.phash) == 16


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"", "not_an_image", "empty"),
        (b"\n<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image", "SVG"),
        (b"<!DOCTYPE html><html>log in</html>", "not_an_image", "HTML"),
        (encode(scene(), "GIF"), "not_an_image", "GIF"),
        (b"\x1f\x8b" + bytes(100), "not_an_image", "gzip"),
        (photo(1, 1), "too_small", "1 x 1"),
        (photo(320, 63), "too_small", "63"),
        (png_bomb(), "too_many_pixels", "50000 x 50000"),
        (photo()[:-100], "truncated", "ends early"),
        (photo()[:300] + b"\xff\xd9", "truncated", "ends early"),
        (encode(scene(), "PNG")[:60] + b"garbage IEND", "corrupt", "cannot be decoded"),
    ],
)
def test_what_is_wrong_is_named(
    data: bytes, status: str, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = inspect(data, LIMITS)
    assert found.status == status
    assert found.error is not None
    assert word in found.error
    assert found.phash is None


def gray_hash(data: bytes) -> str:
    phash = inspect(data, LIMITS).phash
    assert phash is not None
    return phash


def test_near_copies_are_near() -> None:
    original = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    large = np.kron(original, np.ones((40, 40, 1), np.uint8))
    first = gray_hash(encode(large, quality=95))
    assert distance(first, gray_hash(encode(large, quality=30))) <= 4
    assert distance(first, gray_hash(encode(large[::2, ::2], "PNG"))) <= 4
    assert distance(first, gray_hash(encode((large * 0.8).astype(np.uint8)))) <= 4
