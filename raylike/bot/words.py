"""What the bot says of photos, in a few sentences: plain text, and nothing that a stranger wrote.

Knows scores. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from raylike.scoring.results import PhotoScore

RANDOM = "(My network is untrained: I only show that I work.)"
UNREAD = "I cannot read that photo."
MORE = 1.0
"""Percentile points by which a crop has to be better than the photo to be worth a word."""


def answer(results: Sequence[PhotoScore], *, random: bool, at_most: int) -> str:
    """The answer to a mention with these photos.

    Parameters
    ----------
    results : at least one, in the order in which they were shown
    random : whether the model's network has random weights
    at_most : characters
    """
    said = _of_one(results[0]) if len(results) == 1 else _of_several(results)
    if random and any(result.percentile is not None for result in results):
        said = f"{said} {RANDOM}"
    return said[:at_most]


def _of_one(result: PhotoScore) -> str:
    if result.percentile is None:
        return UNREAD
    said = f"Better than {result.percentile:.0f} % of photos from accounts like these."
    if result.crop is not None and result.crop.percentile >= result.percentile + MORE:
        box = result.crop.box
        said += (
            f" Cropped to {box.width} x {box.height} px, {box.x} from the left and {box.y} from the top:"
            f" {result.crop.percentile:.0f} %."
        )
    return said


def _of_several(results: Sequence[PhotoScore]) -> str:
    scored = [(result.percentile, -number) for number, result in enumerate(results, 1)
              if result.percentile is not None]  # fmt: skip
    if not scored:
        return "I cannot read these photos."
    (most, best), *others = sorted(scored, reverse=True)
    said = f"Photo {-best} does best: better than {most:.0f} % of photos from accounts like these."
    rest = [f"photo {-number} {percentile:.0f} %" for percentile, number in others]
    unread = len(results) - len(scored)
    if rest:
        said += f" Then {', '.join(rest)}."
    return said + (f" {unread} I cannot read." if unread else "")
