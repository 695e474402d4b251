"""What is behind people and things: rooms, streets, skies, and as much green as the photo's spec says.

Knows colours and noise. Colours are blue-green-red, as in every finished picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from raylike.simulator.drawing.noise import Field, Image, clouds
from raylike.simulator.drawing.spec import CANVAS_PX

_LOW_PX = 160
"""Backgrounds are out of focus: half the canvas holds all there is to see."""

WALLS = [(206, 214, 222), (188, 200, 214), (170, 190, 210), (200, 206, 196), (214, 200, 186), (150, 160, 186),
         (120, 128, 140), (196, 188, 206), (90, 104, 150), (168, 150, 120), (70, 74, 82),
         (228, 230, 232)]  # fmt: skip
ACCENTS = [(60, 70, 160), (40, 110, 190), (150, 110, 50), (90, 130, 60), (60, 60, 66), (190, 200, 210),
           (120, 70, 130), (50, 90, 140), (170, 150, 90), (30, 40, 90)]  # fmt: skip


def _leaf_colours() -> Image:
    """256 greens from deep shade to sunlit, (256, 3)."""
    stops = np.array([(18, 38, 20), (28, 66, 34), (36, 100, 60), (50, 140, 96), (96, 190, 150)], np.float32)
    at = np.linspace(0, 255, len(stops))
    planes = [np.interp(np.arange(256), at, stops[:, channel]) for channel in range(3)]
    return np.stack(planes, axis=1).astype(np.uint8)


LEAF_COLOURS = _leaf_colours()


def pick(
    rng: np.random.Generator, colours: list[tuple[int, int, int]], spread: int = 14
) -> tuple[int, int, int]:
    """One of `colours`, a little off."""
    blue, green, red = np.clip(
        np.array(colours[rng.integers(len(colours))]) + rng.integers(-spread, spread + 1, 3), 0, 255
    )
    return int(blue), int(green), int(red)


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int], side_px: int = _LOW_PX) -> Image:
    """A vertical run from one colour to the other, (side_px, side_px, 3)."""
    share = np.linspace(0, 1, side_px, dtype=np.float32)[:, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    image: Image = np.repeat(column[:, None, :], side_px, axis=1).astype(np.uint8)
    return image


def background(rng: np.random.Generator, greenery: float) -> Image:
    """A blurred room or outdoors, (CANVAS_PX, CANVAS_PX, 3), with foliage over about `greenery` of it."""
    scene = _outdoors(rng) if rng.random() < 0.3 + 0.4 * greenery else _room(rng)
    if greenery > 0.02:
        scene = add_foliage(scene, rng, greenery)
    scene = mottle(scene, rng, 0.05)
    blur = float(rng.uniform(0.6, 2.4))
    scene = cv2.GaussianBlur(scene, (0, 0), blur)
    return cv2.resize(scene, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_LINEAR)


def mottle(scene: Image, rng: np.random.Generator, strength: float, detail: float = 0.7) -> Image:
    """Light and shade over a scene: its brightness varies with SD `strength` (of 1)."""
    height, width = scene.shape[:2]
    light = np.clip(128 * (1 + strength * clouds(rng, height, width, detail)), 0, 255).astype(np.uint8)
    return cv2.multiply(scene, cv2.merge([light, light, light]), scale=1 / 128)


def add_foliage(scene: Image, rng: np.random.Generator, greenery: float) -> Image:
    """Cover about a share `greenery` of a square scene with leaves, thickest at the sides."""
    side = scene.shape[0]
    mass = clouds(rng, side, side, 0.45)
    across = np.abs(np.linspace(-1, 1, side, dtype=np.float32))[None, :]
    mass = mass + 0.9 * across
    level = np.float32(np.quantile(mass[::4, ::4], 1 - 0.92 * greenery))
    share = np.clip((mass - level) * 640 + 64, 0, 128).astype(np.int16)[..., None]
    leaves = np.clip(128 + 64 * clouds(rng, side, side, 0.9), 0, 255).astype(np.uint8)
    tone = LEAF_COLOURS.take(leaves, axis=0)
    green: Image = (scene + ((share * (tone - scene.astype(np.int16))) >> 7)).astype(np.uint8)
    return green


def _room(rng: np.random.Generator) -> Image:
    wall = pick(rng, WALLS)
    shade = float(rng.uniform(0.6, 0.9))
    scene: Image = gradient(wall, (int(wall[0] * shade), int(wall[1] * shade), int(wall[2] * shade)))
    light: Field = np.linspace(
        float(rng.uniform(0.75, 1.1)), float(rng.uniform(0.75, 1.1)), _LOW_PX, dtype=np.float32
    )
    scene = np.clip(scene * light[None, :, None], 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        x, y = (int(v) for v in rng.integers(-10, 150, 2))
        width, height = (int(v) for v in rng.integers(18, 70, 2))
        what = rng.random()
        if what < 0.35:  # a picture in its frame
            cv2.rectangle(scene, (x, y), (x + width, y + height), pick(rng, ACCENTS), -1)
            cv2.rectangle(scene, (x + 4, y + 4), (x + width - 4, y + height - 4), pick(rng, WALLS), -1)
        elif what < 0.55:  # a window
            cv2.rectangle(scene, (x, y), (x + width, y + height + 30), (244, 246, 240), -1)
            cv2.line(scene, (x + width // 2, y), (x + width // 2, y + height + 30), (190, 196, 200), 2)
        elif what < 0.8:  # a shelf with books
            shelf_y = y + height
            for book in range(x, x + width, 5):
                top = shelf_y - int(rng.integers(12, 22))
                cv2.rectangle(scene, (book, top), (book + 4, shelf_y), pick(rng, ACCENTS, 40), -1)
            cv2.rectangle(scene, (x - 4, shelf_y), (x + width + 4, shelf_y + 3), (60, 84, 120), -1)
        else:  # furniture
            cv2.rectangle(scene, (x, 120 - height // 3), (x + 2 * width, _LOW_PX), pick(rng, ACCENTS), -1)
    return scene


def _outdoors(rng: np.random.Generator) -> Image:
    sky = [((214, 170, 110), (236, 220, 196)), ((200, 190, 180), (224, 220, 216)), ((150, 110, 90),
           (120, 170, 244)),
           ((230, 196, 150), (244, 236, 226)), ((110, 60, 50), (90, 110, 190))][rng.integers(5)]  # fmt: skip
    scene = gradient(*sky)
    horizon = int(rng.integers(70, 130))
    if rng.random() < 0.5:  # houses
        x = -10
        while x < _LOW_PX:
            width = int(rng.integers(18, 46))
            top = horizon - int(rng.integers(12, 70))
            cv2.rectangle(scene, (x, top), (x + width, horizon), pick(rng, WALLS, 24), -1)
            for window_y in range(top + 5, horizon - 4, 9):
                for window_x in range(x + 4, x + width - 4, 8):
                    cv2.rectangle(
                        scene, (window_x, window_y), (window_x + 3, window_y + 4), (110, 96, 84), -1
                    )
            x += width
        ground = pick(rng, [(130, 132, 136), (150, 156, 164), (110, 110, 112)])
    else:
        ground = pick(rng, [(150, 190, 214), (180, 150, 90), (120, 130, 130), (96, 140, 120)])
    cv2.rectangle(scene, (0, horizon), (_LOW_PX, _LOW_PX), ground, -1)
    return scene
