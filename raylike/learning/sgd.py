"""SVM by stochastic gradient descent, as Spark MLlib's `SVMWithSGD` does it, on rows that lie in shards.

Semantics, from spark/mllib `GradientDescent`, `HingeGradient` and `SquaredL2Updater` (3.5): labels 0/1 become
-1/+1; no intercept (`addIntercept` is false); no scaling; w starts at 0; in iteration t

    w <- (1 - s * reg) w - s * mean over the batch of (-y x if y w.x < 1 else 0),  s = step / sqrt(t)

and it stops early once a step moves w by less than 0.001 of max(|w|, 1). The batch is all rows, the default
(`miniBatchFraction` 1), or each row with that chance, drawn afresh in every iteration; an empty batch moves
nothing. MLlib's draws depend on how its data are partitioned. Here they depend on seed, iteration and the
row's number alone, so that any number of shards sees the same batches.

All problems of a grid descend together: the weights of all are columns of one matrix. In each iteration a
shard is given that matrix, and gives back sums: one product of its rows with the columns, and one of its
rows' transpose with their pushes, a block of rows at a time. Rows never leave their shard.

Knows arrays. Where the shards lie is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
T = TypeVar("T")

CONVERGENCE = 1e-3
"""MLlib's `convergenceTol`."""
BLOCK_ELEMENTS = 2**22
"""Numbers of a shard's rows that are worked on at once: 16 MiB. As fast as all rows at once; with a quarter
of it 24 problems take 1.4 times as long."""


@dataclass(frozen=True)
class Push:
    """What a batch says of some problems.

    Attributes
    ----------
    gradient : sub-gradients of the hinge, summed over the batch, (d, p)
    counted : rows of the batch that a problem sees, (p,)
    """

    gradient: Floats
    counted: NDArray[np.int64]

    def __add__(self, other: Push) -> Push:
        return Push(self.gradient + other.gradient, self.counted + other.counted)


@dataclass(frozen=True)
class Batches:
    """Which rows an iteration draws: each of `n` with the chance `share`."""

    n: int
    share: float = 1.0
    seed: int = 0

    def draw(self, iteration: int) -> NDArray[np.bool_] | None:
        """For all rows whether they are drawn, (n,); None for all of them."""
        if self.share >= 1:
            return None
        return np.random.default_rng([self.seed, iteration]).random(self.n) < self.share


@dataclass(frozen=True)
class Shard:
    """Some of the rows.

    Attributes
    ----------
    rows : (m, d), on the scale of `scaling.py`
    labels : 0 or 1, (m,)
    seen : whether a choice of rows has them, (m, f)
    numbers : theirs among all rows, (m,)
    """

    rows: Floats
    labels: NDArray[np.int8]
    seen: NDArray[np.bool_]
    numbers: NDArray[np.int64]

    def push(self, weights: Floats, choices: NDArray[np.int64], batches: Batches, iteration: int) -> Push:
        """What this shard's part of the batch says of problems with weights (d, p) and row choices (p,)."""
        drawn = batches.draw(iteration)
        total = Push(np.zeros_like(weights), np.zeros(choices.size, dtype=np.int64))
        for block in self._blocks():
            rows, labels, seen = self.rows[block], self.labels[block], self.seen[block]
            if drawn is not None:
                taken = drawn[self.numbers[block]]
                rows, labels, seen = rows[taken], labels[taken], seen[taken]
            signs = np.where(labels > 0, np.float32(1), np.float32(-1))[:, None]
            wanted = seen[:, choices]
            pushed = signs * ((signs * (rows @ weights) < 1) & wanted)
            np.subtract(total.gradient, rows.T @ pushed, out=total.gradient)
            total.counted[:] += wanted.sum(axis=0)
        return total

    def decide(self, weights: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The rows' numbers (m,), and their decision values under weights (d, p), (m, p)."""
        return self.numbers, self.rows @ weights

    def _blocks(self) -> Iterator[slice]:
        size = max(1, BLOCK_ELEMENTS // self.rows.shape[1])
        for start in range(0, len(self.rows), size):
            yield slice(start, start + size)


class Everywhere(Protocol):
    """Asks every shard, and gives their answers in the order of the shards."""

    def __call__(self, ask: Callable[[Shard], T]) -> Sequence[T]:
        """What each shard says to a question."""
        ...


@dataclass(frozen=True)
class Here:
    """Shards in this process."""

    shards: Sequence[Shard]

    def __call__(self, ask: Callable[[Shard], T]) -> Sequence[T]:
        """One after the other."""
        return [ask(shard) for shard in self.shards]


def descend(
    everywhere: Everywhere,
    choices: NDArray[np.int64],
    batches: Batches,
    *,
    width: int,
    iterations: int,
    step: NDArray[np.float64],
    reg: NDArray[np.float64],
) -> Floats:
    """Fit all problems.

    Parameters
    ----------
    everywhere : the rows
    choices : which of the shards' choices of rows a problem sees, (p,)
    batches : what an iteration draws
    width : d
    iterations, step, reg : see above; step and reg (p,)

    Returns
    -------
    float32 array of shape (d, p): one column of weights a problem
    """
    weights = np.zeros((width, choices.size), dtype=np.float32)
    moving = np.arange(choices.size)
    for t in range(1, iterations + 1):
        ask = partial(
            Shard.push, weights=weights[:, moving], choices=choices[moving], batches=batches, iteration=t
        )
        first, *others = everywhere(ask)
        push = sum(others, start=first)
        rate = np.where(push.counted > 0, step[moving] / np.sqrt(t), 0).astype(np.float32)
        gradient = push.gradient / np.maximum(push.counted, 1).astype(np.float32)
        change = -rate * (gradient + reg[moving].astype(np.float32) * weights[:, moving])
        weights[:, moving] += change
        lengths = np.maximum(np.linalg.norm(weights[:, moving], axis=0), 1)
        settled = (push.counted > 0) & (np.linalg.norm(change, axis=0) < CONVERGENCE * lengths)
        moving = moving[~settled]
        if not moving.size:
            break
    return weights


def fit_sgd(
    rows: Floats,
    labels: NDArray[np.int8],
    included: NDArray[np.bool_],
    *,
    iterations: int,
    step: float,
    reg: float,
    batch_share: float = 1.0,
    seed: int = 0,
) -> Floats:
    """Fit one linear SVM to each choice of rows, all in this process.

    Parameters
    ----------
    rows : float32 array of shape (n, d), on the scale of `scaling.py`
    labels : shape (n,), 0 or 1
    included : bool array of shape (n, p): which rows problem p sees
    iterations, step, reg : see above
    batch_share : of rows drawn for an iteration, in (0, 1]
    seed : of the draws

    Returns
    -------
    float32 array of shape (d, p)
    """
    n_choices = included.shape[1]
    return descend(
        Here([Shard(rows, labels, included, np.arange(len(rows)))]),
        np.arange(n_choices),
        Batches(len(rows), batch_share, seed),
        width=rows.shape[1],
        iterations=iterations,
        step=np.full(n_choices, step),
        reg=np.full(n_choices, reg),
    )
