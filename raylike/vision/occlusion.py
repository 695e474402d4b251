"""What a score depends on in a photo: cover a patch, or cut another part, and score again.

Occlusion after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014: it needs
nothing of a model but its scores. Knows pixels and a function that scores them. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Pictures (n, side, side, 3), RGB -> their scores (n,)."""

STEPS = 6
"""Places of the patch along each side; it is two places wide, so that neighbours overlap by half."""
WINDOW = 0.7
"""Side of a part, as a share of the square's."""
PARTS = {
    "closer": (0.5, 0.5),
    "upper left": (0.0, 0.0),
    "upper right": (1.0, 0.0),
    "lower left": (0.0, 1.0),
    "lower right": (1.0, 1.0),
}
"""Name of a part -> where it lies, 0 to 1 from left to right and from top to bottom."""


def covered(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The square (side, side, 3) with a patch of its mean colour at each place, row by row.

    Returns
    -------
    uint8 array of shape (STEPS * STEPS, side, side, 3)
    """
    side = len(square)
    edges = np.linspace(0, side, STEPS + 2).round().astype(int)
    pictures = np.repeat(square[None], STEPS * STEPS, axis=0)
    colour = square.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    for row in range(STEPS):
        for column in range(STEPS):
            patch = pictures[row * STEPS + column]
            patch[edges[row] : edges[row + 2], edges[column] : edges[column + 2]] = colour
    return pictures


def parts(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The parts of the square that `PARTS` names, each at the square's size: (len(PARTS), side, side, 3)."""
    side = len(square)
    window = max(1, round(WINDOW * side))
    pictures = []
    for across, down in PARTS.values():
        left, top = round(across * (side - window)), round(down * (side - window))
        part = square[top : top + window, left : left + window]
        pictures.append(cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR))
    return np.asarray(pictures, np.uint8)


def changes(score: Score, square: NDArray[np.uint8]) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Scores of the covered square (STEPS, STEPS), and of its parts by name, less that of the square itself.

    Below 0: what was covered or cut away had raised the score.
    """
    scores = score(np.concatenate([square[None], covered(square), parts(square)]))
    patches, cut = np.split(scores[1:] - scores[0], [STEPS * STEPS])
    return patches.reshape(STEPS, STEPS), dict(zip(PARTS, cut.tolist(), strict=True))
