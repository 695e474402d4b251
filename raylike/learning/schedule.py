"""How the learning rate goes while a network is trained.

Pure functions of the iteration, so that a resumed run needs no state of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from raylike.config import FinetuneSettings


class Schedule(Protocol):
    """A learning rate for every iteration."""

    def at(self, iteration: int) -> float:
        """The rate of an iteration, counted from 0."""


@dataclass(frozen=True)
class StepSchedule:
    """Caffe's `step` policy: the rate is multiplied by `factor` every `every` iterations.

    Attributes
    ----------
    base : rate of the first iteration
    every : iterations between two cuts, >= 1
    factor : in (0, 1]
    """

    base: float
    every: int
    factor: float

    def at(self, iteration: int) -> float:
        """The rate of an iteration, counted from 0."""
        return self.base * self.factor ** (iteration // self.every)


@dataclass(frozen=True)
class CosineSchedule:
    """Half a cosine from `base` to 0 over `iterations`, after Loshchilov and Hutter, ICLR 2017, without
    restarts."""

    base: float
    iterations: int

    def at(self, iteration: int) -> float:
        """The rate of an iteration, counted from 0; 0 from `iterations` on."""
        return self.base * (1 + math.cos(math.pi * min(1.0, iteration / self.iterations))) / 2


@dataclass(frozen=True)
class WarmUp:
    """A linear rise over the first iterations, after Goyal et al., arXiv:1706.02677; then another schedule,
    from its beginning."""

    iterations: int
    then: Schedule

    def at(self, iteration: int) -> float:
        """The rate of an iteration, counted from 0."""
        if iteration < self.iterations:
            return self.then.at(0) * (iteration + 1) / self.iterations
        return self.then.at(iteration - self.iterations)


def schedule(settings: FinetuneSettings) -> Schedule:
    """The schedule that the settings name; a cosine ends with the last iteration."""
    if settings.schedule == "step":
        chosen: Schedule = StepSchedule(settings.lr, settings.step_every, settings.step_factor)
    else:
        chosen = CosineSchedule(settings.lr, max(1, settings.iterations - settings.warmup))
    return WarmUp(settings.warmup, chosen) if settings.warmup else chosen
