"""What is found out about a file from its bytes alone."""

from __future__ import annotations

import hashlib

import pytest

from raylike.vision.inspection import Limits, inspect
from raylike.vision.sniff import MAX_SCANS
from tests.pictures import encode, many_scans, photo, png_bomb, scene

LIMITS = Limits(max_pixels=1_000_000, min_side_px=64)


def test_a_good_photo_has_all_its_facts() -> None:
    data = photo(320, 240)
    found = inspect(data, LIMITS)
    assert found.status == "ok"
    assert found.error is None
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.header is not None
    assert (found.header.format, found.header.width, found.header.height) == ("jpeg", 320, 240)


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
        (many_scans(MAX_SCANS + 1, side_px=64), "too_many_scans", "500 scans"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, status: str, word: str) -> None:
    found = inspect(data, LIMITS)
    assert found.status == status
    assert found.error is not None
    assert word in found.error


@pytest.mark.parametrize(
    "data",
    [many_scans(MAX_SCANS - 10, side_px=64), encode(scene(), "PNG")[:60] + b"garbage IEND"],
    ids=["as many scans as allowed", "only a decoder could tell"],
)
def test_what_bytes_do_not_tell_is_left_to_those_who_decode(data: bytes) -> None:
    assert inspect(data, LIMITS).status == "ok"
