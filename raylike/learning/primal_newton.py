"""LinearSVC with many rows and a large C, by Newton's method on the weights.

Where classes can nearly be separated, few rows stay inside the margin once C is large, and each problem has
a curvature of its own: I + 2 C X'X over the rows X inside its margin. That sum is kept, and follows these
rows as they change, from step to step and from C to C. A step is then one Cholesky factor of it, of the width
of the features however many rows there are. Sums are in float64, a block of rows at a time: at C = 1e5 what
is left of the slack is lost in float32.

Knows arrays. The problem itself is stated in `linear.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk

from raylike.learning.newton import GAP_TOLERANCE, MAX_STEPS, MIN_STEP

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

BLOCK_ELEMENTS = 2**22
"""Numbers of the rows that are widened to float64 together: 32 MiB."""


class Curvature:
    """Sums over a set of rows x = (rows_i, 1): of x x', and of their signs times x.

    Parameters
    ----------
    rows : float32 array of shape (n, d)
    signs : -1 or 1, shape (n,)
    """

    def __init__(self, rows: Floats, signs: Doubles) -> None:
        self._rows = rows
        self._signs = signs
        self._set, self._gram, self._pull = self._nothing()

    def follow(self, inside: Flags) -> None:
        """Let the set be these rows; a row costs as much to come or go."""
        if (inside ^ self._set).sum() > inside.sum():
            self._set, self._gram, self._pull = self._nothing()
        for factor, changed in ((1.0, inside & ~self._set), (-1.0, self._set & ~inside)):
            for block, part in _wide(self._rows, np.flatnonzero(changed)):
                self._gram = dsyrk(factor, part.T, beta=1.0, c=self._gram, lower=1, overwrite_c=1)
                self._pull += factor * (self._signs[block] @ part)
        self._set = inside

    def ridge_regression(self, ridge: float) -> Doubles:
        """The weights (d + 1,) with which the rows of the set fit their signs."""
        system = self._gram.copy(order="F")
        system[np.diag_indices_from(system)] += ridge
        factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        weights: Doubles = cho_solve(factor, self._pull, check_finite=False)
        return weights

    def _nothing(self) -> tuple[Flags, Doubles, Doubles]:
        n, width = len(self._rows), self._rows.shape[1] + 1
        return np.zeros(n, dtype=bool), np.zeros((width, width), order="F"), np.zeros(width)


def newton(rows: Floats, signs: Doubles, seen: Flags, c: float, start: Doubles, kept: Curvature) -> Doubles:
    """The minimiser, from weights that are not far from it.

    Parameters
    ----------
    rows : float32 array of shape (n, d)
    signs : -1 or 1, (n,)
    seen : which rows the problem sees, (n,)
    start : (d + 1,), the bias last
    kept : of the same rows and signs; what it holds of a neighbouring problem saves time

    Returns
    -------
    float64 array of shape (d + 1,)
    """
    weights = start
    margins = signs * _forward(rows, weights)
    best = _objective(weights, margins, seen, c)
    inside = seen & (margins < 1)
    for _ in range(MAX_STEPS):
        kept.follow(inside)
        target = kept.ridge_regression(1 / (2 * c))
        target_margins = signs * _forward(rows, target)
        target_inside = seen & (target_margins < 1)
        done = np.array_equal(target_inside, inside)
        if done or _gap(rows, signs, target, target_margins, target_inside, c) <= (
            GAP_TOLERANCE * _objective(target, target_margins, seen, c)
        ):
            return target
        step = 1.0
        while step > MIN_STEP:
            new, new_margins = (
                old + step * (to - old) for old, to in ((weights, target), (margins, target_margins))
            )
            reached = _objective(new, new_margins, seen, c)
            if reached < best:
                break
            step /= 2
        else:
            return weights  # no lower point in floating point: this is the minimum
        weights, margins, best = new, new_margins, reached
        inside = seen & (margins < 1)
    return weights


def _objective(weights: Doubles, margins: Doubles, seen: Flags, c: float) -> float:
    slack = np.where(seen, np.maximum(1 - margins, 0), 0)
    return float(weights @ weights / 2 + c * slack @ slack)


def _gap(rows: Floats, signs: Doubles, weights: Doubles, margins: Doubles, inside: Flags, c: float) -> float:
    """By how much the objective exceeds the dual problem's at coefficients 2 C slack: half the squared length
    of what the weights differ by from the combination of rows with these coefficients."""
    left = weights.copy()
    coefficients = np.where(inside, 2 * c * (1 - margins) * signs, 0)
    for block, part in _wide(rows, np.flatnonzero(inside)):
        left -= coefficients[block] @ part
    return float(left @ left / 2)


def _forward(rows: Floats, weights: Doubles) -> Doubles:
    values = np.empty(len(rows))
    for block, part in _wide(rows, np.arange(len(rows))):
        values[block] = part @ weights
    return values


def _wide(rows: Floats, which: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Doubles]]:
    """Some rows (rows_i, 1) in float64, a block at a time, and which they are."""
    size = max(1, BLOCK_ELEMENTS // rows.shape[1])
    for first in range(0, which.size, size):
        block = which[first : first + size]
        part = np.ones((block.size, rows.shape[1] + 1))
        part[:, :-1] = rows[block]
        yield block, part
