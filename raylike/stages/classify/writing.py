"""What the stage classify writes: every model judged on both parts, with intervals, and its predictions.

Knows the tables' columns. Knows nothing of how a model came by its scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.config import Settings
from raylike.learning import svm
from raylike.learning.calibration import fit_platt
from raylike.learning.design_comparison import Comparison
from raylike.learning.evaluation import Metrics, difference, evaluate
from raylike.learning.photos import Photos
from raylike.stages.classify.models import Scored
from raylike.tables import DESIGN_RESULTS, DIFFERENCES, PREDICTIONS, RESULTS, SWEEP

CROSS_VALIDATION, TEST = "cross-validation", "test"


def results(photos: Photos, scored: Sequence[Scored], settings: Settings) -> tuple[pa.Table, pa.Table]:
    """The results and differences tables."""
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    scores = np.stack([model.scores for model in scored])
    thresholds = np.array([model.threshold for model in scored])
    for evaluation, part in ((CROSS_VALIDATION, photos.train), (TEST, photos.test)):
        labels = photos.labels[part]
        figures = _evaluate(photos, part, scores[:, part], thresholds, settings)
        judged = list(zip(scored, figures, strict=True))
        for model, metrics in judged:
            rows.append(
                {
                    "model": model.model,
                    "features": model.features,
                    "evaluation": evaluation,
                    "n": part.size,
                    "positive_rate": float(labels.mean()),
                    **metrics.with_bounds(),
                    "weights": model.weights,
                    "parameters": json.dumps(model.parameters),
                    "seconds": model.seconds,
                }
            )
        compared.extend(_compare(*pair, evaluation) for pair in combinations(judged, 2))
    return (
        pa.Table.from_pylist(rows, schema=RESULTS.schema),
        pa.Table.from_pylist(compared, schema=DIFFERENCES.schema),
    )


def sweep_rows(photos: Photos, sweeps: Mapping[str, svm.Sweep], settings: Settings) -> pa.Table:
    """LinearSVC's cross-validated figures at every C."""
    rows: list[dict[str, Any]] = []
    for layer, sweep in sweeps.items():
        thresholds = np.zeros(sweep.c_values.size)
        figures = _evaluate(photos, photos.train, sweep.out_of_fold, thresholds, settings)
        for c, metrics in zip(sweep.c_values.tolist(), figures, strict=True):
            ap, accuracy = metrics.ap, metrics.accuracy.value
            bounds = {"ap": ap.value, "ap_low": ap.low, "ap_high": ap.high}
            rows.append({"features": layer, "c": c, **bounds, "accuracy": accuracy})
    return pa.Table.from_pylist(rows, schema=SWEEP.schema)


def design_rows(compared: Mapping[str, Comparison], layer: str) -> pa.Table:
    """How well each label design can be learned from one layer."""
    rows = [
        {
            "design": design,
            "features": layer,
            "evaluation": evaluation,
            "n": judged.n,
            "positive_rate": judged.positive_rate,
            **judged.metrics.with_bounds(),
            "c": judged.c,
        }
        for design, comparison in compared.items()
        for evaluation, judged in ((CROSS_VALIDATION, comparison.cross_validation), (TEST, comparison.test))
        if judged is not None
    ]
    return pa.Table.from_pylist(rows, schema=DESIGN_RESULTS.schema)


def predictions(photos: Photos, scored: Sequence[Scored]) -> pa.Table:
    """Every model's score and probability of every photo."""
    evaluation = np.full(photos.ids.size, CROSS_VALIDATION, dtype=object)
    evaluation[photos.test] = TEST
    tables = []
    for model in scored:
        platt = fit_platt(model.scores[photos.train], photos.labels[photos.train])
        columns = {
            "post_id": photos.ids.tolist(),
            "model": [model.model] * photos.ids.size,
            "features": [model.features] * photos.ids.size,
            "evaluation": evaluation.tolist(),
            "score": model.scores,
            "probability": platt.probability(model.scores),
        }
        tables.append(pa.table(columns, schema=PREDICTIONS.schema))
    return pa.concat_tables(tables)


def notes(results: pa.Table) -> tuple[str, ...]:
    """A line for each model: its AP on the test photos, with interval, beside chance."""
    lines = []
    for row in results.to_pylist():
        if row["evaluation"] == TEST:
            lines.append(
                f"{row['model']} on {row['features']}: test AP {row['ap']:.3f} "
                f"({row['ap_low']:.3f} to {row['ap_high']:.3f}), chance {row['positive_rate']:.3f}"
            )
    return tuple(lines)


def not_judged(compared: Mapping[str, Comparison]) -> tuple[str, ...]:
    """Why there are no figures of some designs."""
    return tuple(
        f"labels by {design} are not judged: {comparison.reason}"
        for design, comparison in compared.items()
        if comparison.reason
    )


def _compare(first: tuple[Scored, Metrics], other: tuple[Scored, Metrics], evaluation: str) -> dict[str, Any]:
    gap = difference(first[1], other[1])
    return {
        "model": first[0].model,
        "features": first[0].features,
        "other_model": other[0].model,
        "other_features": other[0].features,
        "evaluation": evaluation,
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
    }


def _evaluate(
    photos: Photos,
    part: NDArray[np.int64],
    scores: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    settings: Settings,
) -> list[Metrics]:
    return evaluate(
        photos.labels[part],
        scores,
        thresholds,
        photos.groups[part],
        resamples=settings.classify.resamples,
        seed=settings.seed,
        ratios=None if photos.ratios is None else photos.ratios[part],
    )
