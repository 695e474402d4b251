"""Every figure of the report, as one frozen structure of plain numbers.

The page is rendered from `Facts` and thumbnails alone, and `results.json` is `Facts` written down, so
the two cannot differ. What a partial workspace does not hold yet is None or empty. Knows no tables, no
plots and no HTML.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from raylike.report.photo_facts import (
    Difference,
    Estimate,
    Judgement,
    Neighbourhood,
    Occlusions,
    PhotoMap,
    Slot,
    Traits,
)

__all__ = ["Estimate", "Facts"]

FEW_PHOTOS, FEW_ACCOUNTS = 50, 30
"""With fewer test photos, or accounts that posted them, a bootstrap interval promises what it cannot keep."""


@dataclass(frozen=True)
class Asked:
    """What the run was told, and which data it met. Times are ISO 8601, UTC."""

    source: str
    tag: str
    seed: int
    preset: str
    protocol: str
    min_age_days: float
    first_post: str | None
    last_post: str | None
    collected: str | None
    versions: dict[str, str]


@dataclass(frozen=True)
class Headline:
    """The best model by cross-validation, on the test photos.

    Attributes
    ----------
    ap : average precision
    roc_auc : how often a good photo scores above a bad one
    n_accounts : that posted the test photos; None where nobody knows
    chance : share of good photos, the average precision of a coin
    oracle : average precision of the simulator's own truth; None for real photos
    """

    model: str
    features: str
    weights: str
    n: int
    ap: Estimate
    chance: float
    oracle: float | None
    roc_auc: Estimate
    n_accounts: int | None = None

    @property
    def beats_chance(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.ap.low > self.chance

    @property
    def too_few(self) -> bool:
        """Whether the test photos, or their accounts, are so few that the interval means nothing."""
        return self.n < FEW_PHOTOS or (self.n_accounts is not None and self.n_accounts < FEW_ACCOUNTS)


@dataclass(frozen=True)
class Step:
    """A step of the funnel: photos left (None if not run yet), beside the study's count."""

    name: str
    stage: str
    count: int | None
    of_first: float | None
    of_previous: float | None
    study: int | None
    study_of_first: float | None = None


@dataclass(frozen=True)
class Reason:
    """How many items a stage left out, and why."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True)
class Summary:
    """A sample of follower counts, one a post."""

    n: int
    mean: float
    sd: float
    median: float
    mad: float


@dataclass(frozen=True)
class Followers:
    """Followers of the posts' accounts before and after the filter: two histograms on the same bins."""

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    summary_before: Summary
    summary_after: Summary
    scale: str
    factor: float


@dataclass(frozen=True)
class LikesByFollowers:
    """Posts by followers + 1 (rows) and likes + 1 (columns), counted in cells on logarithmic edges."""

    follower_edges: tuple[float, ...]
    like_edges: tuple[float, ...]
    kept: tuple[tuple[int, ...], ...]
    dropped: tuple[tuple[int, ...], ...]
    median_ratio: float


