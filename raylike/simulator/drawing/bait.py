"""What face detectors fall for: dolls, cartoons, sockets and cars with a face, and faces hard to see.

A good filter leaves these out by their low confidence.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from raylike.simulator.drawing.backgrounds import ACCENTS, WALLS, background, mottle, pick
from raylike.simulator.drawing.head import random_head
from raylike.simulator.drawing.noise import Image, clouds
from raylike.simulator.drawing.people import place_person
from raylike.simulator.drawing.scenes import ball, soften, table
from raylike.simulator.drawing.spec import CANVAS_PX, PhotoSpec

_INK = (26, 22, 24)


def draw_doll(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A doll's or a plush animal's head: round, button eyes, stitched mouth."""
    canvas = background(rng, spec.greenery)
    x, y = 160 + float(rng.normal(0, 18)), 150 + float(rng.normal(0, 10))
    size = 56 + 34 * spec.closeness
    fabric = pick(rng, [(180, 205, 240), (150, 180, 220), (90, 130, 180), (200, 190, 230), (200, 200, 205)])
    ball(canvas, (x, y + 1.9 * size), (0.95 * size, 1.2 * size), pick(rng, ACCENTS))
    if rng.random() < 0.5:
        for sign in (-1, 1):
            ball(canvas, (x + sign * 0.8 * size, y - 0.8 * size), (0.34 * size, 0.34 * size), fabric)
    else:
        wool = pick(rng, [(40, 60, 110), (40, 120, 200), (30, 30, 34), (60, 90, 210)])
        for strand in np.linspace(-1.05, 1.05, 15):
            ball(
                canvas,
                (x + strand * size, y - (0.75 - 0.35 * strand**2) * size),
                (0.16 * size, 0.4 * size),
                wool,
            )
    ball(canvas, (x, y), (size, size), fabric)
    for sign in (-1, 1):
        eye = (int(x + sign * 0.42 * size), int(y + 0.02 * size))
        cv2.circle(canvas, eye, int(0.15 * size), _INK, -1, cv2.LINE_AA)
        cv2.circle(canvas, (eye[0] - 3, eye[1] - 4), 4, (250, 250, 250), -1, cv2.LINE_AA)
        cheek = (int(x + sign * 0.6 * size), int(y + 0.34 * size))
        cv2.circle(canvas, cheek, int(0.14 * size), (150, 150, 240), -1, cv2.LINE_AA)
    cv2.ellipse(
        canvas,
        (int(x), int(y + 0.2 * size)),
        (int(0.09 * size), int(0.07 * size)),
        0,
        0,
        360,
        (60, 70, 120),
        -1,
        cv2.LINE_AA,
    )
    cv2.ellipse(
        canvas,
        (int(x), int(y + 0.4 * size)),
        (int(0.26 * size), int(0.14 * size)),
        0,
        0,
        180,
        (50, 40, 90),
        3,
        cv2.LINE_AA,
    )
    return mottle(soften(canvas, 1.0), rng, 0.07, 0.9)


