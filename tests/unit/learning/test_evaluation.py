"""Metrics are scikit-learn's, under weights too; intervals behave as intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from raylike.learning import evaluation
from raylike.learning.evaluation import Ranking, average_precision, difference, draw_accounts, evaluate

cases = st.integers(0, 10_000).map(np.random.default_rng)


def draw_case(rng: np.random.Generator, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    labels = np.append(rng.integers(2, size=rng.integers(1, 40)), [0, 1]).astype(np.int8)
    return labels, rng.integers(levels, size=labels.size).astype(np.float64)


def ap_and_auc(labels: np.ndarray, scores: np.ndarray, units: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ranking = Ranking.of(labels, scores, units)
    return ranking.ap_and_auc(weights, ranking.seen(weights))


@settings(deadline=None)
@given(cases)
def test_weighted_metrics_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    weights = rng.integers(4, size=(labels.size, 3)).astype(np.float32)
    weights[-2:] = 1  # both classes are drawn
    aps, aucs = ap_and_auc(labels, scores, np.arange(labels.size), weights)
    for row, ap, auc in zip(weights.T, aps, aucs, strict=True):
        seen = row > 0  # scikit-learn's AP is NaN where the best photos all weigh nothing
        known = labels[seen], scores[seen]
        assert ap == pytest.approx(average_precision_score(*known, sample_weight=row[seen]), abs=1e-5)
        assert auc == pytest.approx(roc_auc_score(*known, sample_weight=row[seen]), abs=1e-5)


@settings(deadline=None)
@given(cases)
def test_ap_does_not_change_under_a_rising_transform(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    assert average_precision(labels, scores) == average_precision(labels, np.exp(scores / 3) - 5)


@settings(deadline=None)
@given(cases)
def test_the_order_of_photos_does_not_matter(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    order = rng.permutation(labels.size)
    assert average_precision(labels, scores) == pytest.approx(average_precision(labels[order], scores[order]))


@settings(deadline=None)
@given(cases)
def test_intervals_hold_ordered_bounds_within_zero_and_one(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    groups = rng.integers(8, size=labels.size).astype(str)
    ratios = rng.random(labels.size)
    (metrics,) = evaluate(labels, scores[None], np.array([5.0]), groups, resamples=100, seed=0, ratios=ratios)
    for estimate in (metrics.ap, metrics.roc_auc, metrics.accuracy, metrics.pair_accuracy):
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
    whole = np.concatenate(list(draw_accounts(30, 50, per_block=50, seed=2)), axis=1)
    assert whole.shape == (30, 50)
    assert (whole.sum(axis=0) == 30).all()
    assert np.array_equal(whole, np.concatenate(list(draw_accounts(30, 50, per_block=7, seed=2)), axis=1))


@settings(deadline=None)
@given(cases)
def test_weighting_an_account_is_repeating_its_photos(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    accounts = rng.integers(5, size=labels.size)
    counts = rng.integers(1, 4, size=(5, 1)).astype(np.float32)
    repeated = np.repeat(np.arange(labels.size), counts[accounts, 0].astype(int))
    ap, auc = ap_and_auc(labels, scores, accounts, counts)[:, 0]
    assert ap == pytest.approx(average_precision_score(labels[repeated], scores[repeated]), abs=1e-5)
    assert auc == pytest.approx(roc_auc_score(labels[repeated], scores[repeated]), abs=1e-5)


@settings(deadline=None)
@given(cases)
def test_spearman_is_scipys_and_an_account_drawn_twice_is_its_photos_twice(rng: np.random.Generator) -> None:
    labels, scores = draw_case(rng)
    ratios = rng.integers(6, size=labels.size).astype(np.float64)
    groups = rng.integers(5, size=labels.size)
    counts = rng.integers(1, 4, size=5)
    repeated = np.repeat(np.arange(labels.size), counts[groups])
    once, heavy = (
        evaluate(labels[rows], scores[None, rows], np.zeros(1), rows.astype(str), resamples=1, seed=0,
                 ratios=ratios[rows])[0].spearman.value
        for rows in (np.arange(labels.size), repeated)
    )  # fmt: skip
    for rho, rows in ((once, np.arange(labels.size)), (heavy, repeated)):
        if np.ptp(scores[rows]) and np.ptp(ratios[rows]):
            assert rho == pytest.approx(spearmanr(scores[rows], ratios[rows]).statistic, abs=1e-5)
        else:
            assert np.isnan(rho)


def test_a_weighted_spearman_is_that_of_repeated_photos() -> None:
    rng = np.random.default_rng(3)
    labels, accounts = rng.integers(2, size=40).astype(np.int8), np.repeat(np.arange(8), 5)
    scores, ratios = rng.normal(size=(1, 40)), rng.integers(9, size=40).astype(np.float64)
    counts = rng.integers(4, size=(8, 3)).astype(np.float32)
    found = evaluation._Figures.of(labels, scores, np.zeros(1), accounts, ratios)(counts)
    for draw in range(3):
        rows = np.repeat(np.arange(40), counts[accounts, draw].astype(int))
        expected = spearmanr(scores[0, rows], ratios[rows]).statistic
        assert found[evaluation.SPEARMAN, 0, draw] == pytest.approx(expected, abs=1e-5)


def test_pairs_are_counted_within_accounts() -> None:
    groups = np.array(["a", "a", "a", "b", "b", "c"])
    ratios = np.array([1.0, 2.0, 2.0, 5.0, 6.0, 9.0])
    scores = np.array([[0.0, 1.0, 0.5, 3.0, 3.0, -9.0]])  # a: 2 of 2 right, one pair equal; b: a tie
    labels = np.array([0, 1, 0, 1, 0, 1], dtype=np.int8)
    (metrics,) = evaluate(labels, scores, np.zeros(1), groups, resamples=50, seed=0, ratios=ratios)
    assert metrics.pair_accuracy.value == pytest.approx(2.5 / 3)


def test_without_ratios_only_labels_judge() -> None:
    labels, scores = draw_case(np.random.default_rng(4))
    groups = np.arange(labels.size).astype(str)
    (metrics,) = evaluate(labels, scores[None], np.zeros(1), groups, resamples=50, seed=0)
    assert np.isnan([metrics.spearman.value, metrics.pair_accuracy.value, metrics.spearman.low]).all()


def test_a_paired_difference_is_sharper_than_its_two_intervals() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(2, size=500).astype(np.int8)
    score = labels + 1.5 * rng.normal(size=500)
    scores = np.stack([score, score + 0.3 * rng.normal(size=500)])
    better, worse = evaluate(labels, scores, np.zeros(2), np.arange(500).astype(str), resamples=400, seed=0)
    gap, back = difference(better, worse), difference(worse, better)
    assert gap.value == pytest.approx(better.ap.value - worse.ap.value)
    assert (gap.low, gap.high) == pytest.approx((-back.high, -back.low))
    assert gap.high - gap.low < (better.ap.high - better.ap.low) / 2
    assert difference(better, better).low == difference(better, better).high == 0


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 3))
def test_cumulative_sums_of_counts_are_exact(n: int, columns: int) -> None:
    counts = np.random.default_rng(n).integers(50, size=(n, columns)).astype(np.float32)
    assert np.array_equal(evaluation._cumulative(counts), np.cumsum(counts, axis=0))
