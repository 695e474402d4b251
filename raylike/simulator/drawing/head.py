"""A head: a lit relief with eyes, brows, nose, mouth and hair, drawn from a few dozen numbers.

The face is a height map (a rounded oval plus bumps for nose, lips, cheeks and hollows for the eyes)
shaded by its normals, over an albedo map (skin, lips, brows, eyes). Yaw and pitch shift the features
along the curved surface, so that a turned face is foreshortened as a real one is. Coordinates are in
half face widths from the middle of the face, x to the right, y down. Colours are kept in planes, red,
green, blue, each (height, width): that is several times faster here than interleaved ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from raylike.simulator.drawing.noise import Field, Image, clouds, strands

REACH = 2.0
"""Half the side of a patch, in half face widths."""
PATCH_PX = 176
MIDDLE_Y_PX = 0.44 * PATCH_PX
"""Where the middle of the face lies in a patch: a little high, to leave room for long hair."""

_EDGE = PATCH_PX / (2 * REACH)
"""px per half face width: a ramp this steep is one pixel wide."""
_EYE_Y, _MOUTH_Y = -0.16, 0.68
LONG_STYLES = ("long", "bob", "fringe", "curly")

SKIN_TONES = np.array(  # red, green, blue, from fair to dark
    [
        (255, 222, 202), (247, 208, 182), (240, 194, 160), (228, 176, 138), (212, 158, 118),
        (193, 137, 98), (168, 114, 80), (141, 93, 66), (112, 74, 54), (86, 57, 44),
    ],
    np.float32,
)  # fmt: skip
HAIR_COLOURS = np.array(
    [
        (24, 20, 20), (38, 28, 24), (58, 38, 26), (84, 54, 34), (120, 80, 46), (168, 124, 74),
        (206, 170, 112), (128, 56, 30), (150, 144, 140), (150, 60, 96), (60, 90, 140),
    ],
    np.float32,
)  # fmt: skip
HAIR_COLOUR_SHARES = np.array([24, 20, 16, 12, 9, 6, 5, 4, 2, 1, 1]) / 100
IRIS_COLOURS = np.array([(62, 40, 24), (84, 56, 32), (96, 84, 48), (72, 110, 80), (84, 120, 160)], np.float32)


@dataclass(frozen=True)
class Head:
    """How one head looks. Angles in radians, lengths in half face widths, colours red-green-blue."""

    skin: Field
    hair: Field
    iris: Field
    style: str
    yaw: float
    pitch: float
    light: tuple[float, float, float]
    ambient: float
    jaw: float
    eye_open: float
    eye_size: float
    brow_lift: float
    brow_weight: float
    nose: float
    smile: float
    mouth_open: float
    lips: float
    lipstick: float
    beard: float
    glasses: str
    blush: float


def random_head(rng: np.random.Generator) -> Head:
    """A head as people show theirs: mostly towards the camera, mostly lit from above."""
    feminine = rng.random() < 0.58
    style = (
        rng.choice(["long", "bob", "fringe", "bun", "curly"], p=[0.38, 0.16, 0.2, 0.12, 0.14])
        if feminine
        else rng.choice(
            ["short", "quiff", "buzz", "bald", "beanie", "curly"], p=[0.4, 0.2, 0.12, 0.08, 0.1, 0.1]
        )
    )
    tone = rng.beta(1.2, 1.5) * (len(SKIN_TONES) - 1)
    low = int(tone)
    high = min(low + 1, len(SKIN_TONES) - 1)
    skin = SKIN_TONES[low] + (SKIN_TONES[high] - SKIN_TONES[low]) * (tone - low)
    dark = low >= 5
    shares = np.where(np.arange(len(HAIR_COLOURS)) < 3, HAIR_COLOUR_SHARES, HAIR_COLOUR_SHARES * (not dark))
    hair = HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=shares / shares.sum())]
    light_x = float(np.clip(rng.normal(0, 0.38), -0.85, 0.85))
    return Head(
        skin=skin.astype(np.float32),
        hair=hair * float(rng.uniform(0.85, 1.15)),
        iris=IRIS_COLOURS[0 if dark else rng.integers(len(IRIS_COLOURS))],
        style=str(style),
        yaw=float(np.clip(rng.normal(0, 0.11), -0.26, 0.26)),
        pitch=float(np.clip(rng.normal(0.0, 0.05), -0.12, 0.12)),
        light=(light_x, float(rng.uniform(-0.75, -0.3)), 1.0),
        ambient=float(rng.uniform(0.36, 0.5)),
        jaw=float(rng.uniform(0.62, 0.76) if feminine else rng.uniform(0.72, 0.9)),
        eye_open=float(rng.uniform(0.75, 1.1)),
        eye_size=float(rng.uniform(0.98, 1.14) if feminine else rng.uniform(0.88, 1.0)),
        brow_lift=float(rng.uniform(-0.02, 0.05)),
        brow_weight=float(rng.uniform(0.6, 0.85) if feminine else rng.uniform(0.85, 1.2)),
        nose=float(rng.uniform(0.8, 1.2)),
        smile=float(np.clip(rng.normal(0.45, 0.35), -0.2, 1.0)),
        mouth_open=float(rng.uniform(0.35, 1.0) if rng.random() < 0.35 else 0.0),
        lips=float(rng.uniform(0.95, 1.3) if feminine else rng.uniform(0.7, 0.95)),
        lipstick=float(rng.uniform(0.2, 0.9) if feminine and rng.random() < 0.6 else 0.0),
        beard=0.0 if feminine or rng.random() < 0.5 else float(rng.uniform(0.25, 1.0)),
        glasses="clear" if rng.random() < 0.13 else "",
        blush=float(rng.uniform(0.0, 0.6) if feminine else rng.uniform(0.0, 0.25)),
    )


def _bell(values: Field, centre: float, width: float) -> Field:
    bell: Field = np.exp(-0.5 * ((values - centre) / width) ** 2, dtype=np.float32)
    return bell


def _ramp(values: Field, sharpness: float) -> Field:
    """0 where `values` is well below zero, 1 well above: an anti-aliased edge."""
    ramp: Field = np.clip(values * sharpness + 0.5, 0, 1, dtype=np.float32)
    return ramp


def _rgb(red: float, green: float, blue: float) -> Field:
    return np.array((red, green, blue), np.float32)


def _mix(planes: Field, colour: Field, share: Field) -> None:
    """Lay `colour`, (3,) or (3, height, width), over `planes` (3, height, width) in place."""
    if colour.ndim == 1:
        colour = colour[:, None, None]
    planes += share * (colour - planes)


def _rows(top: float, bottom: float) -> slice:
    """The rows of a patch between two heights, in half face widths."""
    first = int(MIDDLE_Y_PX + top * _EDGE)
    last = int(MIDDLE_Y_PX + bottom * _EDGE)
    return slice(max(first, 0), min(last, PATCH_PX))


def draw_head(head: Head, rng: np.random.Generator) -> tuple[Image, Field]:
    """Draw a head upright.

    Returns
    -------
    patch : (PATCH_PX, PATCH_PX, 3) uint8, blue-green-red
    alpha : (PATCH_PX, PATCH_PX) float32 in [0, 1], where there is a head
    """
    pixels = np.arange(PATCH_PX, dtype=np.float32)
    x = ((pixels - PATCH_PX / 2) / _EDGE)[None, :]
    y = ((pixels - MIDDLE_Y_PX) / _EDGE)[:, None]
    # The oval: full at the temples, narrowing to the chin.
    narrowing = 1 - (1 - head.jaw) * np.clip(y / 1.25, 0, 1) ** 2
    width = np.where(y > 0, narrowing, 1 - 0.04 * y * y)
    reach = np.where(y > 0, np.float32(1.3), np.float32(1.38))
    oval = 1 - (x / width) ** 2 - (y / reach) ** 2
    # Where a pixel lies on the face once it is turned: across and down, in the face's own frame.
    across = np.sin(np.arcsin(np.clip(x / 1.02, -1, 1)) - head.yaw) * 1.02
    down = y - 0.9 * math.sin(head.pitch) * np.cos(np.clip(y, -1.5, 1.5))
    wobble = clouds(rng, PATCH_PX, PATCH_PX, 0.75)

    planes = np.empty((3, PATCH_PX, PATCH_PX), np.float32)
    planes[:] = head.skin[:, None, None]
    rows = _rows(-1.45, 1.4)
    _draw_face(head, planes[:, rows], x, y[rows], across, down[rows], oval[rows], wobble[rows])
    face = _ramp(oval, _EDGE * 0.55)
    alpha = np.maximum(face, _draw_neck(head, planes, face, x, y))
    if head.style in ("short", "quiff", "buzz", "bald", "bun"):
        alpha = _draw_ears(head, planes, alpha, x, y)
    if head.style == "beanie":
        alpha = _draw_beanie(planes, alpha, x, y, down, wobble, rng)
    elif head.style != "bald":
        alpha = _draw_hair(head, planes, alpha, face, x, y, down, wobble, rng)
    patch = cv2.merge([planes[2], planes[1], planes[0]])
    return np.clip(patch, 0, 255).astype(np.uint8), alpha


def _draw_face(
    head: Head, planes: Field, x: Field, y: Field, across: Field, down: Field, oval: Field, wobble: Field
) -> None:
    """Skin, features and light, for the rows given."""
    side = np.abs(across)
    shade, gloss = _light(head, _relief(head, oval, across, side, down))
    planes *= 1 + 0.016 * wobble
    cheeks = _bell(side, 0.55, 0.2) * _bell(down, 0.28, 0.18)
    _mix(planes, head.skin * _rgb(1.0, 0.72, 0.72), cheeks * (0.12 + 0.5 * head.blush))
    _mix(planes, head.skin * _rgb(0.93, 0.74, 0.70), _bell(across, 0, 0.13) * _bell(down, 0.3, 0.1) * 0.35)
    first = int(np.searchsorted(down[:, 0], 0.25))
    _draw_mouth(head, planes[:, first:], across, down[first:])
    if head.beard > 0:
        chin = _ramp(down - 0.42 - 0.25 * _bell(side, 0.45, 0.3) + 0.55 * np.clip(side - 0.55, 0, 1), 5)
        bare = _bell(across, 0, 0.3) * _bell(down, _MOUTH_Y, 0.085)
        hairy = np.clip(chin * (1 - bare) * (0.75 + 0.3 * wobble), 0, 1) * (head.beard * 0.85)
        _mix(planes, head.hair * 0.9, hairy)
    for channel, power in enumerate((0.85, 1.0, 1.08)):
        planes[channel] *= cv2.pow(shade, power)
    planes += gloss
    first, last = np.searchsorted(down[:, 0], (_EYE_Y - 0.45, _EYE_Y + 0.35))
    eyes = slice(int(first), int(last))
    _draw_eyes(head, planes[:, eyes], side, across, down[eyes], shade[eyes])
    if head.glasses:
        _draw_glasses(head, planes[:, eyes], side, down[eyes])


def _relief(head: Head, oval: Field, across: Field, side: Field, down: Field) -> Field:
    """The height of the face above the picture's plane, in half face widths."""
    bridge = _bell(across, 0, 0.1) * (_ramp(down + 0.25, 2.6) * _ramp(0.36 - down, 9) * (0.5 + 0.6 * down))
    tip = _bell(across, 0, 0.13) * _bell(down, 0.3, 0.11)
    wings = _bell(side, 0.15, 0.07) * _bell(down, 0.36, 0.07)
    height = cv2.sqrt(np.clip(oval, 0, None)) * 0.95
    height += head.nose * (0.26 * bridge + 0.26 * tip + 0.12 * wings)
    height -= 0.17 * _bell(side, 0.4, 0.19) * _bell(down, _EYE_Y - 0.02, 0.13)
    height += 0.08 * _bell(side, 0.4, 0.13) * _bell(down, _EYE_Y + 0.01, 0.08)
    height += 0.06 * _bell(side, 0.42, 0.25) * _bell(down, _EYE_Y - 0.26, 0.09)
    height += 0.10 * _bell(side, 0.5, 0.2) * _bell(down, 0.27, 0.16)
    height += 0.07 * _bell(across, 0, 0.27) * _bell(down, _MOUTH_Y + 0.02, 0.11)
    height -= 0.05 * _bell(across, 0, 0.22) * _bell(down, _MOUTH_Y + 0.19, 0.06)
    height += 0.09 * _bell(across, 0, 0.2) * _bell(down, 1.04, 0.13)
    height -= 0.05 * (0.4 + head.smile) * _bell(side, 0.36, 0.05) * _bell(down, 0.5, 0.13)
    return height


