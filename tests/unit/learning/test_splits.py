"""Splits: nobody on both sides, the same for any order of rows, balanced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike.errors import StageError
from raylike.learning.splits import (
    LEFT_OUT,
    TEST,
    assign_folds,
    assign_folds_forward,
    join_groups,
    refuse_leaks,
    within_cap,
)

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


@given(accounts, st.integers(0, 5), st.data())
def test_forward_in_time_nobody_straddles_and_the_test_set_is_later(
    groups: list[str], seed: int, data: st.DataObject
) -> None:
    days = st.lists(st.integers(0, 50), min_size=len(groups), max_size=len(groups))
    posted_s = np.array(data.draw(days), dtype=np.float64)
    try:
        folds = assign_folds_forward(groups, posted_s, folds=2, test_share=0.1, seed=seed)
    except StageError:
        return  # too many rows of one moment, or everybody posted late
    refuse_leaks(folds, groups, "accounts")
    trained = (folds != TEST) & (folds != LEFT_OUT)
    assert posted_s[trained].max() < posted_s[folds == TEST].min()
    assert (folds == TEST).sum() >= round(0.1 * len(groups))
    assert set(np.array(groups)[folds == LEFT_OUT]) <= set(np.array(groups)[folds == TEST])
    assert set(folds[trained]) == {0, 1}


def test_forward_in_time_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    groups, posted_s = rng.integers(80, size=300).astype(str).tolist(), rng.random(300)
    order = rng.permutation(300)
    folds = assign_folds_forward(groups, posted_s, folds=3, test_share=0.2, seed=1)
    shuffled = assign_folds_forward(
        [groups[i] for i in order], posted_s[order], folds=3, test_share=0.2, seed=1
    )
    assert np.array_equal(folds[order], shuffled)


def test_accounts_that_all_posted_late_leave_nobody_to_learn_from() -> None:
    with pytest.raises(StageError, match="too few"):
        assign_folds_forward(list("abcab"), np.array([1.0, 2, 3, 4, 5]), folds=2, test_share=0.4, seed=0)


def test_a_leak_is_refused_by_name() -> None:
    folds = np.array([0, 1, TEST, 0, LEFT_OUT], np.int32)
    refuse_leaks(folds, ["a", "b", "c", "a", "c"], "accounts")
    with pytest.raises(StageError, match="1 accounts lie on several sides of the split, such as b"):
        refuse_leaks(folds, ["a", "b", "b", "a", "c"], "accounts")


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


clustered = st.lists(st.tuples(st.integers(0, 20).map(str), st.integers(0, 30).map(str)), max_size=60)


@given(clustered)
def test_groups_that_share_a_cluster_become_one_and_others_stay_apart(rows: list[tuple[str, str]]) -> None:
    groups, clusters = [group for group, _ in rows], [cluster for _, cluster in rows]
    joined = join_groups(groups, clusters)
    name_of = {group: {group} for group in groups}
    for _ in groups:
        for cluster in set(clusters):
            together = set().union(*(name_of[g] for g, c in rows if c == cluster))
            name_of |= dict.fromkeys(together, together)
    assert joined == [min(name_of[group]) for group in groups]


def test_groups_without_a_common_cluster_keep_their_names() -> None:
    assert join_groups(["b", "a", "b"], ["1", "2", "3"]) == ["b", "a", "b"]


@given(accounts, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_cap_leaves_each_account_its_share_whatever_the_order(
    groups: list[str], most: int, random: object
) -> None:
    names = [f"post{i}" for i in range(len(groups))]
    stays = within_cap(groups, names, most, seed=0)
    order = list(range(len(groups)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = within_cap([groups[i] for i in order], [names[i] for i in order], most, seed=0)
    assert np.array_equal(stays[order], shuffled)
    for group in set(groups):
        of_group = np.array(groups) == group
        assert stays[of_group].sum() == min(most, of_group.sum())


def test_the_cap_draws_other_photos_with_another_seed_and_not_those_of_the_test_set() -> None:
    names = [f"post{i:04d}" for i in range(2000)]
    groups = ["one"] * 1000 + names[1000:]
    first, second = (within_cap(groups, names, 500, seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
    tested = assign_folds(names, folds=5, test_share=0.5, seed=0) == TEST
    assert np.mean(tested[:1000][first[:1000]]) == pytest.approx(0.5, abs=0.06)
