"""Metrics are scikit-learn's, under weights too; intervals behave as intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from raylike.learning.evaluation import Ranking, average_precision, draw_accounts, evaluate

cases = st.integers(0, 10_000).map(np.random.default_rng)


def draw_case(rng: np.random.Generator, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    labels = np.append(rng.integers(2, size=rng.integers(1, 40)), [0, 1]).astype(np.int8)
    return labels, rng.integers(levels, size=labels.size).astype(np.float64)


@given(cases)
def test_weighted_metrics_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    weights = rng.integers(4, size=(3, labels.size)).astype(np.float32)
    weights[:, -2:] = 1  # both classes are drawn
    aps, aucs = Ranking.of(labels, scores, np.arange(labels.size)).ap_and_auc(weights)
    for row, ap, auc in zip(weights, aps, aucs, strict=True):
        seen = row > 0  # scikit-learn's AP is NaN where the best photos all weigh nothing
        known = labels[seen], scores[seen]
        assert ap == pytest.approx(average_precision_score(*known, sample_weight=row[seen]), abs=1e-5)
        assert auc == pytest.approx(roc_auc_score(*known, sample_weight=row[seen]), abs=1e-5)


@given(cases)
def test_ap_does_not_change_under_a_rising_transform(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    assert average_precision(labels, scores) == average_precision(labels, np.exp(scores / 3) - 5)


@given(cases)
def test_the_order_of_photos_does_not_matter(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    order = rng.permutation(labels.size)
    assert average_precision(labels, scores) == pytest.approx(average_precision(labels[order], scores[order]))


@given(cases)
def test_intervals_hold_ordered_bounds_within_zero_and_one(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    groups = rng.integers(8, size=labels.size).astype(str)
    (metrics,) = evaluate(labels, scores[None], np.array([5.0]), groups, resamples=100, seed=0)
    for estimate in (metrics.ap, metrics.roc_auc, metrics.accuracy):
        if not np.isnan(estimate.low):
            assert -1e-6 <= estimate.low <= estimate.high <= 1 + 1e-6
    assert metrics.accuracy.value == pytest.approx(accuracy_score(labels, scores > 5))


def test_the_interval_holds_the_estimate_and_narrows_with_more_accounts() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 1600):
        labels = rng.integers(2, size=n).astype(np.int8)
        scores = labels + 1.5 * rng.normal(size=n)
        groups = np.arange(n).astype(str)
        (metrics,) = evaluate(labels, scores[None], np.array([0.5]), groups, resamples=500, seed=0)
        for estimate in (metrics.ap, metrics.roc_auc, metrics.accuracy):
            assert estimate.low < estimate.value < estimate.high
        widths.append(metrics.roc_auc.high - metrics.roc_auc.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.25)


def test_photos_of_one_account_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.integers(2, size=60), 10).astype(np.int8)
    scores = labels + np.repeat(rng.normal(size=60), 10)
    accounts, singles = np.repeat(np.arange(60), 10).astype(str), np.arange(600).astype(str)
    honest, naive = (
        evaluate(labels, scores[None], np.array([0.5]), groups, resamples=300, seed=0)[0].roc_auc
        for groups in (accounts, singles)
    )
    assert honest.high - honest.low > 2 * (naive.high - naive.low)


def test_every_resample_draws_as_many_accounts_as_there_are_in_blocks_of_any_size() -> None:
    whole = np.concatenate(list(draw_accounts(30, 50, per_block=50, seed=2)))
    assert whole.shape == (50, 30)
    assert (whole.sum(axis=1) == 30).all()
    assert np.array_equal(whole, np.concatenate(list(draw_accounts(30, 50, per_block=7, seed=2))))


@given(cases)
def test_weighting_an_account_is_repeating_its_photos(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    accounts = rng.integers(5, size=labels.size)
    counts = rng.integers(1, 4, size=(1, 5)).astype(np.float32)
    repeated = np.repeat(np.arange(labels.size), counts[0, accounts].astype(int))
    ap, auc = Ranking.of(labels, scores, accounts).ap_and_auc(counts)[:, 0]
    assert ap == pytest.approx(average_precision_score(labels[repeated], scores[repeated]), abs=1e-5)
    assert auc == pytest.approx(roc_auc_score(labels[repeated], scores[repeated]), abs=1e-5)
