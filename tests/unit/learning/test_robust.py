"""The filter's band, against known values and against the law that gives it its constant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from raylike.learning.robust import MAD_TO_SD, mad_band, summarise

finite = st.floats(-1e6, 1e6)


def test_the_constant_makes_the_mad_of_a_normal_sample_its_standard_deviation() -> None:
    assert pytest.approx(1 / norm.ppf(0.75), abs=5e-5) == MAD_TO_SD


def test_known_values() -> None:
    figures = summarise(np.array([1.0, 2.0, 3.0, 4.0, 90.0]))
    assert (figures.n, figures.mean, figures.median, figures.mad) == (5, 20.0, 3.0, 1.0)
    band = mad_band(np.array([1.0, 2.0, 3.0, 4.0, 90.0]), factor=2)
    assert (band.low, band.high) == pytest.approx((3 - 2.9652, 3 + 2.9652))
    assert not band.degenerate


def test_a_sample_of_mostly_one_value_keeps_that_value() -> None:
    band = mad_band(np.array([7.0, 7.0, 7.0, 1.0, 100.0]), factor=3)
    assert (band.low, band.high, band.degenerate) == (7.0, 7.0, True)


def test_an_empty_sample_has_no_figures() -> None:
    assert np.isnan(summarise(np.array([])).median)


@given(st.lists(finite, min_size=1, max_size=30), st.floats(0.1, 10))
def test_the_band_holds_the_median_and_widens_with_the_factor(values: list[float], factor: float) -> None:
    sample = np.array(values)
    narrow, wide = mad_band(sample, factor), mad_band(sample, 2 * factor)
    assert narrow.low <= np.median(sample) <= narrow.high
    assert wide.low <= narrow.low
    assert wide.high >= narrow.high


@given(st.lists(finite, min_size=5, max_size=30))
def test_one_celebrity_moves_the_band_no_further_than_the_next_values(values: list[float]) -> None:
    sample = np.sort(np.array(values))
    stretched = sample.copy()
    stretched[-1] = 1e12
    if sample[-1] > np.median(sample):
        assert np.median(stretched) == np.median(sample)
