"""What a fine-tuned network is worth: rows of the results and predictions tables, and lines for the user.

Knows the tables. Knows nothing of Ray or of how the network was trained.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.config import Settings
from raylike.errors import RaylikeError
from raylike.learning import learning_set
from raylike.learning.calibration import fit_platt
from raylike.learning.evaluation import evaluate
from raylike.learning.photos import Photos
from raylike.tables import FINETUNE_PREDICTIONS, FINETUNE_RESULTS
from raylike.vision import backbones

if TYPE_CHECKING:
    from raylike.models.files import Saved

MODEL, FEATURES = "fine-tuned", "pixels"
UNTOLD = {"workers", "evaluate_every", "micro_batch", "checkpoint_every", "in_memory_mib", "name", "onnx"}
"""Settings that say how a network was trained, not which."""
CROSS_VALIDATION, TEST = "cross-validation", "test"


@dataclass(frozen=True)
class Outcome:
    """What rank 0 hands back.

    Attributes
    ----------
    scores : logits of the validation and test photos, NaN for all others, shape (n,)
    there : whether the photo could be decoded, shape (n,)
    curve : rows of the `curves` table
    best_iteration : after which the kept network was best
    seconds : of training, in this process
    error : why training ended early
    saved : the best network's files; None without one
    """

    scores: NDArray[np.float64]
    there: NDArray[np.bool_]
    curve: list[dict[str, Any]]
    best_iteration: int
    seconds: float
    error: RaylikeError | None = None
    saved: Saved | None = None


def failed(photos: Photos, error: RaylikeError) -> Outcome:
    """What there is to hand back of a training that could not be done."""
    n = photos.ids.size
    return Outcome(np.full(n, np.nan), np.zeros(n, np.bool_), [], 0, 0.0, error)


def results(photos: Photos, outcome: Outcome, settings: Settings, weights: str) -> pa.Table:
    """One row an evaluation, with bootstrap intervals over accounts."""
    chosen = settings.finetune
    parameters = {
        **chosen.model_dump(exclude=UNTOLD),
        "backbone": settings.features.backbone,
        "best_iteration": outcome.best_iteration,
        "cross-validation": f"fold {learning_set.VALIDATION_FOLD} alone, which also chose the iteration",
    }
    rows = []
    for evaluation, part in _judged(photos, outcome).items():
        labels = photos.labels[part]
        (metrics,) = evaluate(
            labels,
            outcome.scores[None, part],
            np.zeros(1),
            photos.groups[part],
            resamples=settings.classify.resamples,
            seed=settings.seed,
            ratios=None if photos.ratios is None else photos.ratios[part],
        )
        rows.append(
            {
                "model": MODEL,
                "features": FEATURES,
                "evaluation": evaluation,
                "n": part.size,
                "positive_rate": float(labels.mean()),
                **metrics.with_bounds(),
                "weights": weights,
                "parameters": json.dumps(parameters),
                "seconds": outcome.seconds,
            }
        )
    return pa.Table.from_pylist(rows, schema=FINETUNE_RESULTS.schema)


def _judged(photos: Photos, outcome: Outcome) -> dict[str, NDArray[np.int64]]:
    """Indices of the photos that were scored, by evaluation."""
    there = np.flatnonzero(outcome.there)
    return {
        CROSS_VALIDATION: np.intersect1d(learning_set.validated_on(photos), there),
        TEST: np.intersect1d(photos.test, there),
    }


def predictions(photos: Photos, outcome: Outcome) -> pa.Table:
    """A score for every validation and test photo; probabilities are calibrated on the former."""
    parts = _judged(photos, outcome)
    validation = parts[CROSS_VALIDATION]
    platt = fit_platt(outcome.scores[validation], photos.labels[validation])
    tables = []
    for evaluation, part in parts.items():
        columns = {
            "post_id": photos.ids[part].tolist(),
            "model": [MODEL] * part.size,
            "features": [FEATURES] * part.size,
            "evaluation": [evaluation] * part.size,
            "score": outcome.scores[part],
            "probability": platt.probability(outcome.scores[part]),
        }
        tables.append(pa.table(columns, schema=FINETUNE_PREDICTIONS.schema))
    return pa.concat_tables(tables)


def notes(scored: pa.Table, outcome: Outcome, network: backbones.Choice) -> tuple[str, ...]:
    """What was chosen for the user, and the AP on validation and test photos."""
    lines = [network.note] if network.note else []
    for row in scored.to_pylist():
        lines.append(
            f"fine-tuned, best after {outcome.best_iteration} iterations: {row['evaluation']} "
            f"AP {row['ap']:.3f} ({row['ap_low']:.3f} to {row['ap_high']:.3f}), "
            f"chance {row['positive_rate']:.3f}"
        )
    return tuple(lines)
