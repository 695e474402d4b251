"""The common scale, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from raylike.errors import StageError
from raylike.learning.scaling import fit_scale


def test_rows_end_up_at_distance_one_from_their_mean_whatever_their_unit() -> None:
    rows = np.random.default_rng(0).exponential(size=(50, 20)).astype(np.float32)
    for unit in (1e-3, 1.0, 1e3):
        scaled = fit_scale(rows * np.float32(unit), "fc6").apply(rows * np.float32(unit))
        assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5)
        assert np.mean((scaled**2).sum(axis=1)) == pytest.approx(1, rel=1e-4)


def test_constant_features_are_refused() -> None:
    with pytest.raises(StageError, match="fc6: the features are the same for every photo"):
        fit_scale(np.full((10, 4), 0.3, dtype=np.float32), "fc6")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    rows = np.ones((10, 4), dtype=np.float32)
    rows[3, 1] = value
    with pytest.raises(StageError, match="1 of 10 rows"):
        fit_scale(rows, "fc7")
