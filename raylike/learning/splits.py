"""Who is trained and who is tested on whom: test share and folds that no account straddles.

The order of rows never matters: groups are ordered by a hash of the seed and their name. Knows names
and counts. Knows nothing of labels or features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raylike.errors import StageError

TEST = -1
"""The fold number of a test photo."""


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
    if names.size < folds + 1:
        raise StageError(
            f"{names.size} accounts are too few for {folds} folds and a test set",
            "labels",
            "collect more, loosen the filters, or set labels.folds lower",
        )
    order = np.array(sorted(range(names.size), key=lambda index: _digest(seed, str(names[index]))))
    n_test = _test_size(counts[order], test_share, most=names.size - folds)
    fold_of = np.full(names.size, TEST, dtype=np.int32)
    rest = order[n_test:]
    filled = np.zeros(folds, dtype=np.int64)
    for group in rest[np.argsort(-counts[rest], kind="stable")]:
        fold = int(filled.argmin())
        fold_of[group] = fold
        filled[fold] += counts[group]
    return fold_of[codes]


def _test_size(counts: NDArray[np.int64], share: float, most: int) -> int:
    """How many groups, from the first, come nearest to `share` of all rows; 1 .. most."""
    reached = np.cumsum(counts) / counts.sum()
    return int(np.clip(np.abs(reached - share).argmin() + 1, 1, most))


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