def _light(head: Head, height: Field) -> tuple[Field, Field]:
    """Diffuse shade (about 0.35 to 1.06) and gloss (0 to 30) of a relief."""
    scale = _EDGE / 8
    slope_x = np.clip(cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale), -2.2, 2.2)
    slope_y = np.clip(cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale), -2.2, 2.2)
    light = np.array(head.light, np.float32)
    light /= np.linalg.norm(light)
    facing = (light[2] - slope_x * light[0] - slope_y * light[1]) / cv2.sqrt(1 + slope_x**2 + slope_y**2)
    lit = np.clip(facing, 0, 1)
    shade = head.ambient + (1.06 - head.ambient) * lit
    gloss = cv2.pow(lit, 12.0) * (16 + 0.06 * (255 - float(head.skin.mean())))
    return shade, gloss


def _draw_eyes(head: Head, planes: Field, side: Field, across: Field, down: Field, shade: Field) -> None:
    """Sockets, whites, irises, lids, lashes and brows, over the shaded skin."""
    size = head.eye_size
    offset = (side - 0.4) / (0.2 * size)
    lid = np.clip(1 - offset**2, 0, None)
    lift = down - _EYE_Y + 0.02 * offset
    upper = 0.095 * size * head.eye_open * lid
    lower = 0.062 * size * head.eye_open * lid
    eye = _ramp(np.minimum(lift + upper, lower - lift), _EDGE) * (lid > 0)
    _mix(planes, head.skin * 0.36, _bell(side, 0.38, 0.2) * _bell(down, _EYE_Y - 0.04, 0.1) * 0.42)
    white = _rgb(226, 220, 216)[:, None, None] * np.clip(shade, 0.55, 0.95)
    _mix(planes, white, eye)
    gaze = 0.04 * math.sin(head.yaw) * np.sign(across)
    radius = cv2.magnitude(
        np.broadcast_to(side - 0.4 + gaze, eye.shape).copy(),
        np.broadcast_to(down - _EYE_Y + 0.015, eye.shape).copy(),
    )
    _mix(planes, head.iris, _ramp(0.088 * size - radius, _EDGE) * eye)
    _mix(planes, _rgb(12, 10, 10), _ramp(0.045 * size - radius, _EDGE) * eye)
    glint = (side - 0.4 - 0.025 * np.sign(across)) ** 2 + (down - _EYE_Y + 0.045) ** 2
    _mix(planes, _rgb(255, 255, 255), _ramp(0.0005 - glint, 2500) * eye * 0.9)
    _mix(planes, _rgb(28, 20, 18), _bell(lift + upper, 0, 0.022) * (0.95 * (lid > 0.02)))
    _mix(planes, head.skin * 0.45, _bell(lift - lower, 0.012, 0.02) * (0.45 * (lid > 0.02)))
    _mix(planes, head.skin * 0.5, _bell(lift + upper, -0.06, 0.018) * (0.4 * (lid > 0.05)))
    arch = (side - 0.4) / 0.27
    brow_y = _EYE_Y - 0.27 - head.brow_lift + 0.05 * arch**2 - 0.03 * arch
    thickness = 0.034 * head.brow_weight * np.clip(1.15 - 0.45 * arch, 0.45, 1.4)
    brow = _bell((down - brow_y) / thickness, 0, 1) * _ramp(1 - np.abs(arch), 6)
    _mix(planes, np.minimum(head.hair * 0.75, 110), brow * (0.95 * min(head.brow_weight + 0.1, 1)))


