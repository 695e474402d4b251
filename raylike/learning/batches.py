"""Which photos a training step sees, and how they are cropped and mirrored.

Everything is a pure function of the seed and the iteration. A resumed run thus goes on with the very
batches it would have seen, and two workers share what one would have had: each takes its slice.

Knows numbers. Knows nothing of photos or of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER, AUGMENTATION = 0, 1
"""Streams of random numbers that must not touch each other."""


@dataclass(frozen=True)
class Batch:
    """One step's photos.

    Attributes
    ----------
    rows : which of the training photos, int64, shape (b,)
    mirrored : whether flipped left to right, shape (b,)
    offsets : top and left of the crop, as shares of the room there is, in [0, 1), shape (b, 2)
    """

    rows: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    offsets: NDArray[np.float64]

    def share(self, rank: int, workers: int) -> Batch:
        """The part of one of `workers`, counted from 0; all parts together are the batch."""
        part = slice(rank, None, workers)
        return Batch(self.rows[part], self.mirrored[part], self.offsets[part])


@dataclass(frozen=True)
class Batches:
    """Endless passes over `n` photos, each in an order of its own, cut into batches of `size`.

    A batch may end one pass and begin the next: no photo is seen twice before all were seen once.
    """

    n: int
    size: int
    seed: int

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, counted from 0."""
        positions = np.arange(iteration * self.size, (iteration + 1) * self.size)
        rows = np.empty(self.size, np.int64)
        for epoch in np.unique(positions // self.n):
            here = positions // self.n == epoch
            order = np.random.default_rng([self.seed, ORDER, int(epoch)]).permutation(self.n)
            rows[here] = order[positions[here] % self.n]
        generator = np.random.default_rng([self.seed, AUGMENTATION, iteration])
        return Batch(rows, generator.random(self.size) < 0.5, generator.random((self.size, 2)))
