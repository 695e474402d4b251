"""Stage classify: the study's three classifiers on each layer, a baseline without pixels, and the oracle.

Reads labels, features, posts, cohort and images (no photo bytes); writes sweep, predictions and, last,
results. Every model is scored twice: on training photos by models that did not see their account, and on
the test photos by a model of all training photos. Intervals are bootstraps over accounts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.config import ClassifySettings, Settings
from raylike.errors import StageError
from raylike.learning import forest, metadata, svm
from raylike.learning.calibration import fit_platt
from raylike.learning.evaluation import Metrics, evaluate
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.stage import StageContext, StageReport
from raylike.tables import FEATURE_LAYERS, PREDICTIONS, RESULTS, SWEEP
from raylike.workspace import Workspace

LINEAR_SVC = "LinearSVC"
FOREST = "RandomForest"
SGD = "SVM by SGD"
METADATA = "logistic regression"
ORACLE = "oracle"
CROSS_VALIDATION, TEST = "cross-validation", "test"
NO_FEATURES = "no features"


@dataclass(frozen=True)
class Scored:
    """A model's scores of all photos (n,): out of fold for training photos, else by the final model."""

    model: str
    features: str
    weights: str
    scores: NDArray[np.float64]
    threshold: float
    seconds: float
    parameters: dict[str, Any] = field(default_factory=dict)


def run(context: StageContext) -> StageReport:
    """Train, score and write; the report's notes give the best cross-validated AP and its test AP.

    Raises
    ------
    StageError : for too few photos, a fold with one class, features that are constant or not finite
    """
    settings, workspace = context.settings, context.workspace
    labels = workspace.read("labels", ["post_id", "user_id", "label", "fold"]).sort_by("post_id")
    table = f"features/{settings.features.backbone}"
    orientations, weights, complete = _find_features(workspace, table, labels.column("post_id"))
    n_labelled = labels.num_rows
    labels = labels.filter(pa.array(complete, pa.bool_()))
    photos = Photos(
        ids=np.array(labels.column("post_id").to_pylist(), dtype=str),
        groups=np.array(labels.column("user_id").to_pylist(), dtype=str),
        labels=labels.column("label").to_numpy(),
        folds=labels.column("fold").to_numpy(),
    )
    photos.check()

    layers = FEATURE_LAYERS[settings.features.backbone]
    context.progress.expect(3 * len(layers) + 1, "models")
    scored: list[Scored] = []
    sweeps: dict[str, svm.Sweep] = {}
    for layer in layers:
        features = _read_layer(workspace, table, layer, photos.ids, orientations)
        for model in _train_on_layer(photos, layer, features, weights, settings, sweeps):
            scored.append(model)
            context.progress.advance()
    scored.append(_metadata_baseline(workspace, photos))
    context.progress.advance()
    if settings.source.name == "simulator":
        scored.append(_oracle(settings, photos))

    results = _results(photos, scored, settings)
    workspace.write("sweep", _sweep_rows(photos, sweeps, settings), context.commit)
    workspace.write("predictions", _predictions(photos, scored), context.commit)
    workspace.write("results", results, context.commit)
    missing = n_labelled - photos.ids.size
    return StageReport(
        n_labelled,
        photos.ids.size,
        failed={NO_FEATURES: missing} if missing else {},
        notes=_notes(results),
    )


def _train_on_layer(
    photos: Photos,
    layer: str,
    features: NDArray[np.float32],
    weights: str,
    settings: Settings,
    sweeps: dict[str, svm.Sweep],
) -> Iterator[Scored]:
    """The study's three classifiers on one layer; leaves LinearSVC's curve over C in `sweeps`."""
    chosen: ClassifySettings = settings.classify
    started = time.perf_counter()
    scale = fit_scale(features[:, photos.train].reshape(-1, features.shape[2]), layer)
    scaled = scale.apply(features)
    sweep = sweeps[layer] = svm.sweep_c(photos, scaled, chosen.c_values)
    best_c = float(sweep.c_values[sweep.chosen])
    yield Scored(LINEAR_SVC, layer, weights, sweep.scores, 0.0, _since(started), {"C": best_c})

    started = time.perf_counter()
    iterations, step, reg = chosen.sgd_iterations, chosen.sgd_step, chosen.sgd_reg
    scores = svm.score_sgd(photos, scaled, iterations=iterations, step=step, reg=reg)
    del scaled  # as large as the features
    yield Scored(
        SGD,
        layer,
        weights,
        scores,
        0.0,
        _since(started),
        {"iterations": iterations, "step": step, "reg": reg},
    )

    started = time.perf_counter()
    scores = forest.fit_and_score(photos, features, trees=chosen.trees, seed=settings.seed)
    parameters = {"trees": chosen.trees, "cross-validation": "out of bag, over accounts"}
    yield Scored(FOREST, layer, weights, scores, 0.5, _since(started), parameters)


def _metadata_baseline(workspace: Workspace, photos: Photos) -> Scored:
    started = time.perf_counter()
    scores = metadata.fit_and_score(photos, _read_metadata(workspace, photos.ids))
    return Scored(METADATA, "metadata", "none", scores, 0.5, _since(started))


def _oracle(settings: Settings, photos: Photos) -> Scored:
    """What a model of pictures could know at best: the appeal that the simulator itself put into them.

    It has no threshold of its own; half of the training photos are called good, as their labels are.
    """
    from raylike.simulator import truth  # the one place outside the simulator that opens it: as a judge

    started = time.perf_counter()
    scores = np.asarray(truth.oracle(settings.seed, settings.simulator.users, photos.ids.tolist()))
    threshold = float(np.median(scores[photos.train]))
    return Scored(ORACLE, "truth", "none", scores.astype(np.float64), threshold, _since(started))


