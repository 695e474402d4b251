"""Regularised linear models with many rows: all problems of a grid descend together.

A problem is a column: minimise |w|^2 / 2 + C * sum_i loss(signs_i (rows_i, 1) . w) over the rows that it
sees, for w in d + 1 dimensions, the bias last. The method is nonlinear conjugate gradients (Polak and
Ribiere's, restarted where it would turn back; Nocedal and Wright, "Numerical Optimization", 2006, section
5.2) with a line search to where the slope is nearly gone. Two things make it fast:

- every product with the rows serves all problems at once: for 60 problems the rows are read from memory
  twice a step. They are read in order, a block at a time, and may lie in a mapped file larger than memory;
- the problems share their rows, and so nearly their curvature. One Gram matrix, with the ridge that belongs
  to C, preconditions them all: a step is about as long as Newton's, and costs no more than one down the
  gradient. Seven steps solve 12 C x 5 folds on 35,000 rows of 4,096.

Where the classes can nearly be separated, few rows have a say once C is large, and the common Gram matrix
says little of them: such problems are not done within any bearable number of steps, and the caller has to
solve them otherwise.

Knows arrays. The problems themselves are stated in `linear.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import ssyrk

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

GAP_TOLERANCE = 1e-6
"""A problem is done when what a Newton step still promises is this small a share of its objective."""
MAX_STEPS = 300
SLOPE_LEFT = 0.1
"""A line search ends where this share of the slope at its start is left."""
MAX_TRIALS = 20
SHORTEST_STRIDE, LONGEST_STRIDE = 1.1, 4.0
"""By which factors a line search goes on at once while it still falls."""
BLOCK_ELEMENTS = 2**24
"""Numbers of `rows` that a product takes at once: 64 MiB."""
RIDGE_RATIO = 12.0
"""Ridges at most so far apart share a factor, at the mean of their logarithms."""
RIDGE_FLOOR = 1e-7
"""The least ridge, as a share of the Gram matrix's trace: below it float32 holds no factor."""


@dataclass(frozen=True)
class Loss:
    """A convex loss of the margin: its value and slope, elementwise, and its curvature at a margin of 0."""

    value: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    curvature: float


def _squared_hinge(margins: Floats) -> Floats:
    value: Floats = np.square(np.minimum(margins - 1, 0))
    return value


def _squared_hinge_slope(margins: Floats) -> Floats:
    slope = margins - 1
    np.minimum(slope, 0, out=slope)
    slope *= 2
    return slope


def _logistic(margins: Floats) -> Floats:
    value: Floats = np.logaddexp(np.float32(0), -margins)
    return value


def _logistic_slope(margins: Floats) -> Floats:
    slope = margins * np.float32(0.5)
    np.tanh(slope, out=slope)
    slope -= 1
    slope *= 0.5
    return slope


SQUARED_HINGE = Loss(_squared_hinge, _squared_hinge_slope, curvature=2.0)
LOGISTIC = Loss(_logistic, _logistic_slope, curvature=0.25)


