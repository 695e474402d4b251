"""Curves behind the headline: ROC, precision against recall and calibration, with bands over accounts.

A curve is read at fixed places on its axis, in the sample and in every draw of accounts, and its band is
the middle 95 % of the draws at each place. Knows arrays of labels and scores. Knows no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylike.learning.evaluation import LEVELS
from raylike.report.account_bootstrap import Draws, estimate
from raylike.report.photo_facts import CalibrationBin, Curve, Judgement
from raylike.report.scored_photos import ScoredPhotos

RESAMPLES = 400
"""Draws for bands; their edges are read by eye."""
FALSE_POSITIVE_RATES = np.linspace(0, 1, 41)
RECALLS = np.linspace(0.025, 1, 40)
BINS = 8
MIN_PER_BIN = 20
"""Photos; with fewer test photos there are fewer bins."""


@dataclass(frozen=True)
class _Rates:
    """Columns are the sample and its draws: true and false positives down to each place, best first."""

    hits: NDArray[np.float32]
    misses: NDArray[np.float32]

    @staticmethod
    def of(labels: NDArray[np.int8], scores: NDArray[np.float64], draws: Draws) -> _Rates:
        order = np.argsort(-scores, kind="stable")
        once = np.ones((draws.n_accounts, 1), np.float32)
        weights = np.hstack([once, draws.counts])[draws.of_photo[order]]
        good = labels[order] > 0
        ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
        hits = np.cumsum(weights * good[:, None], axis=0)[ends]
        misses = np.cumsum(weights * ~good[:, None], axis=0)[ends]
        return _Rates(hits, misses)


def judge(model: ScoredPhotos, others: Sequence[ScoredPhotos], seed: int) -> Judgement | None:
    """Judge the headline's model and references on the test photos; None if these are of one class.

    All are judged on the same photos: those that every one of them scored.
    """
    parts = [photos.take(np.flatnonzero(photos.test)) for photos in (model, *others)]
    shared = sorted(set.intersection(*[set(part.ids.tolist()) for part in parts]))
    parts = [part.take(np.searchsorted(part.ids, shared)) for part in parts]
    first = parts[0]
    if not 0 < first.labels.sum() < first.labels.size:
        return None
    draws = Draws.of(first.accounts, seed, RESAMPLES)
    rates = [_Rates.of(part.labels, part.scores, draws) for part in parts]
    errors = (first.probabilities - first.labels) ** 2
    chance = float(first.labels.mean())
    return Judgement(
        n=first.labels.size,
        n_accounts=draws.n_accounts,
        chance=chance,
        roc=tuple(roc(part.model, rate) for part, rate in zip(parts, rates, strict=True)),
        precision_recall=tuple(
            precision_recall(part.model, rate) for part, rate in zip(parts, rates, strict=True)
        ),
        calibration=calibration(first, draws),
        brier=estimate(draws.means(errors, np.ones(errors.size, bool))),
        brier_of_chance=chance * (1 - chance),
    )


def roc(model: str, rates: _Rates) -> Curve:
    """Share of good photos found, over the share of bad ones taken along."""
    columns = []
    for hits, misses in zip(rates.hits.T, rates.misses.T, strict=True):
        if hits[-1] and misses[-1]:
            found = np.append(0, hits / hits[-1]), np.append(0, misses / misses[-1])
            columns.append(np.interp(FALSE_POSITIVE_RATES, found[1], found[0]))
    return _curve(model, FALSE_POSITIVE_RATES, columns)


def precision_recall(model: str, rates: _Rates) -> Curve:
    """Share of good photos among those taken, at the first place where enough of the good are found."""
    columns = []
    for hits, misses in zip(rates.hits.T, rates.misses.T, strict=True):
        if hits[-1] and misses[-1]:
            place = np.searchsorted(hits / hits[-1], RECALLS - 1e-6).clip(max=hits.size - 1)
            columns.append(hits[place] / (hits[place] + misses[place]))
    return _curve(model, RECALLS, columns)


def calibration(photos: ScoredPhotos, draws: Draws) -> tuple[CalibrationBin, ...]:
    """Bins of about equally many photos by probability; the share of good ones in each."""
    bins = int(np.clip(photos.labels.size // MIN_PER_BIN, 1, BINS))
    edges = np.quantile(photos.probabilities, np.linspace(0, 1, bins + 1)[1:-1])
    of_photo = np.searchsorted(edges, photos.probabilities, side="right")
    labels = photos.labels.astype(np.float64)
    return tuple(
        CalibrationBin(
            probability=float(photos.probabilities[members].mean()),
            good=estimate(draws.means(labels, members)),
            n=int(members.sum()),
        )
        for k in range(bins)
        if (members := of_photo == k).any()
    )


def _curve(model: str, x: NDArray[np.float64], columns: list[NDArray[np.float64]]) -> Curve:
    """The first column is the sample, the others are draws."""
    low, high = np.percentile(columns[1:] or columns, LEVELS, axis=0)
    return Curve(model, *(tuple(np.round(values, 5).tolist()) for values in (x, columns[0], low, high)))
