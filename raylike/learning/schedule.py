"""How the learning rate falls while a network is trained.

A pure function of the iteration, so that a resumed run needs no state of it.
"""

from __future__ import annotations

from dataclasses import dataclass


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