def _draw_glasses(head: Head, planes: Field, side: Field, down: Field) -> None:
    """Round frames with clear or dark lenses."""
    ring = cv2.sqrt(((side - 0.41) / 0.3) ** 2 + ((down - _EYE_Y - 0.03) / 0.24) ** 2)
    lens = _ramp(1 - ring, 8)
    if head.glasses == "dark":
        _mix(planes, _rgb(22, 20, 24), lens * (0.96 - 0.2 * _bell(down, _EYE_Y - 0.1, 0.06)))
    else:
        _mix(planes, _rgb(215, 225, 235), lens * 0.07)
    frame = _ramp(0.028 - np.abs(ring - 1) * 0.27, _EDGE)
    joint = _ramp(0.022 - np.abs(down - _EYE_Y + 0.03), _EDGE) * ((side < 0.13) | (side > 0.7))
    _mix(planes, _rgb(30, 24, 24), np.clip(frame + joint, 0, 1) * 0.92)


def _draw_mouth(head: Head, planes: Field, across: Field, down: Field) -> None:
    """Lips, the line between them, teeth when the mouth is open, and nostrils."""
    half = 0.31 + 0.07 * head.smile
    along = across / half
    inside = np.clip(1 - along**2, 0, None)
    curve = down - _MOUTH_Y + 0.09 * head.smile * along**2 - 0.03 * head.smile
    gap = 0.07 * head.mouth_open * inside
    upper = curve + gap * 0.5 + 0.075 * head.lips * np.sqrt(inside) * (1 - 0.25 * _bell(across, 0, 0.05))
    lower = gap + 0.1 * head.lips * np.sqrt(inside) - curve
    natural = head.skin * _rgb(0.82, 0.56, 0.56)
    lip = natural + head.lipstick * (_rgb(176, 34, 54) - natural)
    _mix(planes, lip, _ramp(np.minimum(upper, lower), _EDGE * 0.5) * (0.9 * (inside > 0)))
    if head.mouth_open > 0:
        opening = np.minimum(curve + gap * 0.5, gap - curve)
        _mix(planes, _rgb(70, 26, 28), _ramp(opening, _EDGE) * (inside > 0))
        teeth = np.minimum(curve + gap * 0.5, gap * 0.55 - curve)
        _mix(planes, _rgb(240, 236, 228), _ramp(teeth, _EDGE) * (inside > 0.06))
    else:
        _mix(planes, lip * 0.35, _bell(curve, 0, 0.016) * (np.sqrt(inside) * 0.85))
    _mix(planes, head.skin * 0.25, _bell(np.abs(across), 0.085, 0.03) * _bell(down, 0.395, 0.022) * 0.8)
    _mix(planes, head.skin * 0.62, _bell(across, 0, 0.17) * _bell(down, 0.43, 0.025) * 0.5)


