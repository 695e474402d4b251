"""Noise that photos are made of, computed once a process: clouds, strands and grain.

Tiles repeat, so any crop of any size can be cut from them. Knows arithmetic only.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""A picture: uint8, (height, width, 3), blue-green-red as OpenCV writes it."""
Field = NDArray[Any]
"""A plane of numbers: float32, (height, width). The types of numpy and OpenCV lose the 32 on the way."""

_TILE_PX = 512
_GRAIN_PX = 768


def _smooth(values: NDArray[Any], sigma: float) -> Field:
    pad = int(4 * sigma) + 1
    wrapped = np.pad(values, pad, mode="wrap").astype(np.float32)
    return cv2.GaussianBlur(wrapped, (0, 0), sigma)[pad:-pad, pad:-pad]


@cache
def _octaves() -> tuple[Field, ...]:
    """Smooth noise of SD 1 at six scales, coarse to fine, (512, 512) each."""
    rng = np.random.default_rng(11)
    layers = []
    for sigma in (32.0, 16.0, 8.0, 4.0, 2.0, 1.0):
        layer = _smooth(rng.standard_normal((_TILE_PX, _TILE_PX)), sigma)
        layers.append(layer / layer.std())
    return tuple(layers)


@cache
def cloud_tile(detail: float = 0.6) -> Field:
    """Fractal noise of mean 0 and SD 1, 512 px wide and laid twice each way: (1024, 1024).

    `detail` in (0, 1) weighs the fine octaves.
    """
    total = np.zeros((_TILE_PX, _TILE_PX), np.float32)
    for octave, layer in enumerate(_octaves()):
        total += layer * detail**octave
    total -= total.mean()
    tile: Field = np.tile(total / total.std(), (2, 2)).astype(np.float32)
    return tile


@cache
def grain_tile(size: float) -> Image:
    """Film grain around 128 with SD 20 and a little colour, (768, 768, 3); `size` is its blur in px."""
    rng = np.random.default_rng(12)
    luma = _smooth(rng.standard_normal((_GRAIN_PX, _GRAIN_PX)), size)
    grain = np.empty((_GRAIN_PX, _GRAIN_PX, 3), np.float32)
    for channel in range(3):
        chroma = _smooth(rng.standard_normal((_GRAIN_PX, _GRAIN_PX)), 2 * size)
        grain[..., channel] = luma / luma.std() + 0.35 * chroma / chroma.std()
    return np.clip(128 + 19 * grain, 0, 255).astype(np.uint8)


@cache
def strand_line() -> Field:
    """One-dimensional noise for hair, fur and wood, (4096,), mean 0 and SD 1, periodic."""
    rng = np.random.default_rng(13)
    line = np.zeros(4096, np.float32)
    for width, weight in ((2, 1.0), (7, 0.8), (30, 0.6)):
        kernel = np.hanning(2 * width + 3)
        white = np.pad(rng.standard_normal(4096), width + 1, mode="wrap")
        layer = np.convolve(white, kernel / kernel.sum(), mode="valid")
        line += (weight * layer / layer.std()).astype(np.float32)
    standard: Field = ((line - line.mean()) / line.std()).astype(np.float32)
    return standard


def clouds(rng: np.random.Generator, height: int, width: int, detail: float = 0.6) -> Field:
    """A random crop of fractal noise, (height, width), each <= 512; a view, not to be written to."""
    y, x = rng.integers(0, _TILE_PX, 2)
    crop: Field = cloud_tile(detail)[y : y + height, x : x + width]
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def strands(phase: Field) -> Field:
    """Noise that varies along `phase` only: equal phases share a strand; one period is 1."""
    line = strand_line()
    at_phase: Field = line[(phase * line.size).astype(np.int32) & (line.size - 1)]
    return at_phase


def add_grain(photo: Image, rng: np.random.Generator, strength: float, size: float) -> Image:
    """`photo` with grain of SD `strength` (of 255)."""
    height, width = photo.shape[:2]
    y = int(rng.integers(0, _GRAIN_PX - height + 1))
    x = int(rng.integers(0, _GRAIN_PX - width + 1))
    tile = grain_tile(size)[y : y + height, x : x + width]
    weight = strength / 20
    grainy: Image = cv2.addWeighted(photo, 1.0, tile, weight, -128 * weight)
    return grainy
