"""Histograms and curves, on data whose figures are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylike.config import CohortSettings
from raylike.report import distributions
from raylike.report.axes import power_of_ten, short_number


def labels(ratios: list[float], threshold: float) -> pa.Table:
    n = len(ratios)
    return pa.table(
        {
            "ratio": pa.array(ratios, pa.float64()),
            "threshold": [threshold] * n,
            "label": pa.array([int(r > threshold) for r in ratios], pa.int8()),
            "split": ["train"] * n,
        }
    )


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60))
def test_edges_hold_every_value(values: list[float]) -> None:
    edges = distributions.log_edges(np.array(values), 10)
    assert edges.size == 11
    assert np.histogram(values, edges)[0].sum() == len(values)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_no_bin_holds_both_good_and_bad(ratios: list[float]) -> None:
    threshold = float(np.median(ratios))
    facts = distributions.ratios(labels(ratios, threshold))
    assert threshold in facts.edges
    assert sum(facts.train) == len(ratios)


def test_photos_without_likes_are_counted_apart() -> None:
    facts = distributions.ratios(labels([0.0, 0.0, 0.1, 0.2], 0.05))
    assert (facts.zero, sum(facts.train), facts.good) == (2, 2, 2)


def test_the_curve_counts_photos_at_or_above_each_confidence() -> None:
    confidences, photos = distributions.at_least(np.array([1.0, 2.0, 2.0, 3.0]))
    assert dict(zip(confidences, photos, strict=True))[2.0] == 3
    assert photos[0] == 4
    assert photos[-1] == 1
    assert distributions.at_least(np.array([])) == ((), ())


def test_accounts_without_known_followers_are_left_out() -> None:
    cohort = pa.table(
        {"followers": pa.array([None, 0, 10, 1000], pa.int64()), "kept": [False, False, True, False]}
    )
    facts = distributions.followers(cohort, CohortSettings())
    assert (facts.summary_before.n, facts.summary_after.n) == (2, 1)
    assert facts.summary_before.median == pytest.approx(505)


@pytest.mark.parametrize(("value", "text"), [(950, "950"), (1500, "1.5k"), (2e6, "2M"), (0.05, "0.05")])
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize(("value", "text"), [(1e-6, "10⁻⁶"), (1.0, "10⁰"), (2e-3, "2·10⁻³"), (0, "")])
def test_powers_of_ten(value: float, text: str) -> None:
    assert power_of_ten(value) == text


def test_posts_stand_in_their_hour_and_age_with_the_quarters_of_their_ratios() -> None:
    posted = [datetime(2015, 9, 1, hour, 59, tzinfo=UTC) for hour in [3] * 20 + [22] * 5]
    posts = pa.table(
        {
            "post_id": [f"p{i}" for i in range(25)],
            "created_at": pa.array(posted, pa.timestamp("us", tz="UTC")),
            "collected_at": pa.array([at + timedelta(days=40 + i) for i, at in enumerate(posted)],
                                     pa.timestamp("us", tz="UTC")),
        }
    )  # fmt: skip
    cohort = pa.table(
        {
            "post_id": [f"p{i}" for i in range(25)],
            "kept": [True] * 24 + [False],
            "ratio": [i / 10 for i in range(25)],
        }
    )
    hours = distributions.hours(posts, cohort)
    assert len(hours) == 24
    assert {slot.start: slot.posts for slot in hours if slot.posts} == {3.0: 20, 22.0: 4}
    assert hours[3].median_ratio == pytest.approx(0.95)
    assert hours[3].quarter == pytest.approx(0.475)
    assert hours[22].median_ratio is None  # of four posts no median is told
    ages = distributions.ages(posts, cohort)
    assert sum(slot.posts for slot in ages) == 24
    assert (ages[0].start, ages[-1].end) == (40.0, 64.0)


def test_without_posts_there_are_no_ages() -> None:
    posts = pa.table({"post_id": [], "created_at": [], "collected_at": []}).cast(
        pa.schema(
            [
                ("post_id", pa.string()),
                *((n, pa.timestamp("us", tz="UTC")) for n in ("created_at", "collected_at")),
            ]
        )
    )
    cohort = pa.table({"post_id": ["p"], "kept": [True], "ratio": [0.1]})
    assert distributions.ages(posts, cohort) == ()
