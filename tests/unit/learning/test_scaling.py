"""The common scale, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from raylike.errors import StageError
from raylike.learning import scaling
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


def test_a_scale_of_some_rows_in_blocks_is_that_of_those_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).gamma(1.0, size=(50, 6)).astype(np.float32)
    used = np.arange(50) % 3 > 0
    whole = fit_scale(rows[used], "fc6")
    monkeypatch.setattr(scaling, "BLOCK_ELEMENTS", 20)
    part = fit_scale(rows, "fc6", used)
    assert np.allclose(part.mean, whole.mean, rtol=1e-6)
    assert part.spread == pytest.approx(whole.spread)
    scaled = part.apply(rows)
    assert np.array_equal(part.apply_in_place(rows), scaled)
    assert np.array_equal(rows, scaled)


def test_a_row_that_is_not_used_must_be_finite_too() -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[0, 0] = np.nan
    with pytest.raises(StageError, match="1 of 4 rows"):
        fit_scale(rows, "fc6", np.arange(4) > 0)
