"""Items are shared out so that a host has to do with one process, and no process has most of the work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.downloads import deal


def test_small_hosts_have_to_do_with_one_process_each() -> None:
    lanes = [f"h{i % 10}" for i in range(100)]
    shares = deal(lanes, 3)
    hosts = [{lanes[place] for place in share} for share in shares]
    assert sum(map(len, hosts)) == 10
    assert sorted(map(len, shares)) == [30, 30, 40]


def test_a_host_of_most_photos_is_spread_over_all() -> None:
    lanes = ["big"] * 90 + [f"small{i}" for i in range(10)]
    shares = deal(lanes, 2)
    assert sorted(map(len, shares)) == [50, 50]
    assert [sum(lanes[place] == "big" for place in share) for share in shares] == [45, 45]


@given(st.lists(st.sampled_from("aaaaaabbbcd"), max_size=60), st.integers(1, 6))
def test_every_item_goes_to_one_process_and_shares_are_fair(lanes: list[str], n: int) -> None:
    shares = deal(lanes, n)
    assert sorted(place for share in shares for place in share) == list(range(len(lanes)))
    fair = len(lanes) / n
    assert max(map(len, shares)) <= fair + fair / 2 + len(set(lanes))