def minimise(
    rows: Floats,
    signs: Floats,
    c_values: Sequence[float],
    included: NDArray[np.bool_],
    loss: Loss,
    gram: Floats | None = None,
    steps: int = MAX_STEPS,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Solve for each C and each choice of rows.

    Parameters
    ----------
    rows : float32 array of shape (n, d); read in blocks, not copied
    signs : -1 or 1, shape (n,)
    c_values : shape (k,)
    included : bool array of shape (n, f): which rows a problem is fitted to
    loss : of a row's margin
    gram : `gram_of` these rows, where several grids share it
    steps : at most

    Returns
    -------
    float32 array of shape (k, f, d + 1), the bias last; and which problems are done, (k, f)
    """
    used = np.asarray(included.any(axis=1))
    n_choices = included.shape[1]
    c = np.repeat(np.asarray(c_values, dtype=np.float64), n_choices)
    costs = (np.tile(included, len(c_values)) * c).astype(np.float32)
    descent = Descent(
        rows, signs[:, None], costs, loss,
        weights=np.zeros((rows.shape[1] + 1, c.size), dtype=np.float32), margins=np.zeros_like(costs),
    )  # fmt: skip
    if gram is None:
        gram = gram_of(rows, used)
    counted = included.sum() / (used.sum() * n_choices)
    left = descent.go(Preconditioner.of(gram, 1 / (c * counted * loss.curvature)), steps)
    done = np.ones(c.size, dtype=bool)
    done[left] = False
    shape = (len(c_values), n_choices)
    return np.ascontiguousarray(descent.weights.T).reshape(*shape, -1), done.reshape(shape)


@dataclass
class Descent:
    """Problems as columns, each where it has come to.

    Attributes
    ----------
    rows : (n, d)
    signs : (n, 1)
    costs : C for a row that a problem sees, else 0, (n, p)
    weights : (d + 1, p)
    margins : signs times the rows' decision values, (n, p)
    """

    rows: Floats
    signs: Floats
    costs: Floats
    loss: Loss
    weights: Floats
    margins: Floats

    def go(self, precondition: Preconditioner, steps: int) -> NDArray[np.int64]:
        """Take up to `steps` steps; returns which problems are not done then."""
        going = np.arange(self.costs.shape[1])
        directions, gradients = np.zeros_like(self.weights), np.zeros_like(self.weights)
        promises = np.full(going.size, np.inf)
        for step in range(steps + 1):
            weights, margins, costs = self.weights[:, going], self.margins[:, going], self.costs[:, going]
            gradient = weights + _transposed(self.rows, costs * self.signs * self.loss.slope(margins))
            downhill = precondition(gradient, going)
            promise = _dots(gradient, downhill)
            objective = _squares(weights) / 2 + _dots(costs, self.loss.value(margins))
            left = promise > GAP_TOLERANCE * objective
            going, promise = going[left], promise[left]
            if not going.size or step == steps:
                break
            if not left.all():
                weights, margins, costs = weights[:, left], margins[:, left], costs[:, left]
                gradient, downhill = gradient[:, left], downhill[:, left]
            momentum = np.maximum((promise - _dots(gradients[:, going], downhill)) / promises[going], 0)
            direction = momentum.astype(np.float32) * directions[:, going] - downhill
            slope = _dots(gradient, direction)
            turned = slope >= 0
            direction[:, turned], slope[turned] = -downhill[:, turned], -promise[turned]
            change = self.signs * _forward(self.rows, direction)
            line = Line(_dots(weights, direction), _squares(direction), margins, change, costs, self.loss)
            length = line.search(slope)
            self.weights[:, going] += length * direction
            self.margins[:, going] += length * change
            directions[:, going], gradients[:, going], promises[going] = direction, gradient, promise
        return going


@dataclass(frozen=True)
class Line:
    """The objectives along one direction a column.

    Attributes
    ----------
    at_start : weights times direction, (p,)
    square : of the direction's length, (p,)
    margins, change, costs : at its start; how they change over its length; what they weigh, (n, p)
    """

    at_start: Doubles
    square: Doubles
    margins: Floats
    change: Floats
    costs: Floats
    loss: Loss

    def slope_at(self, length: Doubles) -> Doubles:
        """The slope after a share of the way, (p,)."""
        slope = self.loss.slope(self.margins + length.astype(np.float32) * self.change)
        slope *= self.costs
        return self.at_start + length * self.square + _dots(slope, self.change)

    def search(self, start: Doubles) -> Floats:
        """How far to go, (p,): where at most `SLOPE_LEFT` of the slope `start` (< 0) is left.

        The slope rises along the line, since the objective is convex: its root is first enclosed, then
        found by the Illinois variant of false position (Dowell and Jarratt, BIT 11, 1971).
        """
        length = np.ones_like(start)
        low, low_slope = np.zeros_like(start), start.copy()
        high, high_slope = np.full_like(start, np.inf), np.zeros_like(start)
        for _ in range(MAX_TRIALS):
            slope = self.slope_at(length)
            going = np.abs(slope) > SLOPE_LEFT * -start
            if not going.any():
                break
            falls = slope < 0
            low_slope = np.where(falls, slope, low_slope / 2)
            high_slope = np.where(falls, high_slope / 2, slope)
            low, high = np.where(falls, length, low), np.where(falls, high, length)
            enclosed = np.isfinite(high)
            width = np.where(enclosed, high, 0) - low
            between = low + width * low_slope / np.where(enclosed, low_slope - high_slope, 1)
            to_root = start / np.minimum(start - slope, -np.finfo(np.float64).tiny)
            beyond = length * np.clip(to_root, SHORTEST_STRIDE, LONGEST_STRIDE)
            length = np.where(going, np.where(enclosed, between, beyond), length)
        return length.astype(np.float32)


@dataclass(frozen=True)
class Preconditioner:
    """For each problem about the inverse of its curvature: ridge (ridge I + Gram matrix)^-1.

    Attributes
    ----------
    ridges : of the problems, (p,)
    factors : Cholesky factors of the Gram matrix with a ridge, as `cho_factor` gives them
    factor_of : which is a problem's, (p,); -1 for none: there the ridge exceeds all curvature
    """

    ridges: Floats
    factors: list[tuple[Floats, bool]]
    factor_of: NDArray[np.int64]

    @staticmethod
    def of(gram: Floats, ridges: Doubles) -> Preconditioner:
        """Factor a Gram matrix (d + 1, d + 1), of which only the lower triangle is read, for ridges (p,)."""
        diagonal = np.arange(len(gram))
        trace = float(gram[diagonal, diagonal].sum(dtype=np.float64))
        floored = np.maximum(ridges, RIDGE_FLOOR * trace)
        factor_of = np.full(ridges.size, -1)
        factors = []
        left = floored <= trace
        while left.any():
            largest = floored[left].max()
            sharing = left & (floored * RIDGE_RATIO >= largest)
            system = np.array(gram, order="F")
            system[diagonal, diagonal] += np.float32(np.sqrt(largest * floored[sharing].min()))
            factors.append(cho_factor(system, lower=True, overwrite_a=True, check_finite=False))
            factor_of[sharing] = len(factors) - 1
            left &= ~sharing
        return Preconditioner(ridges.astype(np.float32), factors, factor_of)

    def __call__(self, gradient: Floats, columns: NDArray[np.int64]) -> Floats:
        """Apply to the gradients (d + 1, len(columns)) of some problems."""
        result = gradient.copy()
        for number, factor in enumerate(self.factors):
            mine = np.flatnonzero(self.factor_of[columns] == number)
            if mine.size:
                solved = cho_solve(factor, gradient[:, mine], check_finite=False)
                result[:, mine] = solved * self.ridges[columns[mine]]
        return result


def gram_of(rows: Floats, included: NDArray[np.bool_]) -> Floats:
    """Sum of x x' over the included rows x = (rows_i, 1): (d + 1, d + 1), only the lower triangle filled."""
    d = rows.shape[1]
    inner = np.zeros((d, d), dtype=np.float32, order="F")
    gram = np.zeros((d + 1, d + 1), dtype=np.float32, order="F")
    for block in _blocks(rows):
        used = included[block]
        part = rows[block] if used.all() else rows[block][used]
        inner = ssyrk(1.0, part.T, beta=1.0, c=inner, lower=1, overwrite_c=1)
        gram[d, :d] += part.sum(axis=0)
    gram[:d, :d] = inner
    gram[d, d] = included.sum()
    return gram


def _blocks(rows: Floats) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, len(rows), size):
        yield slice(start, start + size)


def _forward(rows: Floats, weights: Floats) -> Floats:
    product = np.empty((len(rows), weights.shape[1]), dtype=np.float32)
    for block in _blocks(rows):
        np.matmul(rows[block], weights[:-1], out=product[block])
    product += weights[-1]
    return product


def _transposed(rows: Floats, values: Floats) -> Floats:
    product = np.zeros((rows.shape[1] + 1, values.shape[1]), dtype=np.float32)
    for block in _blocks(rows):
        product[:-1] += rows[block].T @ values[block]
    product[-1] = values.sum(axis=0, dtype=np.float64)
    return product


def _dots(first: Floats, second: Floats) -> Doubles:
    dots: Doubles = np.einsum("np,np->p", first, second, dtype=np.float64)
    return dots


def _squares(columns: Floats) -> Doubles:
    return _dots(columns, columns)
