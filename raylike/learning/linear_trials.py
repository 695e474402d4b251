"""Linear models judged as the trials of a search are: on the validation photos, by a model of the others.

They say what a network has to beat. All C of a model are solved together (`linear.py`), so a row is the best
one; the curve over C, cross-validated, is in the table `sweep`.

Knows arrays and the features tables. Knows nothing of Ray.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylike.config import Settings
from raylike.learning import learning_set, linear
from raylike.learning.conjugate_gradients import LOGISTIC, SQUARED_HINGE
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.tables import feature_layers
from raylike.workspace import Workspace

LOSSES = {"LinearSVC": SQUARED_HINGE, "logistic regression": LOGISTIC}


def count(settings: Settings) -> int:
    """How many trials there will be."""
    return len(LOSSES) * len(feature_layers(settings.features.backbone))


def run(
    workspace: Workspace, settings: Settings, photos: Photos, weights: str, first: int
) -> Iterator[dict[str, Any]]:
    """Rows of the `trials` table, numbered from `first`; none without features of all photos.

    Parameters
    ----------
    weights : of the features that count, as in their table
    """
    backbone, trial = settings.features.backbone, first
    for layer in feature_layers(backbone):
        found = learning_set.features_of(workspace, photos, backbone, weights, layer)
        if found is None:
            return
        train, validation = (
            np.intersect1d(part(photos), np.flatnonzero(found.there))
            for part in (learning_set.trained_on, learning_set.validated_on)
        )
        rows, judged = _rows(found.values, train), _rows(found.values, validation)
        everything = np.ones((len(rows), 1), np.bool_)
        scale = fit_scale(rows, layer)
        scale.apply_in_place(rows)
        scale.apply_in_place(judged)
        labels = np.repeat(photos.labels[train], 2)
        for model, loss in LOSSES.items():
            started = time.perf_counter()
            c_values = sorted(settings.classify.c_values)
            fitted = linear.fit_grid(rows, labels, c_values, everything, loss=loss)
            scores = linear.decide(judged, fitted[:, 0]).reshape(len(c_values), -1, 2).mean(axis=2)
            aps = [average_precision(photos.labels[validation], row.astype(np.float64)) for row in scores]
            yield {
                "trial": trial,
                "model": f"{model} on {layer}",
                "c": c_values[int(np.argmax(aps))],
                "iterations": 0,
                "validation_ap": max(aps),
                "best_validation_ap": max(aps),
                "stopped_early": False,
                "seconds": time.perf_counter() - started,
            }
            trial += 1


def _rows(values: NDArray[np.float32], part: NDArray[np.int64]) -> NDArray[np.float32]:
    """Both orientations of some photos (n, 2, d), one after the other: (2 * len(part), d)."""
    return np.array(values[part].reshape(-1, values.shape[2]))
