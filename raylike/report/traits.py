"""What is visible in photos against what they score: effects of attributes, and groups.

Photos with much of an attribute are compared with those that have little, in percentile points of the
score and of likes per follower, with intervals over accounts. Groups are made of pixels alone (size and
light of a face box), never of a guess at who somebody is. Knows arrays. Knows no tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raylike.report.account_bootstrap import Draws, estimate
from raylike.report.photo_facts import Effect, Estimate, Group, Traits
from raylike.report.scored_photos import ScoredPhotos
from raylike.vision.attributes import Attributes

AMOUNTS = {
    "brightness": "light photos",
    "contrast": "strong contrast between light and dark",
    "saturation": "strong colours",
    "colourfulness": "many colours",
    "warmth": "warm colours, red rather than blue",
    "greenery": "leaves and lawn: a large share of green",
    "detail": "busy pictures: many edges",
    "face_share": "a face that fills much of the photo",
    "face_height": "a face low in the photo",
}
QUESTIONS = {
    "black_and_white": "no colour at all",
    "border": "a plain frame around the photo",
    "n_faces": "more than one face",
}
MIN_MEMBERS = 10
"""Photos on either side; with fewer nothing is said."""
THIRDS = (1 / 3, 2 / 3)


def traits(photos: ScoredPhotos, seen: Sequence[Attributes], n_labelled: int, seed: int) -> Traits | None:
    """Effects, strongest first, and groups.

    Parameters
    ----------
    photos : those that were looked at
    seen : their attributes
    n_labelled : how many there are in all
    """
    if not len(seen):
        return None
    columns = {name: np.array([getattr(one, name) for one in seen], np.float64) for name in vars(seen[0])}
    draws = Draws.of(photos.accounts, seed)
    effects = sorted(_effects(photos, columns, draws), key=lambda effect: -abs(effect.score.value))
    return Traits(
        model=photos.model,
        n=len(seen),
        n_labelled=n_labelled,
        n_accounts=draws.n_accounts,
        effects=tuple(effects),
        groups=tuple(_groups(photos, columns, draws)),
    )


def _effects(photos: ScoredPhotos, columns: dict[str, NDArray[np.float64]], draws: Draws) -> Iterator[Effect]:
    for name, meaning in AMOUNTS.items():
        values = columns[name]
        if name.startswith("face_"):
            values = np.where(columns["n_faces"] > 0, values, np.nan)
        if np.isfinite(values).any():
            low, high = np.nanquantile(values, THIRDS)
            found = _effect(photos, draws, values <= low, values > high)
            if found is not None and low < high:
                yield Effect(name, meaning, "amount", float(low), float(high), *found)
    for name, meaning in QUESTIONS.items():
        much = columns[name] > (1 if name == "n_faces" else 0)
        found = _effect(photos, draws, ~much, much)
        if found is not None:
            yield Effect(name, meaning, "yes or no", None, None, *found)


def _effect(
    photos: ScoredPhotos, draws: Draws, little: NDArray[np.bool_], much: NDArray[np.bool_]
) -> tuple[int, int, Estimate, Estimate] | None:
    """Photos on either side, and the differences of their means; None if a side is too small."""
    if min(little.sum(), much.sum()) < MIN_MEMBERS:
        return None
    score, liked = (
        estimate(draws.means(values, much) - draws.means(values, little))
        for values in (photos.percentile, photos.liked)
    )
    return int(little.sum()), int(much.sum()), score, liked


def _groups(photos: ScoredPhotos, columns: dict[str, NDArray[np.float64]], draws: Draws) -> Iterator[Group]:
    """Means of score and of likes in each group, and the mean of score less likes: who is underrated."""
    for trait, names in _memberships(columns).items():
        for group, members in names.items():
            if members.sum() < MIN_MEMBERS:
                continue
            score, liked = draws.means(photos.percentile, members), draws.means(photos.liked, members)
            yield Group(
                trait, group, int(members.sum()), estimate(score), estimate(liked), estimate(score - liked)
            )


def _memberships(columns: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    n_faces = columns["n_faces"]
    found = {
        trait: _thirds(np.where(n_faces > 0, columns[name], np.nan), words)
        for trait, name, words in (
            ("Light of the face box", "face_luminance", ("darker third", "middle third", "lighter third")),
            ("Size of the face", "face_share", ("smaller third", "middle third", "larger third")),
        )
    }
    found["Number of faces"] = {"one": n_faces == 1, "two": n_faces == 2, "three or more": n_faces > 2}
    return found


def _thirds(values: NDArray[np.float64], words: tuple[str, str, str]) -> dict[str, NDArray[np.bool_]]:
    if not np.isfinite(values).any():
        return {}
    low, high = np.nanquantile(values, THIRDS)
    if low == high:
        return {}
    return dict(zip(words, (values <= low, (values > low) & (values <= high), values > high), strict=True))
