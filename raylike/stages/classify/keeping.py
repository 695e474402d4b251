"""What stays of the models when the stage is done: the best linear one, to score other photos with.

Knows which model is best. Knows nothing of how it is stored (`learning/linear_model.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raylike import feature_rows
from raylike.config import Settings
from raylike.learning import linear_model
from raylike.learning.calibration import fit_platt
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.stages.classify.models import Scored
from raylike.stages.classify.reading import FeatureTable
from raylike.workspace import Workspace


def keep_best(
    workspace: Workspace,
    photos: Photos,
    scored: Sequence[Scored],
    table: FeatureTable,
    settings: Settings,
) -> None:
    """Keep the linear model of the highest cross-validated AP; the first of equals."""
    train, test = photos.train, photos.test
    fitted = [(model, model.fitted) for model in scored if model.fitted is not None]
    best, fit = max(fitted, key=lambda pair: average_precision(photos.labels[train], pair[0].scores[train]))
    chosen = settings.features
    source = linear_model.Source(
        backbone=chosen.backbone,
        layer=best.features,
        layers=chosen.layers,
        weights=table.weights,
        weights_file=None if chosen.weights_file is None else str(chosen.weights_file),
        seed=settings.seed,
        recipe=feature_rows.recipe_in_force(workspace, table.name),
        mirrored=len(table.orientations) > 1,
    )
    kept = linear_model.LinearModel(
        name=best.model,
        design=settings.labels.design,
        source=source,
        weights=fit.weights,
        scale=fit.scale,
        platt=fit_platt(best.scores[train], photos.labels[train]),
        held_out=np.sort(best.scores[test]),
        n_accounts=np.unique(photos.groups[test]).size,
    )
    linear_model.save(workspace, kept)
