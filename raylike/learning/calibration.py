"""Platt's scaling: from a score of any unit to a probability.

P(good | score) = 1 / (1 + exp(-(slope * score + offset))), fitted to scores that the model gave to
photos it was not trained on. Platt (1999), with the targets and the Newton iteration of Lin, Lin and
Weng, "A Note on Platt's Probabilistic Outputs for Support Vector Machines", Machine Learning 68 (2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100
RIDGE = 1e-12
"""Added to the Hessian's diagonal: keeps it invertible where scores hardly differ."""
GRADIENT_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Platt:
    """A fitted scaling; `unit` is the score's standard deviation and `centre` its mean."""

    slope: float
    offset: float
    centre: float
    unit: float

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of being good, in (0, 1), for scores of any shape."""
        return _logistic(self.slope * (scores - self.centre) / self.unit + self.offset)


def fit_platt(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> Platt:
    """Fit the scaling to out-of-fold scores (n,) and labels (n,).

    The slope is never negative: a score that ranks worse than chance out of fold says nothing, and
    gives everybody the share of good photos rather than an inverted order.
    """
    centre, unit = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - centre) / unit
    positives = int(labels.sum())
    negatives = labels.size - positives
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, offset = 0.0, float(np.log((positives + 1) / (negatives + 1)))
    best = _loss(slope, offset, x, targets)
    for _ in range(MAX_STEPS):
        p = _logistic(slope * x + offset)
        gradient = np.array([(p - targets) @ x, (p - targets).sum()])
        if np.abs(gradient).max() < GRADIENT_TOLERANCE * labels.size:
            break
        w = p * (1 - p)
        hessian = np.array([[w @ (x * x), w @ x], [w @ x, w.sum()]]) + RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while (reached := _loss(slope - length * step[0], offset - length * step[1], x, targets)) > best:
            length /= 2
            if length < RIDGE:
                break
        slope, offset, best = slope - length * step[0], offset - length * step[1], reached
    if slope <= 0:
        slope, offset = 0.0, float(np.log(targets.mean() / (1 - targets.mean())))
    return Platt(slope, offset, centre, unit)


def _loss(slope: float, offset: float, x: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    z = slope * x + offset
    return float((np.logaddexp(0, z) - targets * z).sum())


def _logistic(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)), dtype=np.float64)
