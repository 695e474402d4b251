"""Linear models for a whole grid at once: every C on every fold.

The problem is `sklearn.svm.LinearSVC`'s, with its defaults: minimise

    |w|^2 / 2 + C * sum_i max(0, 1 - y_i (x_i, 1) . w)^2

over w in d + 1 dimensions; the last is the bias, regularised like the rest. With another loss it is logistic
regression. The function is convex, with one minimum, so any solver that converges gives the same model. There
are three:

- up to as many rows as features: Newton's method on the Gram matrix of the rows (`newton.py`).
- more rows than features: preconditioned conjugate gradients, all problems as columns of one matrix product.
  They leave problems with a large C where the classes can nearly be separated: there few rows stay inside
  the margin, not the same ones in every problem. Newton's method takes these one by one, on the Gram matrix
  of the rows up to `GRAM_UP_TO` rows a feature, else on the weights (`primal_newton.py`).

Knows arrays. Knows nothing of photos or of how C is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from raylike.learning import blas_threads, conjugate_gradients, primal_newton
from raylike.learning.conjugate_gradients import LOGISTIC, SQUARED_HINGE, Loss
from raylike.learning.newton import newton

GRAM_UP_TO = 2.5
"""Rows a feature up to which the Gram matrix of the rows is the smaller task: it holds n^2 numbers, and a
step costs the cube of the rows inside the margin."""
STEPS_BEFORE_NEWTON = 20
"""Of conjugate gradients; 10 are usual where classes cannot be separated."""
JITTER = 1e-9
"""Added to a Gram matrix's diagonal, as a share of its mean: keeps it positive where rows repeat."""


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
    steps = STEPS_BEFORE_NEWTON if loss is SQUARED_HINGE else conjugate_gradients.MAX_STEPS
    with blas_threads.suited_to(rows):
        weights, done = conjugate_gradients.minimise(rows, signs, c_values, included, loss, gram, steps)
    if loss is SQUARED_HINGE and not done.all():
        if used.sum() <= GRAM_UP_TO * rows.shape[1]:
            hard = np.flatnonzero(~done.all(axis=1))
            part = rows[used], signs[used].astype(np.float64), [c_values[int(j)] for j in hard]
            weights[hard] = _fit_by_gram(*part, included[used], near=weights[hard[0]])
        else:
            _finish(rows, signs.astype(np.float64), c_values, included, weights, done)
    return weights


def _finish(
    rows: NDArray[np.float32],
    signs: NDArray[np.float64],
    c_values: Sequence[float],
    included: NDArray[np.bool_],
    weights: NDArray[np.float32],
    done: NDArray[np.bool_],
) -> None:
    """Solve the problems that are not `done` (k, f), in place of their weights (k, f, d + 1)."""

    def finish(k: int) -> None:
        kept = primal_newton.Curvature(rows, signs)
        near = None
        for j in np.flatnonzero(~done[:, k]):
            start = weights[j, k].astype(np.float64) if near is None else near
            near = primal_newton.newton(rows, signs, included[:, k], c_values[int(j)], start, kept)
            weights[j, k] = near

    _side_by_side(finish, np.flatnonzero(~done.all(axis=0)).tolist(), rows)


def _side_by_side(solve: Callable[[int], None], choices: Sequence[int], rows: NDArray[np.float32]) -> None:
    """Solve for several choices of rows in threads, which share the CPUs.

    Factors made side by side do not wait for each other; the threads of one factor do, and long where other
    work keeps a CPU busy.
    """
    at_once = min(cpu_count(), len(choices))
    with blas_threads.suited_to(rows, at_once), Parallel(at_once, prefer="threads") as parallel:
        parallel(delayed(solve)(k) for k in choices)


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
    gram = wide @ wide.T
    gram += 1.0  # the bias column's share
    n, d = rows.shape
    weights = np.empty((len(c_values), included.shape[1], d + 1), dtype=np.float32)

    def fit(k: int) -> None:
        seen_signs = signs * included[:, k]
        duals = np.zeros((len(c_values), n))
        start = np.zeros(n)
        guess = None if near is None else (seen_signs * decide(rows, near[k]) < 1) & included[:, k]
        for j, c in enumerate(c_values):
            start = duals[j] = newton(gram, seen_signs, c, start, guess)
            guess = None
        weights[:, k, :d] = duals @ wide
        weights[:, k, d] = duals.sum(axis=1)

    _side_by_side(fit, range(included.shape[1]), rows)
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
    with blas_threads.suited_to(rows):
        found, _ = conjugate_gradients.minimise(
            lower.astype(np.float32), signs.astype(np.float32), c_values, included, LOGISTIC
        )
    weights = np.empty((*found.shape[:2], rows.shape[1] + 1), dtype=np.float32)
    combined = solve_triangular(lower, found[..., :-1].reshape(-1, len(rows)).T, trans="T", lower=True)
    weights[..., :-1] = (combined.T @ wide).reshape(weights[..., :-1].shape)
    weights[..., -1] = found[..., -1]
    return weights
