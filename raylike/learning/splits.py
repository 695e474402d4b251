"""Who is trained and who is tested on whom: a cap per account, a test share, folds that none straddles.

The order of rows never matters: groups are ordered by a hash of the seed and their name. Knows names
and counts. Knows nothing of labels or features.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raylike.errors import StageError

TEST = -1
"""The fold number of a test photo."""
LEFT_OUT = -2
"""The fold number of a photo that can be on neither side."""

OVER_THE_CAP = "over the cap per user"
BOTH_SIDES = "account is in the test set"
"""Why photos are left out."""


def assign_folds(groups: Sequence[str], *, folds: int, test_share: float, seed: int) -> NDArray[np.int32]:
    """Give each row a fold, or `TEST`; rows of one group always get the same.

    Groups go to the test set in hash order until it holds `test_share` of the rows, as nearly as whole
    groups allow. The rest, largest first, each go to the fold with the fewest rows so far.

    Parameters
    ----------
    groups : name of each row's group: its account, or the photo itself if photos are split at random
    folds : how many folds the rows outside the test set are dealt into, >= 2
    test_share : of rows, in (0, 1)
    seed : another seed gives another split

    Returns
    -------
    int32 array of shape (len(groups),): 0 .. folds - 1, or `TEST`

    Raises
    ------
    StageError : if there are fewer groups than folds and a test set need
    """
    names, codes, counts = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    _refuse_too_few(names.size - 1, folds)
    order = _drawn_order(names, seed)
    n_test = _test_size(counts[order], test_share, most=names.size - folds)
    fold_of = np.full(names.size, TEST, dtype=np.int32)
    rest = order[n_test:]
    fold_of[rest] = _deal(counts[rest], folds)
    return fold_of[codes]


def assign_folds_forward(
    groups: Sequence[str], posted_s: NDArray[np.float64], *, folds: int, test_share: float, seed: int
) -> NDArray[np.int32]:
    """Train on the past and test on what came later: the test set is the latest `test_share` of the rows.

    Earlier rows of the groups that it holds get `LEFT_OUT`: nobody is on both sides. The other groups are
    dealt into folds as `assign_folds` does.

    Parameters
    ----------
    groups, folds, test_share, seed : as in `assign_folds`
    posted_s : when each row was posted, shape (len(groups),); rows of the same moment stay together

    Returns
    -------
    int32 array of shape (len(groups),): 0 .. folds - 1, `TEST` or `LEFT_OUT`

    Raises
    ------
    StageError : if there are fewer groups than folds before the test set begins
    """
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n_test = max(1, round(test_share * posted_s.size))
    in_test = posted_s >= np.sort(posted_s)[-n_test]
    counts = np.bincount(codes, minlength=names.size)
    earlier_only = np.bincount(codes, in_test, names.size) == 0
    rest = _drawn_order(names, seed)
    rest = rest[earlier_only[rest]]
    _refuse_too_few(rest.size, folds)
    fold_of = np.full(names.size, LEFT_OUT, dtype=np.int32)
    fold_of[rest] = _deal(counts[rest], folds)
    return np.where(in_test, np.int32(TEST), fold_of[codes])


def refuse_leaks(folds: NDArray[np.int32], groups: Sequence[str], what: str) -> None:
    """Refuse a split that has members of one group in several folds, or in a fold and the test set.

    Parameters
    ----------
    folds : of each row; `LEFT_OUT` does not count
    what : the groups' name in the message, such as `accounts`

    Raises
    ------
    StageError : naming how many groups, and one of them
    """
    used = folds != LEFT_OUT
    names, codes = np.unique(np.asarray(groups, dtype=str)[used], return_inverse=True)
    lowest, highest = np.full(names.size, folds.max()), np.full(names.size, TEST)
    np.minimum.at(lowest, codes, folds[used])
    np.maximum.at(highest, codes, folds[used])
    split = names[lowest != highest]
    if split.size:
        raise StageError(
            f"{split.size} {what} lie on several sides of the split, such as {split[0]}",
            "labels",
            "this is a fault of raylike: please report it",
        )


def join_groups(groups: Sequence[str], clusters: Sequence[str]) -> list[str]:
    """Make one group of all groups that share a cluster, so that no cluster straddles a split either.

    Parameters
    ----------
    groups, clusters : names of each row's group and cluster, of equal length

    Returns
    -------
    each row's group by its new name, the first in alphabetical order of those joined
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    _, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    n = names.size + len(groups)  # groups, then clusters; there are no more of these than rows
    graph = coo_array((np.ones(len(groups), dtype=np.int32), (group, names.size + cluster)), shape=(n, n))
    component = connected_components(graph, directed=False)[1][: names.size]
    _, first, joined = np.unique(component, return_index=True, return_inverse=True)
    joined_names: list[str] = names[first][joined][group].tolist()
    return joined_names


def within_cap(groups: Sequence[str], names: Sequence[str], most: int, seed: int) -> NDArray[np.bool_]:
    """Choose at most `most` rows of each group, by a hash of the seed and the row's name.

    The choice knows nothing of a row but its name, and has nothing to do with that of `assign_folds`.

    Parameters
    ----------
    groups, names : each row's group, and its own name; names are all different
    most : >= 1

    Returns
    -------
    bool array of shape (len(groups),): whether the row stays
    """
    stays = np.zeros(len(groups), dtype=np.bool_)
    taken: Counter[str] = Counter()
    for row in sorted(range(len(groups)), key=lambda row: _digest(seed, f"cap:{names[row]}")):
        stays[row] = taken[groups[row]] < most
        taken[groups[row]] += 1
    return stays


def _refuse_too_few(groups: int, folds: int) -> None:
    """Raise `StageError` if so many groups outside the test set are too few for the folds."""
    if groups < folds:
        raise StageError(
            f"{groups + 1} accounts are too few for {folds} folds and a test set",
            "labels",
            "collect more, loosen the filters, or set labels.folds lower",
        )


def _drawn_order(names: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """The groups' numbers in the order of a hash of the seed and their name."""
    return np.array(
        sorted(range(names.size), key=lambda index: _digest(seed, str(names[index]))), dtype=np.int64
    )


def _deal(counts: NDArray[np.int64], folds: int) -> NDArray[np.int32]:
    """A fold for each group of so many rows: the largest first, each to the fold with the fewest so far."""
    fold_of = np.empty(counts.size, dtype=np.int32)
    filled = np.zeros(folds, dtype=np.int64)
    for group in np.argsort(-counts, kind="stable"):
        fold_of[group] = fold = int(filled.argmin())
        filled[fold] += counts[group]
    return fold_of


def _test_size(counts: NDArray[np.int64], share: float, most: int) -> int:
    """How many groups, from the first, come nearest to `share` of all rows; 1 .. most."""
    reached = np.cumsum(counts) / counts.sum()
    return int(np.clip(np.abs(reached - share).argmin() + 1, 1, most))


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