@dataclass(frozen=True)
class Ratios:
    """Likes per follower of the labelled photos, and the threshold between good and bad."""

    edges: tuple[float, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    zero: int
    threshold: float
    good: int
    n: int


@dataclass(frozen=True)
class CutQuality:
    """A cut by photos labelled by eye; precision is None where it keeps none of them."""

    min_confidence: float
    precision: Estimate | None
    recall: Estimate


@dataclass(frozen=True)
class FaceCut:
    """How many photos have a face of at least some confidence, and the cut that was made.

    `judged` is empty unless `n_labelled` photos were labelled by eye (`faces.truth`).
    """

    detector: str
    confidences: tuple[float, ...]
    photos: tuple[int, ...]
    min_confidence: float
    n_photos: int
    n_with_face: int
    n_above_cut: int
    judged: tuple[CutQuality, ...]
    n_labelled: int


@dataclass(frozen=True)
class Score:
    """A model's figures on one set of photos; the last two are None where they are not defined."""

    n: int
    positive_rate: float
    ap: Estimate
    roc_auc: Estimate
    accuracy: Estimate
    spearman: Estimate | None = None
    pair_accuracy: Estimate | None = None


@dataclass(frozen=True)
class Model:
    """A model on a set of features, cross-validated and on the test photos.

    Attributes
    ----------
    reference : True for what does not look at photos: the metadata baseline and the oracle
    """

    model: str
    features: str
    weights: str
    reference: bool
    parameters: dict[str, Any]
    seconds: float
    cross_validation: Score | None
    test: Score | None

    @property
    def name(self) -> str:
        """As in the scores table."""
        return f"{self.model} on {self.features}"


@dataclass(frozen=True)
class DesignResult:
    """LinearSVC on the last layer where photos are called good by another rule.

    Attributes
    ----------
    rule : the design in words: a photo is good if ...
    chosen : whether it is the rule that everything else in the report goes by
    """

    design: str
    rule: str
    features: str
    chosen: bool
    cross_validation: Score | None
    test: Score | None


@dataclass(frozen=True)
class Published:
    """A figure that the study published, beside ours (None if there is none yet)."""

    figure: str
    study: str
    ours: Estimate | None
    ours_count: int | None
    note: str


@dataclass(frozen=True)
class SweepPoint:
    """LinearSVC at one C, cross-validated."""

    c: float
    ap: Estimate
    accuracy: float


@dataclass(frozen=True)
class Sweep:
    """LinearSVC on one layer over C."""

    features: str
    points: tuple[SweepPoint, ...]


@dataclass(frozen=True)
class TrainingPoint:
    """A look at a network in training."""

    iteration: int
    loss: float
    lr: float
    validation_ap: float
    photos_per_s: float


@dataclass(frozen=True)
class Training:
    """One network's training."""

    run: str
    points: tuple[TrainingPoint, ...]


@dataclass(frozen=True)
class Trial:
    """A trial of the search: of a network, or of a linear model and its C.

    What a kind of model does not have is None.
    """

    trial: int
    model: str
    lr: float | None
    weight_decay: float | None
    trainable: str | None
    schedule: str | None
    batch_size: int | None
    label_smoothing: float | None
    c: float | None
    iterations: int
    validation_ap: float
    best_validation_ap: float
    stopped_early: bool
    seconds: float


@dataclass(frozen=True)
class RankedPhoto:
    """A test photo in a gallery.

    Attributes
    ----------
    picture : its number among the labelled photos by id: names its picture on the page and nobody
    post_id, caption : None where nobody is to be recognised
    """

    picture: int | None
    rank: int
    probability: float
    good: bool | None
    likes: int | None
    followers: int | None
    post_id: str | None
    caption: str | None


@dataclass(frozen=True)
class Gallery:
    """The test photos as one model ranks them.

    Attributes
    ----------
    anonymised : faces are a mosaic, and names are left out
    continuum : from worst to best, evenly spaced in rank
    overrated : ranked highest of those that were not liked, most wrong first
    underrated : ranked lowest of those that were, most wrong first
    best : the first photos of the ranking, best first
    worst : its last ones, worst first
    n_ends : how many of `best` face `worst` side by side
    """

    model: str
    weights: str
    n_photos: int
    n_ends: int
    anonymised: bool
    best: tuple[RankedPhoto, ...]
    worst: tuple[RankedPhoto, ...]
    continuum: tuple[RankedPhoto, ...]
    overrated: tuple[RankedPhoto, ...]
    underrated: tuple[RankedPhoto, ...]
    good_among_best: float | None
    good_among_worst: float | None


@dataclass(frozen=True)
class StageTime:
    """The last time a stage ran: what it cost and what it said.

    Attributes
    ----------
    hits : requests to the network's API, where the stage made any
    bytes : read from the network, or written to disk, where they are known
    """

    stage: str
    seconds: float
    rows_in: int
    rows_out: int
    rows_per_s: float | None
    memory_peak_mib: float
    notes: tuple[str, ...]
    hits: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Facts:
    """All that the page shows."""

    asked: Asked
    random_weights: bool
    headline: Headline | None
    funnel: tuple[Step, ...]
    reasons: tuple[Reason, ...]
    followers: Followers | None
    likes: LikesByFollowers | None
    ratios: Ratios | None
    faces: FaceCut | None
    published: tuple[Published, ...]
    models: tuple[Model, ...]
    designs: tuple[DesignResult, ...]
    sweeps: tuple[Sweep, ...]
    trainings: tuple[Training, ...]
    trials: tuple[Trial, ...]
    gallery: Gallery | None
    times: tuple[StageTime, ...]
    hours: tuple[Slot, ...] = ()
    ages: tuple[Slot, ...] = ()
    judgement: Judgement | None = None
    differences: tuple[Difference, ...] = ()
    traits: Traits | None = None
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    photo_map: PhotoMap | None = None
    occlusions: Occlusions | None = None

    def to_json(self) -> str:
        """The same figures as JSON; what is not a number (NaN, infinities) becomes null."""
        return (
            json.dumps(_plain(dataclasses.asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value
