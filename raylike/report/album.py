"""The photos of the page, each decoded once: thumbnails, small tiles for the map, visible attributes.

Where people are not to be recognised, faces become a mosaic before anything else is made of a photo; a
face that no detector proposed stays as it is. Knows the images table and how to decode. Reads only what
holds a wanted photo, and keeps none of the bytes. Knows nothing of rankings.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raylike import photo_stream
from raylike.vision import attributes, decode, thumbnails
from raylike.vision.attributes import Attributes
from raylike.workspace import Workspace

TILE_QUALITY = 60
"""JPEG quality: tiles of 40 px are about 0.7 kB."""
LOOKED_AT_PX = 256
"""Attributes are measured with the longer side at most this long: finer detail changes none by much."""
MAX_SHEET_PX = 8192
"""Side of a sheet of tiles: phones draw no larger pictures."""


@dataclass(frozen=True)
class Faces:
    """Boxes x, y, width, height in px of the upright photo, (n, 4): all proposed, and those that count."""

    proposed: NDArray[np.float64]
    counted: NDArray[np.float64]


NO_BOXES = np.empty((0, 4))
NO_FACES = Faces(NO_BOXES, NO_BOXES)


@dataclass(frozen=True)
class Wanted:
    """Which posts' photos are wanted, for what, and how."""

    thumbnails: Collection[str]
    tiles: Collection[str]
    measured: Collection[str]
    thumbnail_px: int
    tile_px: int
    anonymised: bool


@dataclass(frozen=True)
class Album:
    """What was made, by post: JPEGs, tiles (tile_px, tile_px, 3) and attributes."""

    thumbnails: dict[str, bytes] = field(default_factory=dict)
    tiles: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)


def look(workspace: Workspace, wanted: Wanted, faces: Mapping[str, Faces]) -> Album:
    """Look at every wanted photo that is there and can be decoded."""
    album = Album()
    shown, tiles, measured = map(frozenset, (wanted.thumbnails, wanted.tiles, wanted.measured))
    posts = shown | tiles | measured
    for post, photo in photo_stream.read(workspace, photo_stream.plan(workspace, posts)):
        picture = decode.decode(photo, at_least_px=max(LOOKED_AT_PX, 2 * wanted.thumbnail_px))
        if picture is None:
            continue
        boxes = faces.get(post, NO_FACES)
        if post in measured:
            album.attributes[post] = measure(picture, boxes.counted)
        if wanted.anonymised:
            picture = thumbnails.hide_faces(picture, boxes.proposed)
        if post in shown:
            album.thumbnails[post] = thumbnails.jpeg(thumbnails.square(picture.pixels, wanted.thumbnail_px))
        if post in tiles:
            album.tiles[post] = thumbnails.square(picture.pixels, wanted.tile_px)
    return album


def measure(picture: decode.Picture, boxes: NDArray[np.float64]) -> Attributes:
    """Attributes of a picture whose faces lie in `boxes` of the upright photo."""
    small = decode.fit(picture, LOOKED_AT_PX)
    return attributes.measure(small.pixels, boxes / small.scale)


def sheet(tiles: Sequence[NDArray[np.uint8]], columns: int) -> bytes:
    """All tiles in rows of `columns` on one JPEG."""
    side = tiles[0].shape[0]
    rows = -(-len(tiles) // columns)
    pixels = np.zeros((rows * side, columns * side, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = side * (number // columns), side * (number % columns)
        pixels[top : top + side, left : left + side] = tile
    return thumbnails.jpeg(pixels, TILE_QUALITY)


def data_uri(jpeg_file: bytes) -> str:
    """A JPEG as the address of itself."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_file).decode()