def _draw_neck(head: Head, planes: Field, face: Field, x: Field, y: Field) -> Field:
    """The neck down to a round neckline, in the chin's shadow; returns its outline."""
    neck = np.zeros(planes.shape[1:], np.float32)
    rows = _rows(0.75, 2.2)
    width = 0.56 + 0.5 * np.clip(y[rows] - 1.45, 0, None) ** 1.5
    neck[rows] = _ramp(width - np.abs(x), _EDGE) * _ramp(2.0 - 0.9 * x**2 - y[rows], _EDGE)
    below = _rows(0.5, 2.2)
    side_light = 0.84 + 0.2 * head.light[0] * x - 0.25 * x**2
    under = np.clip(side_light - 0.36 * _bell(y[below], 1.25, 0.24), 0.3, 1.0)
    planes[:, below] *= 1 + (1 - face[below]) * (under - 1)
    return neck


def _draw_ears(head: Head, planes: Field, alpha: Field, x: Field, y: Field) -> Field:
    """Ears, for styles that leave them bare; returns the new outline."""
    rows = _rows(-0.25, 0.4)
    ear = 1 - ((np.abs(x) - 1.0) / 0.13) ** 2 - ((y[rows] - 0.08) / 0.27) ** 2
    outline = _ramp(ear, _EDGE * 0.1) * (1 - alpha[rows]) * (np.sign(x) * head.yaw < 0.16)
    tone = (head.skin * _rgb(0.72, 0.64, 0.62))[:, None, None] * (0.75 + 0.3 * np.clip(ear, 0, 1))
    _mix(planes[:, rows], tone, outline)
    alpha[rows] = np.maximum(alpha[rows], outline)
    return alpha


