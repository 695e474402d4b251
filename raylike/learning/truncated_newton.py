"""Squared-hinge SVMs with many rows: truncated Newton, all problems as columns of one matrix product.

Each Newton step asks conjugate gradients for a rough solution of the generalised Hessian's system and
then searches along it. Every product with the rows serves all problems at once, which is what makes a
grid cheap: on two cores the matrix is read from memory once for 60 problems instead of 60 times.

Knows arrays. The problem itself is stated in `linear.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GRADIENT_TOLERANCE = 1e-3
"""A problem is done when its gradient is this much shorter than its weights (the regulariser's part)."""
FORCING = 0.1
"""Conjugate gradients stop at this share of the gradient: Lin, Weng and Keerthi (2008) use the same."""
MAX_STEPS = 60
MAX_INNER = 200
SUFFICIENT = 1e-4
"""Armijo's constant: the share of the promised decrease that a step must bring."""
MAX_HALVINGS = 20


def minimise(rows: Floats, signs: Floats, costs: Floats) -> Floats:
    """Minimise |w|^2 / 2 + sum_i costs_i max(0, 1 - signs_i (rows_i, 1) . w)^2 for each column of costs.

    Parameters
    ----------
    rows : float32 array of shape (n, d)
    signs : -1 or 1, shape (n,)
    costs : shape (n, p): C for a row that a problem is fitted to, 0 for one that it does not see

    Returns
    -------
    float32 array of shape (d + 1, p), one column a problem, the bias last
    """
    signs_N1 = signs[:, None]
    weights = np.zeros((rows.shape[1] + 1, costs.shape[1]), dtype=np.float32)
    margins = np.zeros_like(costs)
    for _ in range(MAX_STEPS):
        slack = np.maximum(1 - margins, 0)
        gradient = weights - 2 * _transposed(rows, costs * slack * signs_N1)
        short = _norms(gradient) <= GRADIENT_TOLERANCE * np.maximum(
            _norms(weights), np.finfo(np.float32).tiny
        )
        todo = np.flatnonzero(~short)
        if not todo.size:
            break
        cost, slope_of = costs[:, todo], gradient[:, todo]
        step = _solve(rows, 2 * cost * (margins[:, todo] < 1), -slope_of)
        change = signs_N1 * _forward(rows, step)
        length = _search(weights[:, todo], step, margins[:, todo], change, cost, slope_of)
        weights[:, todo] += length * step
        margins[:, todo] += length * change
    return weights


def _solve(rows: Floats, curvature: Floats, target: Floats) -> Floats:
    """Conjugate gradients on (I + rows' diag(curvature) rows) s = target, a column a problem."""
    solution = np.zeros_like(target)
    residual = target.copy()
    direction = residual.copy()
    square = _squares(residual)
    enough = FORCING**2 * square
    for _ in range(MAX_INNER):
        image = direction + _transposed(rows, curvature * _forward(rows, direction))
        bend = np.einsum("dp,dp->p", direction, image, dtype=np.float64)
        alpha = np.where(square > enough, square / np.maximum(bend, np.finfo(np.float64).tiny), 0.0)
        solution += alpha.astype(np.float32) * direction
        residual -= alpha.astype(np.float32) * image
        new_square = _squares(residual)
        if (new_square <= enough).all():
            break
        beta = new_square / np.maximum(square, np.finfo(np.float64).tiny)
        direction = residual + beta.astype(np.float32) * direction
        square = new_square
    return solution


def _search(
    weights: Floats, step: Floats, margins: Floats, change: Floats, cost: Floats, gradient: Floats
) -> Floats:
    """Halve each column's step until it brings a fair part of the decrease that the gradient promises."""
    length = np.ones(weights.shape[1], dtype=np.float32)
    before = _objectives(weights, margins, cost)
    promised = SUFFICIENT * np.einsum("dp,dp->p", gradient, step, dtype=np.float64)
    for _ in range(MAX_HALVINGS):
        after = _objectives(weights + length * step, margins + length * change, cost)
        too_long = after > before + length * promised
        if not too_long.any():
            break
        length[too_long] /= 2
    return length


def _objectives(weights: Floats, margins: Floats, cost: Floats) -> NDArray[np.float64]:
    slack = np.maximum(1 - margins, 0)
    loss = np.einsum("np,np,np->p", cost, slack, slack, dtype=np.float64)
    total: NDArray[np.float64] = _squares(weights) / 2 + loss
    return total


def _forward(rows: Floats, weights: Floats) -> Floats:
    product: Floats = rows @ weights[:-1] + weights[-1]
    return product


def _transposed(rows: Floats, values: Floats) -> Floats:
    product: Floats = np.vstack([rows.T @ values, values.sum(axis=0)])
    return product


def _squares(columns: Floats) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.einsum("dp,dp->p", columns, columns, dtype=np.float64)
    return total


def _norms(columns: Floats) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(_squares(columns))
    return norms
