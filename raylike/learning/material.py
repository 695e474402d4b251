"""What a network is trained on: photos as it is to be shown them, what they teach, and who judges.

Knows arrays. Knows nothing of torch, Ray or tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from raylike.config import FinetuneSettings
from raylike.errors import ConfigError
from raylike.learning.batches import Balanced, Batch, Draw, OfPairs, OfSome

Item = TypeVar("Item")
Result = TypeVar("Result")


class Views(Protocol):
    """Photos that a network can be shown; see `inputs.py` and `pack.py`."""

    def shown(self, batch: Batch) -> NDArray[Any]:
        """What the network is given for the photos of a batch, its first axis theirs."""


@dataclass(frozen=True)
class Material:
    """What is learned from n photos.

    Attributes
    ----------
    inputs : the photos
    labels : 0 or 1, shape (n,)
    train, validation : indices of the photos to learn from, and of those that judge; both classes in each
    pairs : indices of pairs to learn from, the better photo first, shape (p, 2); for objective `pairs`
    residuals : likes beyond expectation, mean 0 and spread 1 over `train`, shape (n,); for `residual`
    """

    inputs: Views
    labels: NDArray[np.int8]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    pairs: NDArray[np.int64] | None = None
    residuals: NDArray[np.float32] | None = None

    def draw(self, settings: FinetuneSettings, seed: int) -> Draw:
        """The batches of a training with these settings."""
        if settings.objective == "pairs" and self.pairs is not None:
            return OfPairs(self.pairs, settings.batch_size, seed)
        if settings.balanced:
            good = self.labels[self.train] > 0
            return Balanced(self.train[good], self.train[~good], settings.batch_size, seed)
        return OfSome(self.train, settings.batch_size, seed)

    def targets(self, rows: NDArray[np.int64], settings: FinetuneSettings) -> NDArray[Any]:
        """What the photos `rows` teach: int64 labels, or float32 residuals; unused for pairs."""
        if settings.objective == "residual" and self.residuals is not None:
            return self.residuals[rows]
        return self.labels[rows].astype(np.int64)


@dataclass(frozen=True)
class Feed:
    """What one of several workers is shown at each iteration: a pure function of the iteration."""

    inputs: Views
    draw: Draw
    rank: int = 0
    workers: int = 1

    def batch(self, iteration: int) -> Batch:
        """Its share of the iteration's batch."""
        return self.draw.at(iteration).share(self.rank, self.workers)

    def __call__(self, iteration: int) -> NDArray[Any]:
        """The photos of its share."""
        return self.inputs.shown(self.batch(iteration))


@contextmanager
def ahead(feed: Callable[[int], Result]) -> Iterator[Callable[[int], Result]]:
    """The same feed, with the next iteration's photos made ready in a thread meanwhile."""
    coming: dict[int, Future[Result]] = {}

    def take(iteration: int) -> Result:
        taken = coming.pop(iteration, None) or thread.submit(feed, iteration)
        coming.clear()
        result = taken.result()
        coming[iteration + 1] = thread.submit(feed, iteration + 1)
        return result

    with ThreadPoolExecutor(max_workers=1) as thread:
        yield take


def one_ahead(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`make` of each item, in order, the next one made ready in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming: Future[Result] | None = None
        for item in items:
            following = thread.submit(make, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def check(settings: FinetuneSettings) -> None:
    """Refuse settings that contradict each other.

    Raises
    ------
    ConfigError : naming the setting
    """
    shared, rest = divmod(settings.batch_size, settings.workers)
    if rest:
        raise ConfigError(
            f"{settings.workers} workers cannot share a batch of {settings.batch_size} evenly",
            "finetune.workers",
            "choose a divisor of finetune.batch_size",
        )
    if settings.objective == "pairs" and (shared % 2 or (settings.micro_batch or 2) % 2):
        raise ConfigError(
            "pairs need an even number of photos in each worker's batch", "finetune.batch_size", "add one"
        )
    if settings.label_smoothing and settings.objective != "labels":
        raise ConfigError(
            "there are no labels to smooth", "finetune.label_smoothing", "use finetune.objective = labels"
        )
    if settings.balanced and (settings.objective != "labels" or settings.batch_size < 2):
        raise ConfigError(
            "balanced batches are of two labels", "finetune.balanced", "use finetune.objective = labels"
        )
