"""LinearSVC on the Gram matrix of its rows, by Newton's method: for few rows, or where C is large.

Chapelle, "Training a Support Vector Machine in the Primal", Neural Computation 19, 2007. With the rows inside
the margin known, the problem is a ridge regression on them: a step is one Cholesky factor of these rows, and
few are needed, however large C is. What is found has a dual bound, so that its distance from the minimum is
known: the last steps, which let a row or two pass the margin, are saved.

Knows arrays. The problem itself is stated in `linear.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Doubles = NDArray[np.float64]

GAP_TOLERANCE = 1e-5
"""A problem is done when its objective exceeds a lower bound by at most this share of it."""
MAX_STEPS = 100
"""For one problem; 1 to 4 are usual."""
MIN_STEP = 1e-6
"""A step cut to this share is noise."""


def newton(
    gram: Doubles,
    signs: Doubles,
    c: float,
    start: Doubles,
    guess: NDArray[np.bool_] | None = None,
) -> Doubles:
    """The minimiser as coefficients of the rows.

    Parameters
    ----------
    gram : of all rows with themselves, the bias's share added, (n, n)
    signs : -1 or 1; 0 for a row that the problem does not see, (n,)
    start : coefficients of a neighbouring C, (n,)
    guess : may tell the rows inside the margin better than these do, (n,)

    Returns
    -------
    float64 array of shape (n,); 0 for rows that are not seen
    """
    dual = start
    values = gram @ dual
    seen = signs != 0
    inside = seen & (signs * values < 1) if guess is None else guess
    best = _objective(dual, values, signs, c)
    for _ in range(MAX_STEPS):
        target = _ridge_regression(gram, signs, inside, 1 / (2 * c))
        target_values = gram @ target
        target_inside = seen & (signs * target_values < 1)
        at_target = _objective(target, target_values, signs, c)
        if np.array_equal(target_inside, inside) or _gap(gram, target, target_values, signs, c) <= (
            GAP_TOLERANCE * at_target
        ):
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
            its_own = seen & (signs * values < 1)
            if np.array_equal(its_own, inside):
                return dual  # no lower point in floating point: this is the minimum
            inside = its_own  # the guess led nowhere
            continue
        dual, values, best = new, new_values, reached
        inside = seen & (signs * values < 1)
    return dual


def _ridge_regression(gram: Doubles, signs: Doubles, inside: NDArray[np.bool_], ridge: float) -> Doubles:
    """Coefficients (n,) with which the rows inside the margin fit their signs."""
    active = np.flatnonzero(inside)
    system = gram[np.ix_(active, active)]
    system.flat[:: active.size + 1] += ridge
    factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
    dual = np.zeros_like(signs)
    dual[active] = cho_solve(factor, signs[active], check_finite=False)
    return dual


def _objective(dual: Doubles, values: Doubles, signs: Doubles, c: float) -> float:
    slack = np.where(signs != 0, np.maximum(1 - signs * values, 0), 0)
    return float(dual @ values / 2 + c * slack @ slack)


def _gap(gram: Doubles, dual: Doubles, values: Doubles, signs: Doubles, c: float) -> float:
    """By how much the objective exceeds a bound: that of the dual problem, whose coefficients have their
    row's sign."""
    bound = np.where(signs * dual > 0, dual, 0)
    bound_values = values if np.array_equal(bound, dual) else values + gram @ (bound - dual)
    below = float(np.abs(bound).sum() - bound @ bound_values / 2 - bound @ bound / (4 * c))
    return _objective(dual, values, signs, c) - below
