"""The baseline without pixels."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from raylike.learning.evaluation import average_precision
from raylike.learning.metadata import Metadata, fit_and_score
from raylike.learning.photos import Photos


def make(n: int, posted_s: np.ndarray) -> Metadata:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 1000, size=(4, n))
    return Metadata(counts[0], posted_s, counts[1], counts[2], counts[3])


def test_hour_and_weekday_are_read_in_utc() -> None:
    monday_at_six = datetime(2015, 9, 7, 6, tzinfo=UTC).timestamp()
    (row,) = make(1, np.array([monday_at_six])).features()
    assert row[4:6] == pytest.approx([1, 0], abs=1e-9)
    assert row[6:].tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_midnight_is_next_to_eleven_in_the_evening() -> None:
    hours = make(24, np.arange(24) * 3600.0).features()[:, 4:6]
    gaps = np.linalg.norm(hours - np.roll(hours, 1, axis=0), axis=1)
    assert gaps == pytest.approx(np.full(24, gaps[0]))


def test_it_learns_what_followers_tell(photos: Photos) -> None:
    rng = np.random.default_rng(1)
    known = make(240, rng.uniform(0, 1e6, size=240))
    labels = (known.followers + rng.normal(size=240) * 200 > np.median(known.followers)).astype(np.int8)
    scores = fit_and_score(Photos(photos.ids, photos.groups, labels, photos.folds), known)
    for part in (photos.train, photos.test):
        assert average_precision(labels[part], scores[part]) > 0.8
