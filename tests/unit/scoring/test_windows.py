"""Windows lie in the photo, come in several sizes, and keep faces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raylike.scoring.results import Box
from raylike.scoring.windows import held, windows

SIZES = st.integers(64, 5000)


@given(SIZES, SIZES)
def test_windows_lie_in_the_photo_and_the_largest_is_among_them(width: int, height: int) -> None:
    found = windows(width, height, [], 64)
    assert found[0].width == min(width, height)
    assert len(found) == len(set(found)) <= 64
    for window in found:
        assert window.width == window.height
        assert 0 <= window.x <= width - window.width
        assert 0 <= window.y <= height - window.height


@given(SIZES, SIZES, st.data())
def test_a_face_that_any_window_holds_is_kept_by_all(width: int, height: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, min(width, height)))
    face = Box(data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side)), side, side)
    every, kept = windows(width, height, [], 64), windows(width, height, [face], 64)
    assert kept
    most = max(held(face, window) for window in every)
    assert all(held(face, window) >= 0.95 * min(most, 1) - 1e-9 for window in kept)


def test_with_faces_too_far_apart_the_larger_is_kept() -> None:
    large, small = Box(10, 10, 100, 100), Box(900, 10, 50, 50)
    assert {held(large, window) for window in windows(1000, 200, [small, large], 64)} == {1.0}


def test_small_photos_are_not_cut_smaller_than_a_photo_may_be() -> None:
    assert windows(64, 64, [], 64) == [Box(0, 0, 64, 64)]
