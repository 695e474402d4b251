"""Stage classify: the study's classifiers and logistic regression on each layer, a baseline, the oracle.

Reads labels, label_designs, features, posts, cohort and images (no photo bytes); writes sweep, predictions,
differences, design_results and, last, results. Every model is scored twice: on training photos by models that
did not see their account, and on the test photos by a model of all training photos. Intervals are bootstraps
over accounts.

Below: `reading.py` brings photos and features, `models.py` trains, `writing.py` judges and makes the tables,
`keeping.py` keeps the best linear model.
A run that joined a cluster grows its forests there, and descends by SGD where the rows are (`nodes.py`).
"""

from __future__ import annotations

from functools import partial

from raylike.config import Settings
from raylike.learning import blas_threads, forest, svm
from raylike.learning.design_comparison import compare
from raylike.learning.photos import Photos
from raylike.stage import StageContext, StageReport
from raylike.stages.classify import keeping, nodes, reading, writing
from raylike.stages.classify.models import (
    MODELS_PER_LAYER,
    Places,
    Scored,
    leak,
    metadata_baseline,
    oracle,
    train_on_layer,
)
from raylike.tables import feature_layers
from raylike.workspace import Workspace

NO_FEATURES = "no features"


def run(context: StageContext) -> StageReport:
    """Train, score and write; the report's notes give each model's test AP.

    Raises
    ------
    StageError : for too few photos, a fold with one class, features that are constant or not finite
    """
    settings, workspace = context.settings, context.workspace
    photos, table, n_labelled = reading.read_photos(workspace, settings.features)
    layers = feature_layers(settings.features.backbone, settings.features.layers)
    designs = reading.read_designs(workspace, photos.ids)
    places = _places(settings, workspace, photos, table)
    context.progress.expect(MODELS_PER_LAYER * len(layers) + len(designs) + 1, "models")
    scored: list[Scored] = []
    sweeps: dict[str, svm.Sweep] = {}
    for layer in layers:
        features = reading.read_layer(workspace, table, layer, photos.ids)
        with blas_threads.suited_to(features):
            for model in train_on_layer(photos, layer, features, table.weights, settings, places, sweeps):
                scored.append(model)
                context.progress.advance()
    with blas_threads.suited_to(features):
        compared = compare(
            photos, features, designs, settings.classify.c_values,
            resamples=settings.classify.resamples, seed=settings.seed,
        )  # fmt: skip
    context.progress.advance(len(designs))
    at_random = settings.labels.protocol == "study"
    warnings = [leak(photos, features, sweeps[layer], settings)] if at_random else []
    scored.append(metadata_baseline(photos, reading.read_metadata(workspace, photos.ids)))
    context.progress.advance()
    if settings.source.name == "simulator":
        scored.append(oracle(settings, photos))

    results, differences = writing.results(photos, scored, settings)
    workspace.write("sweep", writing.sweep_rows(photos, sweeps, settings), context.commit)
    workspace.write("predictions", writing.predictions(photos, scored), context.commit)
    workspace.write("differences", differences, context.commit)
    workspace.write("design_results", writing.design_rows(compared, layer), context.commit)
    keeping.keep_best(workspace, photos, scored, table, settings)
    workspace.write("results", results, context.commit)
    missing = n_labelled - photos.ids.size
    return StageReport(
        n_labelled,
        photos.ids.size,
        failed={NO_FEATURES: missing} if missing else {},
        notes=(*writing.notes(results), *writing.not_judged(compared), *warnings),
    )


def _places(settings: Settings, workspace: Workspace, photos: Photos, table: reading.FeatureTable) -> Places:
    """This machine's threads and memory, or the nodes of the cluster that the run joined."""
    if settings.ray.address == "local":
        return Places(forest.in_threads)
    return Places(nodes.grow_trees, partial(nodes.open_rows, workspace, table, photos))