def _draw_beanie(
    planes: Field, alpha: Field, x: Field, y: Field, down: Field, wobble: Field, rng: np.random.Generator
) -> Field:
    """A knitted hat down to the brows; returns the new outline."""
    colours = [(150, 40, 44), (44, 60, 90), (60, 60, 64), (190, 160, 60), (60, 100, 80), (200, 190, 180)]
    wool = np.array(colours[rng.integers(len(colours))], np.float32)
    rows = _rows(-1.9, -0.2)
    hem = -0.56 + 0.14 * x**2
    cap = 1 - (x / 1.1) ** 2 - ((y[rows] + 0.12) / 1.5) ** 2
    cover = _ramp(cap, _EDGE * 0.4) * _ramp(hem - down[rows], _EDGE)
    turn_up = _ramp(down[rows] - hem + 0.36, _EDGE)
    ribs = 0.9 + 0.12 * np.sin(x * 46) + 0.04 * wobble[rows]
    seam = 1 - 0.3 * _bell(down[rows] - hem, -0.36, 0.025)
    light = ribs * seam * (0.7 + 0.36 * np.sqrt(np.clip(cap, 0, 1)) + 0.08 * turn_up)
    _mix(planes[:, rows], wool[:, None, None] * light, cover)
    alpha[rows] = np.maximum(alpha[rows], cover)
    return alpha


