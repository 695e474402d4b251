"""What the report says of single photos and of the ranking behind the headline, as plain numbers.

A part of `Facts` (`facts.py`). Knows no tables, no plots and no HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAP_SIDE = 4095
"""Places along each side of the map."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A curve on the test photos with its 95 % band, point by point."""

    model: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class CalibrationBin:
    """Test photos of about the same probability, and the share of them that was good."""

    probability: float
    good: Estimate
    n: int


@dataclass(frozen=True)
class Judgement:
    """How the headline's model judges the test photos; `brier` is the mean squared error of probabilities.

    Attributes
    ----------
    roc, precision_recall : the headline's model first, then references
    n, n_accounts : test photos, and accounts that posted them
    brier_of_chance : of a model that says the share of good photos every time
    """

    n: int
    n_accounts: int
    chance: float
    roc: tuple[Curve, ...]
    precision_recall: tuple[Curve, ...]
    calibration: tuple[CalibrationBin, ...]
    brier: Estimate
    brier_of_chance: float


@dataclass(frozen=True)
class Difference:
    """AP of the headline's model less that of another on the same test photos and the same resamples."""

    model: str
    other: str
    difference: Estimate


@dataclass(frozen=True)
class Slot:
    """Kept posts of one hour of the day, or of one range of age, and their likes per follower.

    Attributes
    ----------
    start, end : hours (UTC), or days from posting to reading the likes
    """

    start: float
    end: float
    posts: int
    median_ratio: float | None
    quarter: float | None
    three_quarters: float | None


@dataclass(frozen=True)
class Effect:
    """What photos that have more of a visible attribute score, less what those score that have less of it.

    Attributes
    ----------
    kind : `amount`: the upper third against the lower; `yes or no`: photos with it against the others
    little, much : where the thirds end, in the attribute's unit; None for `yes or no`
    score, liked : in percentile points, of the model's score and of likes per follower
    """

    attribute: str
    meaning: str
    kind: Literal["amount", "yes or no"]
    little: float | None
    much: float | None
    n_little: int
    n_much: int
    score: Estimate
    liked: Estimate

    @property
    def unseen(self) -> bool:
        """Whether likes differ and the score does not, as far as the intervals tell."""
        return self.score.low <= 0 <= self.score.high and not self.liked.low <= 0 <= self.liked.high


@dataclass(frozen=True)
class Group:
    """Photos alike in something measured in pixels; mean percentile of score and of likes, and the gap."""

    trait: str
    group: str
    n: int
    score: Estimate
    liked: Estimate
    gap: Estimate


@dataclass(frozen=True)
class Traits:
    """What is visible in photos beside their scores, by `n` photos of `n_accounts` accounts."""

    model: str
    n: int
    n_labelled: int
    n_accounts: int
    effects: tuple[Effect, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class NearPhoto:
    """A labelled photo that the network sees as alike; `likeness` is the cosine of the features, to 1."""

    picture: int | None
    likeness: float
    good: bool


@dataclass(frozen=True)
class Neighbourhood:
    """A test photo of the ranking, and the photos of other accounts that are most alike."""

    rank: int
    picture: int | None
    good: bool
    nearest: tuple[NearPhoto, ...]


@dataclass(frozen=True)
class PhotoMap:
    """t-SNE of the labelled photos' features, photos in the order of their ids; all tuples (n,).

    Attributes
    ----------
    x, y : place, 0 to `MAP_SIDE` each way
    percentile : of the score; -1 where the headline's model has none
    tile : number of its small picture on the sheet; -1 without one
    tile_px, columns : of the sheet: side of a tile, tiles in a row
    """

    layer: str
    perplexity: float
    x: tuple[int, ...]
    y: tuple[int, ...]
    percentile: tuple[int, ...]
    good: tuple[bool, ...]
    test: tuple[bool, ...]
    tile: tuple[int, ...]
    tile_px: int
    columns: int


@dataclass(frozen=True)
class Occlusion:
    """How the score of a photo changes as a patch of it is covered, on a grid of rows.

    Attributes
    ----------
    picture : as in `RankedPhoto`
    rank : in the ranking of the test photos
    change : score of the covered photo less its own, in SDs of all scores; below 0: the patch raised it
    crops : name -> score of a part of the photo less that of the whole, in the same unit
    """

    picture: int | None
    rank: int
    change: tuple[tuple[float, ...], ...]
    crops: dict[str, float]


@dataclass(frozen=True)
class Occlusions:
    """Photos with patches covered.

    Attributes
    ----------
    model : which scored them: the best linear one, which need not be the headline's
    margin : of the thumbnail's side, on each side, that the network does not see
    """

    model: str
    margin: float
    photos: tuple[Occlusion, ...]
