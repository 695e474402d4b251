"""Which photos a training step sees, and how they are cropped and mirrored.

Everything is a pure function of the seed and the iteration. A resumed run thus goes on with the very
batches it would have seen, and two workers share what one would have had: each takes its slice.

Knows numbers. Knows nothing of photos or of torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ORDER, AUGMENTATION = 0, 1
"""Streams of random numbers that must not touch each other."""


@dataclass(frozen=True)
class Batch:
    """Photos as a network is to be shown them.

    Attributes
    ----------
    rows : which photos, int64, shape (b,)
    mirrored : whether flipped left to right, shape (b,)
    offsets : top and left of the crop, as shares of the room there is, in [0, 1], shape (b, 2)
    together : so many rows in a row belong together: 2 in batches of pairs
    """

    rows: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    offsets: NDArray[np.float64]
    together: int = 1

    def share(self, rank: int, workers: int) -> Batch:
        """The part of one of `workers`, counted from 0; all parts together are the batch."""
        part = np.arange(self.rows.size).reshape(-1, self.together)[rank::workers].ravel()
        return replace(self, rows=self.rows[part], mirrored=self.mirrored[part], offsets=self.offsets[part])


class Draw(Protocol):
    """A batch for every iteration."""

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, counted from 0."""


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
        rows = _passes(self.n, self.size, [self.seed, ORDER], iteration)
        return _augmented(rows, self.seed, iteration)


@dataclass(frozen=True)
class OfSome:
    """Batches of photos that have numbers of their own: `photos` (n,) int64."""

    photos: NDArray[np.int64]
    size: int
    seed: int

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, counted from 0."""
        batch = Batches(self.photos.size, self.size, self.seed).at(iteration)
        return replace(batch, rows=self.photos[batch.rows])


@dataclass(frozen=True)
class Balanced:
    """Half of each batch from one class, half from the other; the good ones get the odd place.

    Passes go over each class by itself, so the rarer class is seen more often. `good` and `bad` are the
    photos of the classes, int64.
    """

    good: NDArray[np.int64]
    bad: NDArray[np.int64]
    size: int
    seed: int

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, counted from 0: first the good photos, then the bad ones."""
        sizes = (self.size - self.size // 2, self.size // 2)
        parts = [
            photos[_passes(photos.size, size, [self.seed, ORDER, kind], iteration)]
            for kind, (photos, size) in enumerate(zip((self.good, self.bad), sizes, strict=True))
        ]
        return _augmented(np.concatenate(parts), self.seed, iteration)


@dataclass(frozen=True)
class OfPairs:
    """Batches of pairs of photos, the better one first; `pairs` int64 (p, 2), `size` photos, even."""

    pairs: NDArray[np.int64]
    size: int
    seed: int

    def at(self, iteration: int) -> Batch:
        """The batch of an iteration, counted from 0; each photo of a pair is cropped by itself."""
        chosen = _passes(len(self.pairs), self.size // 2, [self.seed, ORDER], iteration)
        return replace(_augmented(self.pairs[chosen].ravel(), self.seed, iteration), together=2)


VIEWS = {
    "centre": (((0.5, 0.5), False),),
    "mirrored": (((0.5, 0.5), False), ((0.5, 0.5), True)),
    "ten": tuple(
        (place, mirrored)
        for mirrored in (False, True)
        for place in ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
    ),
}
"""How a photo is shown to be scored: place of the crop, and whether mirrored. Ten as in Krizhevsky et al.,
NIPS 2012."""


def views(rows: NDArray[np.int64], crops: str) -> Iterator[Batch]:
    """The same photos in each of the views named in `VIEWS`."""
    for place, mirrored in VIEWS[crops]:
        yield Batch(rows, np.full(rows.size, mirrored), np.tile(place, (rows.size, 1)))


def _passes(n: int, size: int, stream: list[int], iteration: int) -> NDArray[np.int64]:
    """`size` of `n` things: the iteration's part of endless passes over them."""
    positions = np.arange(iteration * size, (iteration + 1) * size)
    rows = np.empty(size, np.int64)
    for epoch in np.unique(positions // n):
        here = positions // n == epoch
        order = np.random.default_rng([*stream, int(epoch)]).permutation(n)
        rows[here] = order[positions[here] % n]
    return rows


def _augmented(rows: NDArray[np.int64], seed: int, iteration: int) -> Batch:
    generator = np.random.default_rng([seed, AUGMENTATION, iteration])
    return Batch(rows, generator.random(rows.size) < 0.5, generator.random((rows.size, 2)))