_HAIRLINE = {"long": -0.8, "bob": -0.78, "fringe": -0.47, "bun": -0.84, "curly": -0.7, "short": -0.82,
             "quiff": -0.88, "buzz": -0.86}  # fmt: skip
_VOLUME = {"long": 0.13, "bob": 0.17, "fringe": 0.15, "bun": 0.06, "curly": 0.3, "short": 0.1,
           "quiff": 0.17, "buzz": 0.03}  # fmt: skip
_CURTAIN = {"long": 2.4, "bob": 1.02, "curly": 1.2, "fringe": 1.9}


def _draw_hair(
    head: Head, planes: Field, alpha: Field, face: Field, x: Field, y: Field, down: Field, wobble: Field,
    rng: np.random.Generator,
) -> Field:  # fmt: skip
    """Hair on top, behind and beside the face; returns the new outline."""
    style = head.style
    volume = _VOLUME[style]
    part = float(rng.uniform(-0.4, 0.4))
    rough = {"curly": 0.17, "buzz": 0.01}.get(style, 0.03)
    cap = 1 - (x / (1 + volume)) ** 2 - ((y + volume * 0.5) / (1.38 + volume * 0.7)) ** 2 + rough * wobble
    sweep = np.abs(x - part * 0.5)
    hairline = _HAIRLINE[style] + (0.34 if style not in LONG_STYLES else 0.62) * sweep**3 + 0.02 * wobble
    if style == "quiff":
        hairline = hairline - 0.12 * x * math.copysign(1.0, part)
    on_top = _ramp(hairline - down, _EDGE * (0.35 if style != "buzz" else 0.08))
    cover = _ramp(cap, _EDGE * 0.45) * on_top
    if style not in LONG_STYLES:
        cover *= np.maximum(_ramp(1.03 - np.abs(x), _EDGE * 0.5), _ramp(-0.62 - y, 5))
    if style in LONG_STYLES:
        end = _CURTAIN[style]
        outer = (
            1 + volume + 0.16 * _ramp(y - 0.2, 0.9) - 0.12 * _ramp(y - end + 0.2, 2.5) + 0.5 * rough * wobble
        )
        inner = 0.93 - 0.1 * _ramp(y + 0.1, 1.2) + 0.16 * _ramp(y - 0.55, 1.6) + 0.02 * wobble
        curtain = _ramp(outer - np.abs(x), _EDGE * 0.6) * _ramp(end - y + 0.06 * wobble, _EDGE * 0.3)
        curtain *= _ramp(y + 0.55, 3)
        behind = curtain * (1 - alpha)  # what the face does not hide
        beside = curtain * _ramp(np.abs(x) - inner, _EDGE * 0.4)
        cover = np.maximum(cover, np.maximum(behind, beside))
        depth = 1 - 0.5 * behind * _ramp(1.05 - np.abs(x), 4)
    else:
        depth = np.ones_like(cover)
    if style == "bun":
        knot = 1 - ((x - part * 0.3) / 0.44) ** 2 - ((y + 1.5) / 0.3) ** 2
        cover = np.maximum(cover, _ramp(knot + 0.05 * wobble, _EDGE * 0.3))
    flow = cv2.phase(
        np.broadcast_to(x - part, cover.shape).copy(), np.broadcast_to(y + 1.55, cover.shape).copy()
    )
    if style == "curly":
        texture = 0.9 * wobble + 0.3 * strands(0.02 * flow + 0.012 * wobble)
    else:
        texture = strands(0.018 * flow + 0.0007 * wobble)
    shine = _bell(cap, 0.3, 0.12) * _bell(x, head.light[0], 0.6) + 0.3 * _bell(x, 1.2 * head.light[0], 0.25)
    body = (0.66 + 0.36 * np.sqrt(np.clip(cap, 0, 1)) + 0.13 * texture) * depth
    tone = head.hair[:, None, None] * body + 26 * shine * depth * (1 + 0.5 * texture)
    brow_shadow = np.clip(_ramp(hairline + 0.1 - down, 7) - on_top, 0, 1) * face
    _mix(planes, head.skin * 0.4, brow_shadow * 0.3)
    _mix(planes, tone, cover * (0.8 if style == "buzz" else 1.0))
    outline: Field = np.maximum(alpha, cover)
    return outline
