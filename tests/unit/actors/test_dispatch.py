"""Sizes of batches, as a table."""

from __future__ import annotations

import pytest

from actors.dispatch import QUICK_S, next_batch


@pytest.mark.parametrize(
    ("size", "took_s", "largest", "following"),
    [
        (64, 0.0, 512, 128),
        (64, 2 * QUICK_S, 512, 64),
        (400, 0.0, 512, 512),
        (512, 0.0, 512, 512),
        (64, 0.0, 16, 64),  # a batch that was chosen larger stays
    ],
)
def test_a_batch_that_is_done_at_once_is_followed_by_a_larger_one(
    size: int, took_s: float, largest: int, following: int
) -> None:
    assert next_batch(size, took_s, largest) == following
