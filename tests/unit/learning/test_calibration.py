"""Platt's scaling: the shares it promises, monotone, and never inverted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from raylike.learning.calibration import fit_platt


def test_with_many_photos_it_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 20, size=20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(0.05 * scores - 0.5)))).astype(np.int8)
    mine = fit_platt(scores, labels).probability(scores)
    theirs = LogisticRegression(C=1e9).fit(scores[:, None], labels).predict_proba(scores[:, None])[:, 1]
    assert mine == pytest.approx(theirs, abs=2e-3)
    assert mine.mean() == pytest.approx(labels.mean(), abs=1e-3)


@given(st.integers(0, 1000).map(np.random.default_rng))
def test_a_higher_score_never_has_a_lower_probability(rng: np.random.Generator) -> None:
    scores = rng.normal(size=30) * 10.0 ** rng.integers(-6, 6)
    labels = rng.integers(2, size=30).astype(np.int8)
    probability = fit_platt(scores, labels).probability(np.sort(scores))
    assert (np.diff(probability) >= 0).all()
    assert ((probability > 0) & (probability < 1)).all()


def test_scores_worse_than_chance_give_everybody_the_share_of_good_photos() -> None:
    labels = np.array([1, 1, 0, 0, 1, 0], dtype=np.int8)
    probability = fit_platt(-labels.astype(np.float64), labels).probability(np.array([-1.0, 0.0]))
    assert probability == pytest.approx([0.5, 0.5])


def test_equal_scores_and_perfect_scores_do_not_break_it() -> None:
    labels = np.array([0, 0, 0, 1, 1], dtype=np.int8)
    assert fit_platt(np.ones(5), labels).probability(np.ones(1))[0] == pytest.approx(0.42, abs=0.05)
    perfect = fit_platt(labels * 1e9, labels).probability(np.array([0.0, 1e9]))
    assert perfect[0] < 0.3
    assert perfect[1] > 0.7
