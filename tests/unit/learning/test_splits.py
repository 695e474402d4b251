"""Splits: nobody on both sides, the same for any order of rows, balanced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.errors import StageError
from raylike.learning.splits import TEST, assign_folds

accounts = st.lists(st.integers(0, 40).map(str), min_size=30, max_size=200).filter(lambda g: len(set(g)) >= 6)


@given(accounts, st.integers(0, 5))
def test_no_account_straddles_a_split_and_every_part_is_filled(groups: list[str], seed: int) -> None:
    folds = assign_folds(groups, folds=5, test_share=0.25, seed=seed)
    parts: dict[str, set[int]] = {}
    for group, fold in zip(groups, folds.tolist(), strict=True):
        parts.setdefault(group, set()).add(fold)
    assert all(len(seen) == 1 for seen in parts.values())
    assert set(folds.tolist()) == {TEST, 0, 1, 2, 3, 4}


@given(accounts, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(groups: list[str], random: object) -> None:
    order = list(range(len(groups)))
    random.shuffle(order)  # type: ignore[attr-defined]
    folds = assign_folds(groups, folds=3, test_share=0.25, seed=1)
    shuffled = assign_folds([groups[i] for i in order], folds=3, test_share=0.25, seed=1)
    assert np.array_equal(folds[order], shuffled)


def test_shares_are_close_to_what_was_asked_for() -> None:
    groups = [f"user{i}" for i in np.random.default_rng(0).integers(400, size=1000)]
    folds = assign_folds(groups, folds=5, test_share=0.25, seed=0)
    assert np.mean(folds == TEST) == pytest.approx(0.25, abs=0.01)
    sizes = np.bincount(folds[folds != TEST])
    assert sizes.max() - sizes.min() <= 1


def test_another_seed_tests_other_accounts() -> None:
    groups = [str(i) for i in range(100)]
    first, second = (assign_folds(groups, folds=5, test_share=0.25, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_one_account_with_most_photos_leaves_enough_for_the_folds() -> None:
    groups = ["giant"] * 100 + [str(i) for i in range(5)]
    folds = assign_folds(groups, folds=5, test_share=0.25, seed=0)
    assert set(folds.tolist()) == {TEST, 0, 1, 2, 3, 4}


def test_fewer_accounts_than_folds_and_a_test_set_need_is_refused() -> None:
    with pytest.raises(StageError, match="5 accounts are too few") as refused:
        assign_folds(list("abcde"), folds=5, test_share=0.25, seed=0)
    assert "labels.folds" in refused.value.hint
