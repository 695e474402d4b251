"""What cannot be learned from is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from raylike.errors import StageError
from raylike.learning.photos import Photos


def make(labels: list[int], folds: list[int]) -> Photos:
    names = np.arange(len(labels)).astype(str)
    return Photos(names, names, np.array(labels, dtype=np.int8), np.array(folds, dtype=np.int32))


def test_parts_are_told_apart() -> None:
    photos = make([0, 1, 0, 1, 0, 1], [0, 0, 1, 1, -1, -1])
    photos.check()
    assert photos.train.tolist() == [0, 1, 2, 3]
    assert photos.test.tolist() == [4, 5]
    assert photos.fold_numbers.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ([0, 1, 1, 1, 0, 1], [0, 0, 1, 1, -1, -1], r"fold 1 holds only good photos \(2\)"),
        ([0, 1, 0, 1, 0, 0], [0, 0, 1, 1, -1, -1], "the test set holds only bad photos"),
        ([0, 1, 0, 1], [0, 0, 1, 1], "too few photos"),
        ([0, 1, 0, 1], [0, 0, -1, -1], "too few photos"),
    ],
)
def test_one_sided_parts_are_refused(labels: list[int], folds: list[int], message: str) -> None:
    with pytest.raises(StageError, match=message):
        make(labels, folds).check()
