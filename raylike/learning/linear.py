"""Linear SVMs for a whole grid at once: every C on every fold.

The problem is `sklearn.svm.LinearSVC`'s, with its defaults: minimise

    |w|^2 / 2 + C * sum_i max(0, 1 - y_i (x_i, 1) . w)^2

over w in d + 1 dimensions; the last is the bias, regularised like the rest. The function is convex,
with one minimum, so any solver that converges gives the same model. Here there are two:

- up to as many rows as features: Newton's method on the Gram matrix (Chapelle, "Training a Support
  Vector Machine in the Primal", Neural Computation 19, 2007). A step is one Cholesky factor of the
  rows inside the margin, and few are needed, however large C is: separable data and C = 1e5 cost
  conjugate gradients thousands of iterations, measured 8 times the time on 1,050 x 4,096.
- more rows than features: truncated Newton (Lin, Weng and Keerthi, JMLR 9, 2008), all problems as
  columns of one matrix product.

Knows arrays. Knows nothing of photos or of how C is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from raylike.learning.truncated_newton import minimise

MAX_STEPS = 100
"""Newton steps for one problem; 2 to 5 are usual."""
MIN_STEP = 1e-6
"""A Newton step cut to this share is noise."""
ONE_THREAD_UP_TO = 1500
"""Rows up to which one BLAS thread factors faster than two: 0.9 s against 2.7 s for a grid on 840 rows,
measured on two shared cores."""


def fit_grid(
    rows: NDArray[np.float32],
    labels: NDArray[np.int8],
    c_values: Sequence[float],
    included: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Fit one SVM for each C on each choice of rows.

    Parameters
    ----------
    rows : float32 array of shape (n, d), finite, on the scale of `scaling.py`
    labels : array of shape (n,), 0 or 1; both occur in every choice
    c_values : the C's, ascending for speed
    included : bool array of shape (n, f); column k says which rows problem k is fitted to

    Returns
    -------
    float32 array of shape (len(c_values), f, d + 1); `decide` applies it
    """
    signs = np.where(labels > 0, 1.0, -1.0)
    n, d = rows.shape
    if n <= d:
        return _fit_by_gram(rows, signs, c_values, included)
    costs = np.concatenate([c * included for c in c_values], axis=1).astype(np.float32)
    weights = minimise(rows, signs.astype(np.float32), costs)
    return weights.T.reshape(len(c_values), included.shape[1], d + 1)


def decide(rows: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decision values of rows (n, d) under weights (..., d + 1): an array of shape (..., n)."""
    values: NDArray[np.float32] = weights[..., :-1] @ rows.T + weights[..., -1:]
    return values


def _fit_by_gram(
    rows: NDArray[np.float32],
    signs: NDArray[np.float64],
    c_values: Sequence[float],
    included: NDArray[np.bool_],
) -> NDArray[np.float32]:
    wide = rows.astype(np.float64)
    gram = wide @ wide.T + 1.0  # the bias column's share
    n, d = rows.shape
    weights = np.empty((len(c_values), included.shape[1], d + 1), dtype=np.float32)
    for k in range(included.shape[1]):
        chosen = np.flatnonzero(included[:, k])
        part = gram[np.ix_(chosen, chosen)]
        duals = np.zeros((len(c_values), n))
        start = np.zeros(chosen.size)
        with threadpool_limits(1 if chosen.size <= ONE_THREAD_UP_TO else None, "blas"):
            for j, c in enumerate(c_values):
                start = _newton(part, signs[chosen], c, start)
                duals[j, chosen] = start
        weights[:, k, :d] = duals @ wide
        weights[:, k, d] = duals.sum(axis=1)
    return weights


def _newton(
    gram: NDArray[np.float64], signs: NDArray[np.float64], c: float, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The minimiser as coefficients (n,) of the rows, from those of a neighbouring C.

    With the rows inside the margin known, the problem is a ridge regression on them, which one linear
    system solves. The step is that solution, halved while it would not lower the objective; when the
    solution has the same rows inside the margin, it is the minimum.
    """
    dual = start
    values = gram @ dual
    inside = signs * values < 1
    best = _objective(dual, values, signs, c)
    for _ in range(MAX_STEPS):
        active = np.flatnonzero(inside)
        system = gram[np.ix_(active, active)]
        system.flat[:: active.size + 1] += 1 / (2 * c)
        factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
        target = np.zeros_like(dual)
        target[active] = cho_solve(factor, signs[active], check_finite=False)
        target_values = gram @ target
        target_inside = signs * target_values < 1
        if np.array_equal(target_inside, inside):
            return target
        step = 1.0
        while step > MIN_STEP:
            new = dual + step * (target - dual)
            new_values = values + step * (target_values - values)
            reached = _objective(new, new_values, signs, c)
            if reached < best:
                break
            step /= 2
        else:
            return dual  # no lower point in floating point: this is the minimum
        dual, values, best = new, new_values, reached
        inside = signs * values < 1
    return dual


def _objective(
    dual: NDArray[np.float64], values: NDArray[np.float64], signs: NDArray[np.float64], c: float
) -> float:
    slack = np.maximum(1 - signs * values, 0)
    return float(dual @ values / 2 + c * slack @ slack)
