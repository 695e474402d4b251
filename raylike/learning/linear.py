"""Linear models for a whole grid at once: every C on every fold.

The problem is `sklearn.svm.LinearSVC`'s, with its defaults: minimise

    |w|^2 / 2 + C * sum_i max(0, 1 - y_i (x_i, 1) . w)^2

over w in d + 1 dimensions; the last is the bias, regularised like the rest. With another loss it is logistic
regression. The function is convex, with one minimum, so any solver that converges gives the same model. There
are two:

- up to as many rows as features: Newton's method on the Gram matrix of the rows (Chapelle, "Training a
  Support Vector Machine in the Primal", Neural Computation 19, 2007). A step is one Cholesky factor of the
  rows inside the margin, and few are needed, however large C is.
- more rows than features: preconditioned conjugate gradients, all problems as columns of one matrix product.
  The C's that they leave, with up to `SEPARABLE` rows a feature, are solved by Newton's method: there the
  classes can often be separated, and few rows stay inside the margin.

Knows arrays. Knows nothing of photos or of how C is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from raylike.learning import conjugate_gradients
from raylike.learning.conjugate_gradients import LOGISTIC, SQUARED_HINGE, Loss

SEPARABLE = 2.5
"""Rows a feature up to which classes are taken to be separable: random labels are up to 2 (Cover, IEEE
Transactions on Electronic Computers 14, 1965)."""
STEPS_BEFORE_NEWTON = 20
"""Of conjugate gradients; 10 are usual where classes cannot be separated."""
JITTER = 1e-9
"""Added to a Gram matrix's diagonal, as a share of its mean: keeps it positive where rows repeat."""
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
    *,
    loss: Loss = SQUARED_HINGE,
    gram: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Fit one model for each C on each choice of rows.

    Parameters
    ----------
    rows : float32 array of shape (n, d), finite, on the scale of `scaling.py`; not copied if more than d of
        them are in use
    labels : array of shape (n,), 0 or 1; both occur in every choice
    c_values : the C's, ascending for speed
    included : bool array of shape (n, f); column k says which rows problem k is fitted to
    loss : `SQUARED_HINGE` for LinearSVC, `LOGISTIC` for logistic regression
    gram : what `shared_gram` gave for the same rows in use, where several grids share it

    Returns
    -------
    float32 array of shape (len(c_values), f, d + 1); `decide` applies it
    """
    used = np.asarray(included.any(axis=1))
    if _few(rows, used):
        rows, labels, included = rows[used], labels[used], included[used]
        solve = _fit_by_gram if loss is SQUARED_HINGE else _fit_in_span
        return solve(rows, np.where(labels > 0, 1.0, -1.0), c_values, included)
    signs = np.where(labels > 0, np.float32(1), np.float32(-1))
    finish = loss is SQUARED_HINGE and used.sum() <= SEPARABLE * rows.shape[1]
    steps = STEPS_BEFORE_NEWTON if finish else conjugate_gradients.MAX_STEPS
    weights, done = conjugate_gradients.minimise(rows, signs, c_values, included, loss, gram, steps)
    if finish and not done.all():
        hard = np.flatnonzero(~done.all(axis=1))
        part = rows[used], signs[used].astype(np.float64), [c_values[int(j)] for j in hard], included[used]
        weights[hard] = _fit_by_gram(*part, near=weights[hard[0]])
    return weights


def shared_gram(rows: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """What every grid on these rows can share, None if that is not worth it; `used` (n,) marks the rows that
    occur in a choice."""
    return None if _few(rows, used) else conjugate_gradients.gram_of(rows, used)


def _few(rows: NDArray[np.float32], used: NDArray[np.bool_]) -> bool:
    return bool(used.sum() <= rows.shape[1])


def decide(rows: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decision values of rows (n, d) under weights (..., d + 1): an array of shape (..., n)."""
    values: NDArray[np.float32] = weights[..., :-1] @ rows.T + weights[..., -1:]
    return values


def _fit_by_gram(
    rows: NDArray[np.float32],
    signs: NDArray[np.float64],
    c_values: Sequence[float],
    included: NDArray[np.bool_],
    near: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """`near` (f, d + 1) are weights not far from the first C's, and tell the rows about inside the margin."""
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
                guess = None
                if j == 0 and near is not None:
                    guess = signs[chosen] * decide(rows[chosen], near[k]) < 1
                start = _newton(part, signs[chosen], c, start, guess)
                duals[j, chosen] = start
        weights[:, k, :d] = duals @ wide
        weights[:, k, d] = duals.sum(axis=1)
    return weights


def _fit_in_span(
    rows: NDArray[np.float32],
    signs: NDArray[np.float64],
    c_values: Sequence[float],
    included: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Logistic regression on no more rows (n, d) than features, in n dimensions instead of d.

    The weights are a combination of rows: w = rows' a. With the Gram matrix K = L L', decision values are
    K a = L v and |w| = |v| for v = L' a. So the rows of L stand for the rows; the bias is as before.
    """
    wide = rows.astype(np.float64)
    gram = wide @ wide.T
    gram.flat[:: len(gram) + 1] += JITTER * np.trace(gram) / len(gram)
    lower = cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    with threadpool_limits(1 if len(rows) <= ONE_THREAD_UP_TO else None, "blas"):
        found, _ = conjugate_gradients.minimise(
            lower.astype(np.float32), signs.astype(np.float32), c_values, included, LOGISTIC
        )
    weights = np.empty((*found.shape[:2], rows.shape[1] + 1), dtype=np.float32)
    combined = solve_triangular(lower, found[..., :-1].reshape(-1, len(rows)).T, trans="T", lower=True)
    weights[..., :-1] = (combined.T @ wide).reshape(weights[..., :-1].shape)
    weights[..., -1] = found[..., -1]
    return weights


def _newton(
    gram: NDArray[np.float64],
    signs: NDArray[np.float64],
    c: float,
    start: NDArray[np.float64],
    guess: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The minimiser as coefficients (n,) of the rows, from those of a neighbouring C; `guess` may tell the
    rows inside its margin better than these do.

    With the rows inside the margin known, the problem is a ridge regression on them, which one linear
    system solves. The step is that solution, halved while it would not lower the objective; when the
    solution has the same rows inside the margin, it is the minimum.
    """
    dual = start
    values = gram @ dual
    inside = signs * values < 1 if guess is None else guess
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
            its_own = signs * values < 1
            if np.array_equal(its_own, inside):
                return dual  # no lower point in floating point: this is the minimum
            inside = its_own  # the guess led nowhere
            continue
        dual, values, best = new, new_values, reached
        inside = signs * values < 1
    return dual


def _objective(
    dual: NDArray[np.float64], values: NDArray[np.float64], signs: NDArray[np.float64], c: float
) -> float:
    slack = np.maximum(1 - signs * values, 0)
    return float(dual @ values / 2 + c * slack @ slack)
