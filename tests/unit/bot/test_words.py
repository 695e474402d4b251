"""What the bot says: the score, the better crop, the order of several; short enough; honest about weights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raylike.bot import words
from raylike.scoring.results import Box, Crop, PhotoScore


def scored(percentile: float, crop: float | None = None) -> PhotoScore:
    part = None if crop is None else Crop(Box(10, 0, 400, 400), crop)
    return PhotoScore("https://photos.test/1.jpg", "ok", percentile=percentile, crop=part)


UNREAD = PhotoScore("https://photos.test/2.jpg", "too_large", "<script>")


def say(*results: PhotoScore, random: bool = False) -> str:
    return words.answer(results, random=random, at_most=300)


def test_one_photo_and_its_better_part() -> None:
    assert say(scored(72.4)) == "Better than 72 % of photos from accounts like these."
    assert say(scored(72.4, 85.0)).endswith(
        " Cropped to 400 x 400 px, 10 from the left and 0 from the top: 85 %."
    )


def test_a_crop_that_is_no_better_is_not_worth_a_word() -> None:
    assert say(scored(72.4, 72.5)) == say(scored(72.4))


def test_several_are_ranked() -> None:
    assert say(scored(40), UNREAD, scored(81), scored(12)) == (
        "Photo 3 does best: better than 81 % of photos from accounts like these. "
        "Then photo 1 40 %, photo 4 12 %. 1 I cannot read."
    )


def test_photos_that_cannot_be_read_are_told_without_anybody_elses_words() -> None:
    assert say(UNREAD, random=True) == "I cannot read that photo."
    assert say(UNREAD, UNREAD) == "I cannot read these photos."


def test_random_weights_are_said_with_every_score() -> None:
    assert words.RANDOM in say(scored(50), random=True)
    assert words.RANDOM in say(scored(50), scored(60), random=True)


@given(st.lists(st.one_of(st.floats(0, 100).map(scored), st.just(UNREAD)), min_size=1, max_size=4))
def test_it_fits_into_a_post_with_its_caveat(results: list[PhotoScore]) -> None:
    said = say(*results, random=True)
    assert len(said) < 300 - 1
    assert said.endswith((".", ".)"))
