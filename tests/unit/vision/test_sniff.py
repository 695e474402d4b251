"""Format and size from the first bytes, and whether a file reaches its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.vision.sniff import Header, is_complete, scans, sniff
from tests.pictures import encode, photo, png_bomb, scene


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(scene(320, 200)), Header("jpeg", 320, 200)),
        (encode(scene(320, 200), progressive=True), Header("jpeg", 320, 200, progressive=True)),
        (encode(scene(320, 200), mode="CMYK"), Header("jpeg", 320, 200)),
        (encode(scene(320, 200), orientation=6), Header("jpeg", 320, 200)),
        (encode(scene(320, 200), "PNG"), Header("png", 320, 200)),
        (encode(scene(320, 200), "PNG", mode="RGBA"), Header("png", 320, 200, alpha=True)),
        (encode(scene(320, 200), "WEBP"), Header("webp", 320, 200)),
        (encode(scene(320, 200), "WEBP", lossless=True), Header("webp", 320, 200)),
        (encode(scene(320, 200), "WEBP", orientation=6), Header("webp", 320, 200)),
        (encode(scene(1, 1)), Header("jpeg", 1, 1)),
        (png_bomb(50_000), Header("png", 50_000, 50_000)),
    ],
)
def test_headers_of_real_files(data: bytes, expected: Header) -> None:
    assert sniff(data) == expected
    assert is_complete(data, expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"GIF89a\x01\x00\x01\x00",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!DOCTYPE html><html></html>",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
    ],
)
def test_what_is_no_photo_has_no_header(data: bytes) -> None:
    assert sniff(data) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_cut_short_is_not_complete(kind: str, share: float) -> None:
    data = encode(scene(), kind)
    header = sniff(data)
    assert header is not None
    assert not is_complete(data[: int(share * len(data))], header)


def test_bytes_after_the_end_are_no_fault() -> None:
    data = photo() + bytes(100)
    header = sniff(data)
    assert header is not None
    assert is_complete(data, header)


def test_a_thumbnails_end_marker_is_not_the_photos() -> None:
    thumbnail = b"\xff\xd8\xff\xd9"
    data = photo()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    header = sniff(with_thumbnail)
    assert header == sniff(data)
    assert header is not None
    assert is_complete(with_thumbnail, header)
    assert not is_complete(with_thumbnail[:-20], header)


def test_scans_are_counted() -> None:
    assert scans(photo()) == 1
    assert scans(encode(scene(), progressive=True)) == 10


@given(st.binary(max_size=64), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8"]))
def test_nothing_makes_it_raise(noise: bytes, start: bytes) -> None:
    for data in (noise, start + noise):
        header = sniff(data)
        if header is not None:
            assert header.width >= 1
            assert header.height >= 1
            is_complete(data, header)