def _since(started: float) -> float:
    return time.perf_counter() - started


# Reading


def _find_features(
    workspace: Workspace, table: str, post_ids: pa.ChunkedArray
) -> tuple[tuple[bool, ...], str, NDArray[np.bool_]]:
    """The orientations there are, what the weights were, and which photos have all orientations."""
    rows = workspace.read(table, ["post_id", "flipped", "weights"])
    flipped = rows.column("flipped").to_pylist()
    found = set(zip(rows.column("post_id").to_pylist(), flipped, strict=True))
    orientations = tuple(sorted(set(flipped)))
    complete = [all((post, side) in found for side in orientations) for post in post_ids.to_pylist()]
    if not orientations or not any(complete):
        raise StageError("no labelled photo has features", "classify", "run `raylike features` first")
    kinds = sorted(set(rows.column("weights").to_pylist()))
    if len(kinds) > 1:
        raise StageError(
            f"features of several networks are mixed: {', '.join(kinds)}",
            table,
            "run `raylike features --force`",
        )
    return orientations, kinds[0], np.array(complete)


def _read_layer(
    workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_], orientations: tuple[bool, ...]
) -> NDArray[np.float32]:
    """One layer's activations, float32 of shape (orientations, n, d), photos in the order of `ids`."""
    rows = workspace.read(table, ["post_id", "flipped", layer])
    width: int = rows.schema.field(layer).type.list_size
    position = {post: i for i, post in enumerate(ids.tolist())}
    features = np.empty((len(orientations), ids.size, width), dtype=np.float32)
    for batch in rows.to_batches():
        activations = batch.column(layer).flatten().to_numpy().reshape(-1, width)
        places = [position.get(post, -1) for post in batch.column("post_id").to_pylist()]
        sides = [orientations.index(flipped) for flipped in batch.column("flipped").to_pylist()]
        wanted = np.array(places) >= 0
        features[np.array(sides)[wanted], np.array(places)[wanted]] = activations[wanted]
    return features


def _read_metadata(workspace: Workspace, ids: NDArray[np.str_]) -> metadata.Metadata:
    """The scalar columns of posts, cohort and images for the photos, in the order of `ids`."""
    posts = workspace.read("posts", ["post_id", "created_at", "tags", "caption"])
    cohort = workspace.read("cohort", ["post_id", "followers"])
    images = workspace.read("images", ["post_id", "byte_size"])
    joined = pa.table({"post_id": ids.tolist()})
    for table in (posts.drop_columns("tags"), cohort, images):
        joined = joined.join(table, "post_id", join_type="left outer")
    n_tags = dict(
        zip(posts.column("post_id").to_pylist(), map(len, posts.column("tags").to_pylist()), strict=True)
    )
    joined = joined.sort_by("post_id")
    return metadata.Metadata(
        followers=joined.column("followers").fill_null(0).to_numpy(),
        posted_s=joined.column("created_at").cast(pa.int64()).to_numpy() / 1e6,
        n_tags=np.array([n_tags[post] for post in joined.column("post_id").to_pylist()]),
        caption_length=np.array([len(text or "") for text in joined.column("caption").to_pylist()]),
        byte_size=joined.column("byte_size").fill_null(0).to_numpy(),
    )


# Writing


def _results(photos: Photos, scored: list[Scored], settings: Settings) -> pa.Table:
    rows: list[dict[str, Any]] = []
    scores = np.stack([model.scores for model in scored])
    thresholds = np.array([model.threshold for model in scored])
    for evaluation, part in ((CROSS_VALIDATION, photos.train), (TEST, photos.test)):
        labels = photos.labels[part]
        figures = _evaluate(photos, part, scores[:, part], thresholds, settings)
        for model, metrics in zip(scored, figures, strict=True):
            rows.append(
                {
                    "model": model.model,
                    "features": model.features,
                    "evaluation": evaluation,
                    "n": part.size,
                    "positive_rate": float(labels.mean()),
                    **_with_bounds("ap", metrics),
                    **_with_bounds("roc_auc", metrics),
                    **_with_bounds("accuracy", metrics),
                    "weights": model.weights,
                    "parameters": json.dumps(model.parameters),
                    "seconds": model.seconds,
                }
            )
    return pa.Table.from_pylist(rows, schema=RESULTS.schema)


def _with_bounds(name: str, metrics: Metrics) -> dict[str, float]:
    estimate = getattr(metrics, name)
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _sweep_rows(photos: Photos, sweeps: dict[str, svm.Sweep], settings: Settings) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for layer, sweep in sweeps.items():
        thresholds = np.zeros(sweep.c_values.size)
        figures = _evaluate(photos, photos.train, sweep.out_of_fold, thresholds, settings)
        for c, metrics in zip(sweep.c_values.tolist(), figures, strict=True):
            accuracy = metrics.accuracy.value
            rows.append({"features": layer, "c": c, **_with_bounds("ap", metrics), "accuracy": accuracy})
    return pa.Table.from_pylist(rows, schema=SWEEP.schema)


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
    )


def _predictions(photos: Photos, scored: list[Scored]) -> pa.Table:
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


def _notes(results: pa.Table) -> tuple[str, ...]:
    """A line for each model: its AP on the test photos, with interval, beside chance."""
    lines = []
    for row in results.to_pylist():
        if row["evaluation"] == TEST:
            lines.append(
                f"{row['model']} on {row['features']}: test AP {row['ap']:.3f} "
                f"({row['ap_low']:.3f} to {row['ap_high']:.3f}), chance {row['positive_rate']:.3f}"
            )
    return tuple(lines)
