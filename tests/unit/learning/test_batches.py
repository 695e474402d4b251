"""What a step sees: every photo in turn, the same for any number of workers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.learning.batches import VIEWS, Balanced, Batches, Draw, OfPairs, OfSome, views

PHOTOS = np.arange(100, 130)
PAIRS = np.column_stack([np.arange(0, 20, 2), np.arange(1, 20, 2)])


@given(n=st.integers(1, 50), size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_photo_is_seen_once_before_any_is_seen_twice(n: int, size: int, seed: int) -> None:
    batches = Batches(n, size, seed)
    rows = np.concatenate([batches.at(i).rows for i in range(-(-2 * n // size))])
    assert sorted(rows[:n]) == list(range(n))
    assert sorted(rows[n : 2 * n]) == list(range(n))


@pytest.mark.parametrize(
    "draw",
    [Batches(30, 8, 0), OfSome(PHOTOS, 8, 0), Balanced(PHOTOS[:3], PHOTOS[3:], 8, 0), OfPairs(PAIRS, 8, 0)],
)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_the_batch_that_one_would_have(draw: Draw, workers: int) -> None:
    batch = draw.at(5)
    shares = [batch.share(rank, workers) for rank in range(workers)]
    assert {share.rows.size for share in shares} == {8 // workers}
    together = sorted(
        (row, flip, *place)
        for share in shares
        for row, flip, place in zip(share.rows, share.mirrored, share.offsets, strict=True)
    )
    assert together == sorted(
        (row, flip, *place)
        for row, flip, place in zip(batch.rows, batch.mirrored, batch.offsets, strict=True)
    )


def test_balanced_batches_hold_as_many_good_as_bad_photos() -> None:
    good, bad = np.arange(4), np.arange(4, 40)
    batches = Balanced(good, bad, 9, seed=0)
    for iteration in range(6):
        assert np.isin(batches.at(iteration).rows, good).sum() == 5
    seen = np.concatenate([batches.at(i).rows for i in range(9)])
    assert sorted(seen[np.isin(seen, bad)]) == bad.tolist()


@given(workers=st.sampled_from([1, 2, 4]), iteration=st.integers(0, 30))
def test_the_photos_of_a_pair_stay_together(workers: int, iteration: int) -> None:
    for rank in range(workers):
        rows = OfPairs(PAIRS, 8, 0).at(iteration).share(rank, workers).rows
        assert (rows[1::2] == rows[0::2] + 1).all()
        assert (rows[0::2] % 2 == 0).all()


def test_ten_views_are_four_corners_and_the_centre_mirrored_too() -> None:
    seen = {(tuple(view.offsets[0]), bool(view.mirrored[0])) for view in views(np.array([7]), "ten")}
    corners = {(top, left) for top in (0.0, 1.0) for left in (0.0, 1.0)}
    assert seen == {(place, flip) for place in corners | {(0.5, 0.5)} for flip in (False, True)}
    assert len(VIEWS["ten"]) == 10
