"""Copies: the groups are those of the definition, all pairs compared; nothing is tied by an empty hash."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from raylike.learning import duplicates
from raylike.learning.duplicates import bits_beyond_a_product, groups_of_copies, near_pairs
from raylike.vision.perceptual_hash import distance

TELLING = 0x3C5A_0FF1_9D26_B4E8
"""A hash that is no product of a row and a column, nor near to one."""

flips = st.lists(st.integers(0, 63), max_size=8)
hashes = st.one_of(st.integers(0, 2**64 - 1), flips.map(lambda bits: flip(TELLING, bits)))


def flip(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def as_hex(value: int | None) -> str | None:
    return None if value is None else f"{value:016x}"


def brute_force(sha256: list[str | None], phash: list[str | None], max_bits: int) -> list[int]:
    """The first row that each row is tied to, by the definition."""
    first = list(range(len(sha256)))
    for one, other in itertools.combinations(range(len(sha256)), 2):
        same = sha256[one] is not None and sha256[one] == sha256[other]
        a, b = phash[one], phash[other]
        near = (
            a is not None and b is not None and (a == b or (both_tell(a, b) and distance(a, b) <= max_bits))
        )
        if same or near:
            low, high = sorted((first[one], first[other]))
            first = [low if row == high else row for row in first]
    return first


def both_tell(*texts: str) -> bool:
    values = np.array([int(text, 16) for text in texts], dtype=np.uint64)
    return bool((bits_beyond_a_product(values) > duplicates.MAX_PRODUCT_BITS).all())


photos = st.lists(
    st.tuples(st.none() | st.sampled_from("abcdef"), st.none() | hashes.map(as_hex)), max_size=30
)


@settings(deadline=None)
@given(photos, st.integers(0, 12))
def test_the_groups_are_those_of_the_definition(
    rows: list[tuple[str | None, str | None]], max_bits: int
) -> None:
    sha256, phash = [row[0] for row in rows], [row[1] for row in rows]
    found = groups_of_copies(sha256, phash, max_bits)
    assert found.tolist() == brute_force(sha256, phash, max_bits)


def near_by_definition(values: NDArray[np.uint64], max_bits: int) -> set[tuple[int, int]]:
    bits = np.bitwise_count(values[:, None] ^ values[None, :])
    return {(int(i), int(j)) for i, j in np.argwhere(bits <= max_bits) if i < j}


@given(st.sets(hashes, max_size=40), st.integers(0, 16), st.integers(1, 4))
def test_every_near_pair_is_met_and_no_other_in_any_number_of_bands(
    values: set[int], max_bits: int, bands: int
) -> None:
    array = np.array(sorted(values), dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duplicates, "_bands_compared", lambda *_: bands)
        pairs = list(near_pairs(array, max_bits))
    met = {
        (min(pair), max(pair))
        for one, other in pairs
        for pair in zip(one.tolist(), other.tolist(), strict=True)
    }
    assert met == near_by_definition(array, max_bits)


@given(photos, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_group(
    rows: list[tuple[str | None, str | None]], random: object
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = groups_of_copies([row[0] for row in rows], [row[1] for row in rows], 6)
    shuffled = groups_of_copies([rows[i][0] for i in order], [rows[i][1] for i in order], 6)
    members = [
        frozenset(order[i] for i in np.flatnonzero(shuffled == group)) for group in np.unique(shuffled)
    ]
    assert set(members) == {frozenset(np.flatnonzero(straight == group).tolist()) for group in set(straight)}


def test_a_thousand_of_many_random_hashes_are_planted_and_found() -> None:
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    copies = originals[:1000].copy()
    for _ in range(6):
        copies ^= np.left_shift(np.uint64(1), rng.integers(0, 64, 1000).astype(np.uint64))
    texts = [f"{value:016x}" for value in np.concatenate([originals, copies]).tolist()]
    groups = groups_of_copies([None] * len(texts), texts, 6)
    assert groups[20_000:].tolist() == list(range(1000))
    assert groups[:20_000].tolist() == list(range(20_000))


def test_copies_of_copies_are_one_group() -> None:
    chain = [flip(TELLING, list(range(0, end, 2))) for end in (0, 10, 20)]
    assert distance(as_hex(chain[0]) or "", as_hex(chain[2]) or "") == 10
    assert groups_of_copies([None] * 3, [as_hex(value) for value in chain], 6).tolist() == [0, 0, 0]


@pytest.mark.parametrize("product", [0x0000000000000000, 0x5555555555555555, 0x6699996666999966])
def test_hashes_of_one_edge_or_one_spot_tie_only_what_is_equal(product: int) -> None:
    texts = [as_hex(product), as_hex(product ^ 1), as_hex(product)]
    assert groups_of_copies([None] * 3, texts, 6).tolist() == [0, 1, 0]


@given(st.integers(0, 255), st.integers(0, 255), st.lists(st.integers(0, 63), max_size=3, unique=True))
def test_bits_are_counted_from_the_nearest_product(row: int, column: int, off: list[int]) -> None:
    product = int.from_bytes(bytes(row if column >> i & 1 else row ^ 0xFF for i in range(8)))
    value = np.array([flip(product, off)], dtype=np.uint64)
    assert bits_beyond_a_product(value).tolist() == [len(off)]


def test_more_copies_of_one_photo_than_pairs_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_PENDING", 10)
    texts = [as_hex(TELLING ^ low) for low in range(200)]
    groups = groups_of_copies([str(row % 3) for row in range(200)], texts, 8)
    assert set(groups.tolist()) == {0}
