"""SVM by stochastic gradient descent, as Spark MLlib's `SVMWithSGD` does it.

Semantics, from spark/mllib `GradientDescent`, `HingeGradient` and `SquaredL2Updater` (3.5): labels 0/1
become -1/+1; no intercept; w starts at 0; in iteration t

    w <- (1 - s * reg) w - s * mean over the batch of (-y x if y w.x < 1 else 0),  s = step / sqrt(t)

and it stops early once a step moves w by less than 0.001 of max(|w|, 1). The batch is all rows, the
default (miniBatchFraction 1), or a fresh random share of them. All choices of rows are fitted
together, as columns. Knows arrays; where the rows lie is the caller's business.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONVERGENCE = 1e-3
"""MLlib's `convergenceTol`."""


def fit_sgd(
    rows: NDArray[np.float32],
    labels: NDArray[np.int8],
    included: NDArray[np.bool_],
    *,
    iterations: int,
    step: float | NDArray[np.float64],
    reg: float | NDArray[np.float64],
    batch_share: float = 1.0,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Fit one linear SVM to each choice of rows.

    Parameters
    ----------
    rows : float32 array of shape (n, d), on the scale of `scaling.py`
    labels : shape (n,), 0 or 1
    included : bool array of shape (n, p): which rows problem p sees
    iterations, step, reg : see above; step and reg for all problems, or one each, (p,)
    batch_share : of rows drawn for an iteration, in (0, 1]
    seed : of the draws

    Returns
    -------
    float32 array of shape (d, p): one column of weights a problem
    """
    signs_N1 = np.where(labels > 0, np.float32(1), np.float32(-1))[:, None]
    rng = np.random.default_rng(seed)
    weights = np.zeros((rows.shape[1], included.shape[1]), dtype=np.float32)
    first = np.broadcast_to(np.asarray(step, dtype=np.float64), included.shape[1])
    shrinkage = np.asarray(reg, dtype=np.float32)
    moving = np.ones(included.shape[1], dtype=bool)
    for t in range(1, iterations + 1):
        drawn = slice(None) if batch_share >= 1 else np.flatnonzero(rng.random(len(rows)) < batch_share)
        x, y, seen = rows[drawn], signs_N1[drawn], included[drawn]
        pushed = y * ((y * (x @ weights) < 1) & seen)
        gradient = -(x.T @ pushed) / np.maximum(seen.sum(axis=0), 1).astype(np.float32)
        rate = (first / np.sqrt(t)).astype(np.float32)
        change = np.where(moving, -rate * (gradient + shrinkage * weights), 0)
        weights += change
        lengths = np.maximum(np.linalg.norm(weights, axis=0), 1)
        moving &= np.linalg.norm(change, axis=0) >= CONVERGENCE * lengths
        if not moving.any():
            break
    return weights