def draw_cartoon(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A flat drawn face: outline, two eyes, a mouth."""
    canvas = np.full((CANVAS_PX, CANVAS_PX, 3), pick(rng, WALLS + ACCENTS), np.uint8)
    x, y = (160 + int(v) for v in rng.normal(0, 14, 2))
    size = int(62 + 46 * spec.closeness)
    skin = pick(rng, [(60, 210, 250), (170, 200, 245), (120, 220, 140), (240, 200, 140), (200, 170, 240)])
    cv2.ellipse(canvas, (x, y), (size, int(size * rng.uniform(0.9, 1.1))), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, y), (size, int(size * 1.05)), 0, 0, 360, _INK, 4, cv2.LINE_AA)
    open_eyes = rng.random() < 0.6
    for sign in (-1, 1):
        eye = (x + sign * int(0.42 * size), y - int(0.1 * size))
        if open_eyes:
            cv2.ellipse(
                canvas, eye, (int(0.2 * size), int(0.26 * size)), 0, 0, 360, (252, 252, 252), -1, cv2.LINE_AA
            )
            cv2.ellipse(canvas, eye, (int(0.2 * size), int(0.26 * size)), 0, 0, 360, _INK, 3, cv2.LINE_AA)
        cv2.circle(canvas, eye, int(0.11 * size), _INK, -1, cv2.LINE_AA)
        cv2.ellipse(
            canvas,
            (eye[0], eye[1] - int(0.3 * size)),
            (int(0.2 * size), int(0.07 * size)),
            0,
            180,
            360,
            _INK,
            5,
            cv2.LINE_AA,
        )
    if rng.random() < 0.5:
        cv2.ellipse(
            canvas,
            (x, y + int(0.3 * size)),
            (int(0.5 * size), int(0.4 * size)),
            0,
            0,
            180,
            (60, 50, 150),
            -1,
            cv2.LINE_AA,
        )
    cv2.ellipse(
        canvas, (x, y + int(0.3 * size)), (int(0.5 * size), int(0.4 * size)), 0, 0, 180, _INK, 4, cv2.LINE_AA
    )
    return mottle(canvas, rng, 0.03, 0.85)


def draw_face_like(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A socket, a car's front, a cookie or a house that seems to look back."""
    return (_socket, _car, _cookie, _house)[rng.integers(4)](spec, rng)


def _socket(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = np.full((CANVAS_PX, CANVAS_PX, 3), pick(rng, WALLS), np.uint8)
    size = int(70 + 44 * spec.closeness)
    x, y = (160 + int(v) for v in rng.normal(0, 12, 2))
    cv2.rectangle(canvas, (x - size + 5, y - size + 8), (x + size + 5, y + size + 8), (120, 120, 120), -1)
    cv2.rectangle(canvas, (x - size, y - size), (x + size, y + size), (238, 240, 240), -1)
    cv2.circle(canvas, (x, y), int(0.74 * size), (206, 210, 212), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(0.68 * size), (228, 231, 232), -1, cv2.LINE_AA)
    for sign in (-1, 1):
        slot = (x + sign * int(0.3 * size), y - int(0.16 * size))
        axes = (int(0.1 * size), int(0.15 * size))
        cv2.ellipse(canvas, slot, axes, 0, 0, 360, _INK, -1, cv2.LINE_AA)
    cv2.ellipse(
        canvas,
        (x, y + int(0.28 * size)),
        (int(0.16 * size), int(0.12 * size)),
        0,
        0,
        360,
        _INK,
        -1,
        cv2.LINE_AA,
    )
    return mottle(soften(canvas, 1.2), rng, 0.05)


def _car(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    canvas[240:] = (104, 106, 110)
    paint = pick(rng, ACCENTS, 30)
    size = int(84 + 40 * spec.closeness)
    x, y = 160 + int(rng.normal(0, 10)), 180
    roof = np.array(
        [
            (x - 0.9 * size, y - 0.2 * size),
            (x - 0.6 * size, y - 0.95 * size),
            (x + 0.6 * size, y - 0.95 * size),
            (x + 0.9 * size, y - 0.2 * size),
        ]
    )
    cv2.fillPoly(canvas, [roof.astype(np.int32)], paint, cv2.LINE_AA)
    cv2.fillPoly(
        canvas,
        [((roof - (x, y - 0.56 * size)) * 0.82 + (x, y - 0.56 * size)).astype(np.int32)],
        (150, 130, 110),
        cv2.LINE_AA,
    )
    ball(canvas, (x, y + 0.12 * size), (1.12 * size, 0.5 * size), paint)
    for sign in (-1, 1):
        lamp = (x + sign * int(0.68 * size), y + int(0.02 * size))
        cv2.circle(canvas, lamp, int(0.2 * size), (70, 70, 74), -1, cv2.LINE_AA)
        cv2.circle(canvas, lamp, int(0.16 * size), (236, 246, 250), -1, cv2.LINE_AA)
        cv2.rectangle(
            canvas, (x + sign * int(0.8 * size) - 14, 236), (x + sign * int(0.8 * size) + 14, 262), _INK, -1
        )
    cv2.ellipse(
        canvas,
        (x, y + int(0.3 * size)),
        (int(0.5 * size), int(0.12 * size)),
        0,
        0,
        360,
        (40, 40, 44),
        -1,
        cv2.LINE_AA,
    )
    return mottle(soften(canvas, 1.0), rng, 0.04)


def _cookie(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = table(rng)
    size = 76 + 50 * spec.closeness
    x, y = 160 + float(rng.normal(0, 10)), 160 + float(rng.normal(0, 10))
    cv2.circle(canvas, (int(x) + 5, int(y) + 7), int(size), (30, 36, 44), -1, cv2.LINE_AA)
    ball(canvas, (x, y), (size, size), (100, 160, 206))
    chips = [(-0.38, -0.22), (0.38, -0.22), (0.0, 0.12), (-0.28, 0.46), (0.0, 0.54), (0.28, 0.46)]
    for dx, dy in chips:
        spot = (x + (dx + float(rng.normal(0, 0.02))) * size, y + (dy + float(rng.normal(0, 0.02))) * size)
        ball(canvas, spot, (0.13 * size, 0.11 * size), (36, 50, 76))
    return mottle(soften(canvas, 1.0), rng, 0.12, 0.9)


def _house(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    size = int(80 + 40 * spec.closeness)
    x, y = 160, 180
    wall = pick(rng, WALLS)
    cv2.rectangle(canvas, (x - size, y - size // 2), (x + size, CANVAS_PX), wall, -1)
    roof = np.array([(x - 1.2 * size, y - 0.5 * size), (x, y - 1.3 * size), (x + 1.2 * size, y - 0.5 * size)])
    cv2.fillPoly(
        canvas, [roof.astype(np.int32)], pick(rng, [(60, 60, 140), (70, 70, 76), (60, 90, 130)]), cv2.LINE_AA
    )
    for sign in (-1, 1):
        left, top = x + sign * int(0.5 * size) - int(0.2 * size), y - int(0.2 * size)
        cv2.rectangle(canvas, (left, top), (left + int(0.4 * size), top + int(0.36 * size)), (60, 50, 44), -1)
        cv2.rectangle(
            canvas, (left, top), (left + int(0.4 * size), top + int(0.36 * size)), (240, 240, 240), 3
        )
    cv2.rectangle(
        canvas,
        (x - int(0.24 * size), y + int(0.62 * size)),
        (x + int(0.24 * size), CANVAS_PX),
        (40, 60, 110),
        -1,
    )
    return mottle(soften(canvas, 1.0), rng, 0.05)


def draw_faint_face(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A person who does not show their face: turned away, out of focus, far off, covered."""
    canvas = background(rng, spec.greenery)
    head = random_head(rng)
    how = rng.integers(5)
    half_width, tilt = CANVAS_PX * (0.13 + 0.12 * spec.closeness), float(rng.normal(0, 0.06))
    x, y = 160 + float(rng.normal(0, 16)), 150 + float(rng.normal(0, 8))
    if how == 0:
        head = replace(head, yaw=float(rng.choice((-1, 1)) * rng.uniform(0.75, 0.95)))
    elif how == 1:
        tilt = float(rng.choice((-1, 1)) * rng.uniform(0.42, 0.6))
    elif how == 2:
        half_width = CANVAS_PX * float(rng.uniform(0.035, 0.05))
        y = CANVAS_PX - 5 * half_width
    elif how == 3:
        head = replace(head, glasses="dark", style="beanie")
    place_person(canvas, head, (x, y), half_width, tilt, rng)
    if how == 3:
        _phone(canvas, (x, y + 0.62 * half_width), half_width, rng)
    elif how == 4:
        canvas = soften(canvas, half_width * float(rng.uniform(0.2, 0.3)))
    return canvas


def _phone(canvas: Image, centre: tuple[float, float], unit: float, rng: np.random.Generator) -> None:
    x, y = int(centre[0]), int(centre[1])
    width, height = int(0.62 * unit), int(0.5 * unit)
    cv2.rectangle(
        canvas,
        (x - width, y - height),
        (x + width, y + int(2.2 * height)),
        pick(rng, [(30, 30, 32), (220, 220, 220), (120, 110, 180)]),
        -1,
        cv2.LINE_AA,
    )
    cv2.circle(canvas, (x - width + 9, y - height + 9), 4, (60, 60, 60), -1, cv2.LINE_AA)


def draw_pattern(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """Dots, tiles, bricks or leaves that fill the frame."""
    step = int(22 + 26 * spec.closeness)
    one, two = pick(rng, WALLS), pick(rng, ACCENTS)
    canvas = np.full((CANVAS_PX, CANVAS_PX, 3), one, np.uint8)
    what = rng.integers(3)
    for row in range(-1, CANVAS_PX // step + 2):
        for column in range(-1, CANVAS_PX // step + 2):
            x, y = column * step + (row % 2) * step // 2, row * step
            if what == 0:
                ball(canvas, (x, y), (step * 0.3, step * 0.3), two)
            elif what == 1:
                cv2.rectangle(
                    canvas, (x + 2, y + 2), (x + step - 2, y + step // 2 + 8), pick(rng, [two], 18), -1
                )
            else:
                cv2.ellipse(
                    canvas,
                    (x, y),
                    (step // 2, step // 3),
                    45 * (row + column),
                    0,
                    360,
                    pick(rng, [two], 24),
                    -1,
                    cv2.LINE_AA,
                )
    light = 1 + 0.1 * clouds(rng, CANVAS_PX, CANVAS_PX, 0.4)
    return np.clip(soften(canvas, 1.0) * light[..., None], 0, 255).astype(np.uint8)
