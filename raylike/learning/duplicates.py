"""Which photos are copies of each other: equal bytes, or perceptual hashes that differ in few bits.

Near pairs are found exactly, without comparing all with all. Two 64-bit hashes that differ in at most d
bits, cut into d + k bands, are equal in at least k of them; so for every choice of k bands, only hashes
that are equal there are compared. After G. Manku, A. Jain and A. Das Sarma, Detecting near-duplicates
for web crawling, WWW 2007, section 3, doi:10.1145/1242572.1242592; with k = 1 it is the exact match of
multi-index hashing (M. Norouzi, A. Punjani and D. Fleet, CVPR 2012, doi:10.1109/CVPR.2012.6248043).

Knows hashes. Knows nothing of photos, accounts or tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb, log2

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raylike.vision.perceptual_hash import BITS, SIDE

EXACT = "duplicate"
NEAR = "near duplicate"

MAX_PRODUCT_BITS = 4
"""A hash so near to a product of a row and a column is left out of the search: a sky with one edge, a word
on white, all such pictures have the same few hashes. Random hashes are hardly ever so near: 1 in 10^9."""

MAX_PENDING = 1_000_000
"""Pairs held before they become groups: 16 MB, however many copies there are of one photo."""

SORT_COST = 0.35
"""Sorting n keys takes as long as comparing this times n log2(n) pairs: 3.3 ns against 9.8, numpy 2.4."""


def groups_of_copies(
    sha256: Sequence[str | None], phash: Sequence[str | None], max_bits: int
) -> NDArray[np.int64]:
    """Give each photo its group: everything that is tied to it by a chain of copies.

    Parameters
    ----------
    sha256 : of each photo's bytes, hex; None where not known
    phash : of each photo, 16 hex digits; None for one that is near no other
    max_bits : hashes that differ in at most so many bits are near, 0 to 63

    Returns
    -------
    int64 array of shape (len(sha256),): the first row of the photo's group, so its own number if it is
    alone
    """
    rows = np.arange(len(sha256))
    groups = _Groups(rows.size)
    groups.join(_first_equal(sha256), rows)
    first = _first_equal(phash)
    groups.join(first, rows)
    row_of = np.array([row for row in np.unique(first) if phash[row]], dtype=np.int64)
    hashes = np.array([int(phash[row] or "", 16) for row in row_of], dtype=np.uint64)
    telling = bits_beyond_a_product(hashes) > MAX_PRODUCT_BITS
    row_of, hashes = row_of[telling], hashes[telling]
    for one, other in near_pairs(hashes, max_bits):
        groups.join(row_of[one], row_of[other])
    return groups.first_rows()


def bits_beyond_a_product(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits in which each hash, as 8 x 8 signs, differs from the nearest product of a row and a column.

    Parameters
    ----------
    hashes : uint64 array of shape (n,)

    Returns
    -------
    int64 array of shape (n,), 0 to 32; of random hashes hardly ever below 10
    """
    rows = hashes.view(np.uint8).reshape(-1, SIDE)
    fewest = np.full(hashes.size, BITS)
    for pattern in np.arange(2**SIDE // 2, dtype=np.uint8):  # its complement is as far from every row
        off = np.bitwise_count(rows ^ pattern)
        fewest = np.minimum(fewest, np.minimum(off, SIDE - off).sum(axis=1))
    return fewest


def near_pairs(
    hashes: NDArray[np.uint64], max_bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every pair of hashes that differ in at most `max_bits` bits, some of them more than once.

    Memory is bounded by the number of hashes: no yield holds more pairs than that. Time grows with the
    square only of how many distinct hashes are equal in the same k bands.

    Parameters
    ----------
    hashes : uint64 array of shape (n,), all different
    max_bits : 0 to 63

    Yields
    ------
    two int64 arrays of equal shape: the pairs' places in `hashes`
    """
    for mask in _masks(hashes.size, max_bits):
        keys = hashes & mask
        order = np.argsort(keys)
        keys = keys[order]
        start = np.arange(keys.size)
        for offset in range(1, keys.size):
            start = start[: np.searchsorted(start, keys.size - offset)]
            start = start[keys[start] == keys[start + offset]]
            if not start.size:
                break
            one, other = order[start], order[start + offset]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= max_bits
            yield one[near], other[near]


def _masks(n: int, max_bits: int) -> Iterator[np.uint64]:
    """For each choice of k of the `max_bits` + k bands, ones where these bands lie."""
    k = _bands_compared(n, max_bits)
    bits = np.left_shift(np.uint64(1), np.arange(BITS, dtype=np.uint64))
    bands = [np.bitwise_or.reduce(band) for band in np.array_split(bits, max_bits + k)]
    for chosen in combinations(bands, k):
        yield np.bitwise_or.reduce(chosen)


def _bands_compared(n: int, max_bits: int) -> int:
    """The k for which `n` random hashes cost least: more bands at once, fewer chance meetings, more sorts."""

    def cost(k: int) -> float:
        meetings = n * n / 2 / 2 ** (k * BITS / (max_bits + k))
        return comb(max_bits + k, k) * (SORT_COST * n * log2(n + 2) + meetings)

    return min(range(1, BITS - max_bits + 1), key=cost)


def _first_equal(values: Sequence[str | None]) -> NDArray[np.int64]:
    """The first row with the same value, for each row; None is equal to nothing."""
    first: dict[str, int] = {}
    found = [row if text is None else first.setdefault(text, row) for row, text in enumerate(values)]
    return np.array(found, dtype=np.int64)


class _Groups:
    """Rows tied together pair by pair; memory bounded by rows and `MAX_PENDING`, not by pairs."""

    def __init__(self, n: int) -> None:
        self._first = np.arange(n)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._n_pending = 0

    def join(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        """Put the groups of each pair of rows together."""
        one, other = self._first[one], self._first[other]
        apart = one != other
        self._pending.append((one[apart], other[apart]))
        self._n_pending += int(apart.sum())
        if self._n_pending >= MAX_PENDING:
            self._merge()

    def first_rows(self) -> NDArray[np.int64]:
        """The first row of each row's group."""
        self._merge()
        return self._first

    def _merge(self) -> None:
        if not self._n_pending:
            self._pending.clear()
            return
        one, other = (np.concatenate(side) for side in zip(*self._pending, strict=True))
        n = self._first.size
        graph = coo_array((np.ones(one.size, dtype=np.int32), (one, other)), shape=(n, n))
        component = connected_components(graph, directed=False)[1][self._first]
        _, first, group = np.unique(component, return_index=True, return_inverse=True)
        self._first = first[group]
        self._pending.clear()
        self._n_pending = 0
