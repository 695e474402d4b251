"""Learning rates as tables."""

from __future__ import annotations

import pytest

from raylike.config import FinetuneSettings
from raylike.learning.schedule import schedule


@pytest.mark.parametrize(("iteration", "rate"), [(0, 1e-3), (4999, 1e-3), (5000, 1e-4), (34_999, 1e-9)])
def test_the_studys_steps(iteration: int, rate: float) -> None:
    assert schedule(FinetuneSettings()).at(iteration) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (9, 0.5), (14, 0.0), (20, 0.0)],
)
def test_a_cosine_after_a_linear_rise(iteration: int, rate: float) -> None:
    settings = FinetuneSettings(lr=1.0, schedule="cosine", warmup=4, iterations=14)
    assert schedule(settings).at(iteration) == pytest.approx(rate)


def test_steps_are_counted_from_the_end_of_the_rise() -> None:
    settings = FinetuneSettings(lr=1.0, warmup=2, step_every=3, step_factor=0.5)
    assert [schedule(settings).at(i) for i in range(6)] == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5]
