"""Photos without a person: quotes, memes, food, landscapes, pets and things.

Each function draws one on a fresh canvas, blue-green-red, and leaves colours, captions and grain to
`finish.py`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from raylike.simulator.drawing.backgrounds import ACCENTS, add_foliage, background, gradient, mottle, pick
from raylike.simulator.drawing.finish import write
from raylike.simulator.drawing.noise import Image, clouds, strands
from raylike.simulator.drawing.spec import CANVAS_PX, SIDE_PX, PhotoSpec

Colour = tuple[int, int, int]

_QUOTES = (
    ("do small things", "with great care"), ("the sea", "does not hurry"),
    ("begin", "before you", "are ready"),
    ("some days", "are for", "tea and rain"), ("be the friend", "you look for"),
    ("less noise,", "more songs"),
    ("you will get", "there"), ("walk slowly,", "see more"), ("kindness is", "never late"),
    ("dream,", "then get up"), ("good things", "take mornings"), ("home is", "a person"),
)  # fmt: skip
_MEMES = (
    ("when it is monday", "and you know it"), ("one more episode", "they said"),
    ("no idea", "what i am doing"),
    ("diet starts", "tomorrow"), ("me before coffee", "do not talk"), ("not today", "maybe friday"),
    ("i was told", "there would be cake"), ("five more minutes", "please"),
)  # fmt: skip
_PASTELS: list[Colour] = [(214, 222, 244), (226, 240, 222), (240, 226, 214), (200, 226, 246), (232, 214, 236),
                          (250, 250, 250), (60, 54, 50), (40, 40, 44), (120, 96, 60),
                          (90, 70, 130)]  # fmt: skip
_WOODS: list[Colour] = [(70, 104, 150), (96, 140, 184), (44, 66, 100), (150, 176, 200), (60, 64, 70)]


def ball(
    canvas: Image, centre: tuple[float, float], radii: tuple[float, float], colour: Colour, turn: float = 0
) -> None:
    """A rounded body lit from the upper left: ellipses inside each other, growing lighter, in place."""
    for step in range(6):
        share = step / 5
        light = 0.62 + 0.5 * share
        at = (int(centre[0] - 0.22 * share * radii[0]), int(centre[1] - 0.22 * share * radii[1]))
        axes = (max(int(radii[0] * (1 - 0.72 * share)), 1), max(int(radii[1] * (1 - 0.72 * share)), 1))
        tone = tuple(min(int(value * light), 255) for value in colour)
        cv2.ellipse(canvas, at, axes, turn, 0, 360, tone, -1, cv2.LINE_AA)


def soften(canvas: Image, sigma: float = 1.2) -> Image:
    """A canvas out of focus; a little hides the steps of drawn shading."""
    if sigma > 2:  # a stack blur costs the same at any width
        width = int(2 * sigma) * 2 + 1
        return cv2.stackBlur(canvas, (width, width))
    return cv2.GaussianBlur(canvas, (0, 0), sigma)


def table(rng: np.random.Generator) -> Image:
    """A table top seen from above: wood or cloth, (CANVAS_PX, CANVAS_PX, 3)."""
    base = np.array(pick(rng, _WOODS if rng.random() < 0.7 else _PASTELS), np.float32)
    rows = np.arange(CANVAS_PX, dtype=np.float32)[:, None] / CANVAS_PX
    grain = strands(0.06 * rows + 0.004 * clouds(rng, CANVAS_PX, CANVAS_PX, 0.4) + float(rng.random()))
    light = 1 + 0.07 * grain - 0.09 * (np.round(rows * 5) - rows * 5 > 0.46)
    top: Image = cv2.merge([np.clip(value * light, 0, 255).astype(np.uint8) for value in base])
    return top


def draw_quote(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A saying on paper, on a plain colour or over a landscape, (SIDE_PX, SIDE_PX, 3)."""
    if rng.random() < 0.35:
        scene = soften(draw_landscape(spec, rng), 4)
        ink: Colour = (255, 255, 255)
    else:
        top, bottom = pick(rng, _PASTELS, 8), pick(rng, _PASTELS, 8)
        scene = mottle(gradient(top, top if rng.random() < 0.6 else bottom, CANVAS_PX), rng, 0.03)
        ink = (40, 36, 34) if sum(top) > 380 else (240, 240, 240)
    photo: Image = cv2.resize(scene, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    lines = _QUOTES[rng.integers(len(_QUOTES))]
    font = int(
        rng.choice((cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX, cv2.FONT_HERSHEY_DUPLEX))
    )
    middle = SIDE_PX // 2 + int(rng.integers(-60, 60))
    for k, line in enumerate(lines):
        (width, _), _ = cv2.getTextSize(line, font, 1.7, 3)
        y = middle + int(84 * (k - (len(lines) - 1) / 2))
        cv2.putText(photo, line, ((SIDE_PX - width) // 2, y), font, 1.7, ink, 3, cv2.LINE_AA)
    if rng.random() < 0.6:
        cv2.line(photo, (250, middle + 140), (390, middle + 140), ink, 3, cv2.LINE_AA)
    return photo


def draw_meme(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A picture between two bold lines, (SIDE_PX, SIDE_PX, 3)."""
    draw = (draw_pet, draw_object, draw_landscape)[rng.integers(3)]
    photo: Image = cv2.resize(draw(spec, rng), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    first, second = _MEMES[rng.integers(len(_MEMES))]
    for text, y in ((first, 80), (second, 610)):
        write(photo, text.upper(), y=y, font=cv2.FONT_HERSHEY_DUPLEX, width_px=580)
    return photo


def draw_food(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A plate or a cup on a table, from above."""
    canvas = table(rng)
    x, y = (int(v) for v in rng.integers(140, 180, 2))
    size = int(84 + 50 * spec.closeness)
    cv2.circle(canvas, (x + 6, y + 8), size + 4, tuple(int(v * 0.55) for v in canvas[4, 4]), -1, cv2.LINE_AA)
    china = pick(rng, [(244, 244, 242), (230, 236, 240), (80, 74, 70), (200, 180, 150)], 6)
    cv2.circle(canvas, (x, y), size, china, -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(size * 0.76), tuple(int(v * 0.93) for v in china), -1, cv2.LINE_AA)
    dish = rng.random()
    if dish < 0.22:
        _coffee(canvas, x, y, size, rng)
    elif dish < 0.45:
        _pizza(canvas, x, y, size, rng)
    else:
        _bowl(canvas, x, y, size, spec.greenery, rng)
    if rng.random() < 0.6:
        fork_x = x - size - 22 if x > 160 else x + size + 18
        cv2.line(canvas, (fork_x, y - 60), (fork_x, y + 90), (190, 194, 200), 6, cv2.LINE_AA)
        cv2.line(canvas, (fork_x - 6, y - 60), (fork_x - 6, y - 30), (190, 194, 200), 3, cv2.LINE_AA)
        cv2.line(canvas, (fork_x + 6, y - 60), (fork_x + 6, y - 30), (190, 194, 200), 3, cv2.LINE_AA)
    return mottle(soften(canvas, 0.8), rng, 0.06, 0.85)


def _coffee(canvas: Image, x: int, y: int, size: int, rng: np.random.Generator) -> None:
    cv2.circle(canvas, (x, y), int(size * 0.62), (250, 250, 250), -1, cv2.LINE_AA)
    cv2.ellipse(
        canvas,
        (x + int(size * 0.72), y),
        (int(size * 0.22), int(size * 0.16)),
        0,
        -90,
        90,
        (246, 246, 246),
        8,
        cv2.LINE_AA,
    )
    cv2.circle(canvas, (x, y), int(size * 0.55), (44, 76, 122), -1, cv2.LINE_AA)
    for ring in range(5):  # the barista's leaf
        axes = (int(size * (0.3 - 0.05 * ring)), int(size * 0.07))
        cv2.ellipse(canvas, (x, y - 22 + 12 * ring), axes, 0, 0, 180, (190, 216, 236), 4, cv2.LINE_AA)
    cv2.line(canvas, (x, y - 30), (x, y + 40), (190, 216, 236), 2, cv2.LINE_AA)
    del rng


def _pizza(canvas: Image, x: int, y: int, size: int, rng: np.random.Generator) -> None:
    ball(canvas, (x, y), (size * 0.86, size * 0.86), (90, 150, 206))
    cv2.circle(canvas, (x, y), int(size * 0.74), (50, 90, 200), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(size * 0.7), (120, 200, 240), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(9, 16))):
        angle, far = rng.uniform(0, 2 * math.pi), size * 0.6 * math.sqrt(rng.random())
        spot = (x + far * math.cos(angle), y + far * math.sin(angle))
        ball(
            canvas,
            spot,
            (size * 0.1, size * 0.1),
            [(40, 50, 180), (50, 120, 50), (60, 60, 60)][rng.integers(3)],
        )
    for cut in range(4):
        dx, dy = size * 0.74 * math.cos(cut * math.pi / 4), size * 0.74 * math.sin(cut * math.pi / 4)
        cv2.line(
            canvas, (int(x - dx), int(y - dy)), (int(x + dx), int(y + dy)), (70, 120, 170), 2, cv2.LINE_AA
        )


def _bowl(canvas: Image, x: int, y: int, size: int, greenery: float, rng: np.random.Generator) -> None:
    colours: list[Colour] = [
        (60, 60, 200),
        (60, 150, 230),
        (200, 220, 240),
        (80, 110, 160),
        (70, 50, 120),
        (120, 190, 240),
    ]
    for _ in range(int(rng.integers(24, 44))):
        angle, far = rng.uniform(0, 2 * math.pi), size * 0.62 * math.sqrt(rng.random())
        spot = (x + far * math.cos(angle), y + far * math.sin(angle))
        green = rng.random() < 0.2 + 0.7 * greenery
        colour = pick(rng, [(50, 140, 70), (60, 170, 110), (40, 100, 50)] if green else colours, 20)
        radius = size * float(rng.uniform(0.09, 0.2))
        ball(canvas, spot, (radius, radius * float(rng.uniform(0.45, 1))), colour, float(rng.uniform(0, 180)))


def draw_landscape(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """Sky, sun, hills, and water, sand or a meadow."""
    skies: list[tuple[Colour, Colour]] = [((200, 150, 90), (240, 220, 196)), ((140, 80, 80), (90, 150, 250)),
             ((220, 180, 130), (250, 240, 230)), ((90, 50, 40), (110, 90, 200)), ((180, 170, 160),
             (220, 216, 212))]  # fmt: skip
    canvas = gradient(*skies[rng.integers(len(skies))], CANVAS_PX)
    cloud = np.clip((clouds(rng, CANVAS_PX, CANVAS_PX, 0.6) - 0.3) * 70, 0, 90).astype(np.uint8)
    canvas = cv2.add(canvas, cv2.merge([cloud, cloud, cloud]))
    horizon = int(rng.integers(150, 220))
    if rng.random() < 0.5:
        cv2.circle(
            canvas,
            (int(rng.integers(50, 270)), horizon - int(rng.integers(0, 90))),
            20,
            (210, 236, 255),
            -1,
            cv2.LINE_AA,
        )
        canvas = soften(canvas, 1.5)
    haze = np.array(canvas[horizon - 1, 0], np.float32)
    for ridge in range(int(rng.integers(1, 4))):
        line = clouds(rng, 1, CANVAS_PX, 0.5)[0]
        heights = horizon - (48 - 13 * ridge) * (1 + 0.7 * line) + 10 * ridge
        near = (ridge + 1) / 4
        tone = haze * (1 - near) + np.array((70, 74, 60), np.float32) * near
        points = np.stack([np.arange(CANVAS_PX), heights], axis=1).astype(np.int32)
        outline = np.concatenate([points, [[CANVAS_PX, CANVAS_PX], [0, CANVAS_PX]]]).astype(np.int32)
        cv2.fillPoly(canvas, [outline], tone.tolist(), cv2.LINE_AA)
    ground = rng.random() * (1 - 0.5 * spec.greenery)
    if ground < 0.4:
        meadow = cv2.resize(np.full((160, 160, 3), (70, 120, 96), np.uint8), (CANVAS_PX, CANVAS_PX))
        canvas[horizon:] = add_foliage(meadow, rng, 0.25 + 0.7 * spec.greenery)[horizon:]
    else:
        sea = ground < 0.75
        base = np.array((150, 120, 60) if sea else (150, 190, 220), np.float32)
        rows = np.arange(CANVAS_PX - horizon, dtype=np.float32)[:, None]
        waves = strands(0.0008 * rows * rows**0.3 + 0.004 * clouds(rng, rows.size, CANVAS_PX, 0.5))
        light = 1 + (0.12 if sea else 0.03) * waves
        canvas[horizon:] = np.clip((0.6 * base + 0.4 * haze) * light[..., None], 0, 255).astype(np.uint8)
    return mottle(canvas, rng, 0.05, 0.85)


def draw_pet(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """A cat or a dog, from the front or curled up."""
    canvas = background(rng, spec.greenery)
    fur = pick(
        rng, [(70, 110, 160), (60, 60, 64), (200, 206, 214), (90, 140, 196), (120, 120, 126), (40, 64, 96)]
    )
    dark: Colour = (int(fur[0] * 0.55), int(fur[1] * 0.55), int(fur[2] * 0.55))
    size = 52 + 34 * spec.closeness
    x, y = 160 + float(rng.normal(0, 20)), 150 + float(rng.normal(0, 10))
    ball(canvas, (x + 0.2 * size, y + 1.9 * size), (1.25 * size, 1.5 * size), fur)
    cat = rng.random() < 0.55
    for sign in (-1, 1):
        if cat:
            ear = np.array(
                [
                    (x + sign * 0.95 * size, y - 0.25 * size),
                    (x + sign * 0.85 * size, y - 1.25 * size),
                    (x + sign * 0.2 * size, y - 0.8 * size),
                ]
            )
            cv2.fillPoly(canvas, [ear.astype(np.int32)], fur, cv2.LINE_AA)
            cv2.fillPoly(
                canvas,
                [(0.35 * ear.mean(axis=0) + 0.65 * ear).astype(np.int32)],
                (150, 150, 206),
                cv2.LINE_AA,
            )
        else:
            ball(
                canvas, (x + sign * 1.0 * size, y - 0.1 * size), (0.33 * size, 0.75 * size), dark, sign * -18
            )
    ball(canvas, (x, y), (size, 0.86 * size), fur)
    muzzle: Colour = (min(fur[0] + 60, 255), min(fur[1] + 60, 255), min(fur[2] + 60, 255))
    ball(canvas, (x, y + 0.42 * size), (0.46 * size, (0.3 if cat else 0.42) * size), muzzle)
    for sign in (-1, 1):
        eye = (int(x + sign * 0.42 * size), int(y - 0.1 * size))
        iris: Colour = (90, 200, 160) if cat else (30, 50, 80)
        cv2.circle(canvas, eye, int(0.17 * size), iris, -1, cv2.LINE_AA)
        cv2.ellipse(
            canvas,
            eye,
            (int((0.06 if cat else 0.12) * size), int(0.15 * size)),
            0,
            0,
            360,
            (10, 10, 12),
            -1,
            cv2.LINE_AA,
        )
        cv2.circle(canvas, (eye[0] - 3, eye[1] - 4), 3, (255, 255, 255), -1, cv2.LINE_AA)
    nose = (int(x), int(y + 0.26 * size))
    cv2.ellipse(
        canvas,
        nose,
        (int(0.13 * size), int(0.09 * size)),
        0,
        0,
        360,
        (120, 110, 190) if cat else (24, 22, 24),
        -1,
        cv2.LINE_AA,
    )
    for sign in (-1, 1):
        cv2.ellipse(
            canvas,
            (int(x + sign * 0.16 * size), int(y + 0.44 * size)),
            (int(0.16 * size), int(0.12 * size)),
            0,
            0,
            180,
            dark,
            2,
            cv2.LINE_AA,
        )
        for whisker in range(3 if cat else 0):
            start = (int(x + sign * 0.3 * size), int(y + (0.38 + 0.07 * whisker) * size))
            end = (int(x + sign * 1.1 * size), int(y + (0.26 + 0.16 * whisker) * size))
            cv2.line(canvas, start, end, (236, 236, 236), 1, cv2.LINE_AA)
    return mottle(soften(canvas, 0.9), rng, 0.09, 0.9)


def draw_object(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    """Flowers, a mug, books, bottles or balloons."""
    return (_flowers, _mug, _books, _bottles, _balloons)[rng.integers(5)](spec, rng)


def _flowers(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    colour = pick(rng, [(90, 90, 230), (200, 120, 220), (90, 200, 250), (240, 240, 246), (220, 130, 120)], 20)
    for _ in range(int(rng.integers(3, 8))):
        x, y = (int(v) for v in rng.integers(50, 270, 2))
        size = float(rng.uniform(16, 26 + 22 * spec.closeness))
        cv2.line(canvas, (x, y), (160 + (x - 160) // 3, CANVAS_PX), (50, 110, 60), 4, cv2.LINE_AA)
        turn = float(rng.uniform(0, 1))
        for petal in range(7):
            angle = 2 * math.pi * (petal / 7 + turn)
            spot = (x + size * math.cos(angle), y + size * math.sin(angle))
            ball(canvas, spot, (size * 0.72, size * 0.42), colour, math.degrees(angle))
        ball(canvas, (x, y), (size * 0.42, size * 0.42), (40, 150, 220))
    return soften(canvas, 0.9)


def _mug(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    canvas[220:] = table(rng)[220:]
    tone = pick(rng, [*ACCENTS, (240, 240, 240)])
    width = int(44 + 34 * spec.closeness)
    x, top, bottom = int(rng.integers(130, 190)), 250 - int(2.0 * width), 258
    cv2.ellipse(
        canvas,
        (x + width, (top + bottom) // 2),
        (int(width * 0.5), int(width * 0.6)),
        0,
        -90,
        90,
        tone,
        10,
        cv2.LINE_AA,
    )
    columns = np.linspace(-1, 1, 2 * width, dtype=np.float32)
    light = (1.08 - 0.5 * (columns + 0.35) ** 2)[None, :, None]
    canvas[top:bottom, x - width : x + width] = np.clip(np.array(tone, np.float32) * light, 0, 255).astype(
        np.uint8
    )
    cv2.ellipse(
        canvas, (x, bottom), (width, 10), 0, 0, 180, tuple(int(v * 0.8) for v in tone), -1, cv2.LINE_AA
    )
    cv2.ellipse(canvas, (x, top), (width, 12), 0, 0, 360, tuple(int(v * 0.7) for v in tone), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (x, top + 2), (width - 6, 8), 0, 0, 360, (36, 54, 84), -1, cv2.LINE_AA)
    return mottle(soften(canvas, 0.8), rng, 0.04)


def _books(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    canvas[246:] = table(rng)[246:]
    y = 250
    for _ in range(int(rng.integers(3, 8))):
        height, width = int(rng.integers(16, 30)), int(rng.integers(70, 110) * (0.8 + 0.5 * spec.closeness))
        x = 160 + int(rng.integers(-14, 14))
        cover = pick(rng, ACCENTS, 40)
        cv2.rectangle(canvas, (x - width, y - height), (x + width, y), cover, -1)
        cv2.rectangle(canvas, (x - width, y - 4), (x + width, y), tuple(int(v * 0.6) for v in cover), -1)
        cv2.line(
            canvas, (x - width // 2, y - height // 2), (x + width // 2, y - height // 2), (220, 226, 230), 3
        )
        y -= height
    return mottle(soften(canvas, 0.8), rng, 0.05)


def _bottles(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    canvas[250:] = table(rng)[250:]
    for k in range(int(rng.integers(1, 4))):
        glass = pick(rng, [(40, 70, 30), (30, 60, 110), (120, 150, 100), (60, 40, 60), (170, 190, 210)], 20)
        x, width = 80 + 70 * k + int(rng.integers(-10, 20)), int(16 + 14 * spec.closeness)
        shine = [(x - width // 2, 120, 4, 120), (x, 0, 0, 0)][0]
        cv2.rectangle(canvas, (x - width, 130), (x + width, 256), glass, -1)
        cv2.ellipse(canvas, (x, 130), (width, 26), 0, 180, 360, glass, -1, cv2.LINE_AA)
        cv2.rectangle(canvas, (x - width // 3, 66), (x + width // 3, 120), glass, -1)
        cv2.rectangle(canvas, (x - width, 170), (x + width, 220), pick(rng, _PASTELS[:6]), -1)
        cv2.line(
            canvas, (shine[0], 132), (shine[0], 250), tuple(min(v + 70, 255) for v in glass), 3, cv2.LINE_AA
        )
    return mottle(soften(canvas, 0.9), rng, 0.04)


def _balloons(spec: PhotoSpec, rng: np.random.Generator) -> Image:
    canvas = background(rng, spec.greenery)
    for _ in range(int(rng.integers(3, 9))):
        x, y = int(rng.integers(40, 280)), int(rng.integers(40, 200))
        size = float(rng.uniform(20, 30 + 26 * spec.closeness))
        cv2.line(canvas, (x, int(y + size)), (160, CANVAS_PX), (190, 190, 190), 1, cv2.LINE_AA)
        ball(
            canvas,
            (x, y),
            (size * 0.82, size),
            pick(rng, [(60, 60, 220), (220, 120, 60), (80, 190, 80), (60, 200, 240), (200, 90, 190)], 30),
        )
    return soften(canvas, 0.8)
