"""Which parts of a photo raised and lowered its score, in words and percentile points.

Patches are covered one after the other (`vision/occlusion.py`); what the percentile loses is what the part
had brought. Parts that overlap are told once. Knows numbers and boxes. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raylike.scoring.results import Box, Explanation, FoundFace, Influence
from raylike.scoring.windows import held

TOLD = 2
"""Parts named in each direction."""
LEAST_POINTS = 1.0
"""Percentile points below which a part is not worth naming."""
ON_A_FACE = 0.5
"""Share of a face's area under the patch from which the part is called a face."""
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")


def explained(heat: NDArray[np.float64], seen: Box, faces: Sequence[FoundFace]) -> Explanation:
    """Name the strongest parts.

    Parameters
    ----------
    heat : percentile points lost where a patch is covered, (steps, steps); a patch is two steps wide
    seen : the square that was covered, px of the photo
    """
    return Explanation(
        tuple(_strongest(heat, seen, faces)),
        tuple(Influence(part.where, part.box, -part.points) for part in _strongest(-heat, seen, faces)),
        heat,
    )


def _strongest(points: NDArray[np.float64], seen: Box, faces: Sequence[FoundFace]) -> Iterator[Influence]:
    taken: list[tuple[int, int]] = []
    for place in np.argsort(-points, axis=None, kind="stable").tolist():
        row, column = divmod(place, points.shape[1])
        if len(taken) == TOLD or points[row, column] < LEAST_POINTS:
            return
        if all(max(abs(row - other), abs(column - across)) >= 2 for other, across in taken):
            taken.append((row, column))
            box = _patch(seen, len(points), row, column)
            yield Influence(_name(box, seen, faces), box, float(points[row, column]))


def _patch(seen: Box, steps: int, row: int, column: int) -> Box:
    edges = np.linspace(0, seen.width, steps + 2).round().astype(int)
    left, right = int(edges[column]), int(edges[column + 2])
    top, bottom = int(edges[row]), int(edges[row + 2])
    return Box(seen.x + left, seen.y + top, right - left, bottom - top)


def _name(patch: Box, seen: Box, faces: Sequence[FoundFace]) -> str:
    if any(held(face.box, patch) >= ON_A_FACE for face in faces):
        return "a face"
    row = ROWS[_third(patch.y + patch.height / 2 - seen.y, seen.height)]
    column = COLUMNS[_third(patch.x + patch.width / 2 - seen.x, seen.width)]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def _third(at: float, extent: int) -> int:
    return min(2, int(3 * at / max(1, extent)))
