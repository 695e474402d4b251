"""The same photos and the same split under every label design: how well LinearSVC ranks what each calls good.

A design may leave photos without a label, so each is judged on its own photos: read its AP against its own
share of good ones. Within-account pair accuracy and Spearman's rho are about likes, not labels, and can be
read across designs.

Knows arrays. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raylike.errors import StageError
from raylike.learning import svm
from raylike.learning.evaluation import Metrics, evaluate
from raylike.learning.label_designs import NO_LABEL
from raylike.learning.photos import Photos
from raylike.learning.splits import assign_folds


@dataclass(frozen=True)
class Judged:
    """A design on one part of its photos.

    Attributes
    ----------
    n : photos of the part
    positive_rate : share of good ones: the AP of chance
    c : chosen by cross-validation
    """

    n: int
    positive_rate: float
    c: float
    metrics: Metrics


@dataclass(frozen=True)
class Comparison:
    """What became of a design: how it was judged on training and test photos, or why it was not."""

    cross_validation: Judged | None = None
    test: Judged | None = None
    reason: str = ""


def compare(
    photos: Photos,
    features: NDArray[np.float32],
    designs: Mapping[str, NDArray[np.int8]],
    c_values: Sequence[float],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Comparison]:
    """Judge every design.

    Parameters
    ----------
    photos : with accounts and folds; their labels are not looked at
    features : float32 array of shape (orientations, n, d), on the scale of `scaling.py`
    designs : the labels (n,) of each design, `NO_LABEL` where it has none
    """
    return {
        design: _judge(photos, features, labels, c_values, resamples, seed)
        for design, labels in designs.items()
    }


def _judge(
    photos: Photos,
    features: NDArray[np.float32],
    labels: NDArray[np.int8],
    c_values: Sequence[float],
    resamples: int,
    seed: int,
) -> Comparison:
    labelled = labels != NO_LABEL
    chosen = replace(
        photos,
        ids=photos.ids[labelled],
        groups=photos.groups[labelled],
        labels=labels[labelled],
        folds=photos.folds[labelled],
        ratios=None if photos.ratios is None else photos.ratios[labelled],
    )
    try:
        chosen.check()
    except StageError as too_few:
        return Comparison(reason=too_few.what)
    rows = features if labelled.all() else np.ascontiguousarray(features[:, labelled])
    sweep = svm.sweep_c(svm.Layer(chosen, rows), c_values)

    def judged(part: NDArray[np.int64]) -> Judged:
        values = chosen.labels[part]
        (metrics,) = evaluate(
            values, sweep.scores[None, part], np.zeros(1), chosen.groups[part], resamples=resamples,
            seed=seed, ratios=None if chosen.ratios is None else chosen.ratios[part],
        )  # fmt: skip
        return Judged(part.size, float(values.mean()), sweep.best_c, metrics)

    return Comparison(judged(chosen.train), judged(chosen.test))


def with_accounts_apart(photos: Photos, test_share: float, seed: int) -> Photos:
    """The same photos in a split that no account straddles, with as many folds.

    Raises
    ------
    StageError : if there are fewer accounts than that needs
    """
    folds = assign_folds(
        photos.groups.tolist(), folds=photos.fold_numbers.size, test_share=test_share, seed=seed
    )
    return replace(photos, folds=folds)
