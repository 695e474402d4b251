"""Stage classify: the study's classifiers and logistic regression on each layer, a baseline, the oracle.

Reads labels, label_designs, features, posts, cohort and images (no photo bytes); writes sweep, predictions,
differences, design_results and, last, results. Every model is scored twice: on training photos by models that
did not see their account, and on the test photos by a model of all training photos. Intervals are bootstraps
over accounts. A run that joined a cluster grows its forests there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.config import ClassifySettings, Settings
from raylike.errors import StageError
from raylike.learning import conjugate_gradients, forest, metadata, svm
from raylike.learning.calibration import fit_platt
from raylike.learning.design_comparison import Comparison, compare, with_accounts_apart
from raylike.learning.evaluation import Metrics, average_precision, difference, evaluate
from raylike.learning.label_designs import NO_LABEL
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.stage import StageContext, StageReport
from raylike.tables import (
    DESIGN_RESULTS,
    DIFFERENCES,
    PREDICTIONS,
    RESULTS,
    SWEEP,
    feature_layers,
    features_name,
)
from raylike.workspace import Workspace

LINEAR_SVC = "LinearSVC"
FOREST = "RandomForest"
SGD = "SVM by SGD"
LOGISTIC = "logistic regression"
MODELS_PER_LAYER = 4
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
    labels = workspace.read("labels", ["post_id", "user_id", "label", "fold", "ratio"]).sort_by("post_id")
    table = features_name(settings.features.backbone, settings.features.layers)
    orientations, weights, complete = _find_features(workspace, table, labels.column("post_id"))
    n_labelled = labels.num_rows
    labels = labels.filter(pa.array(complete, pa.bool_()))
    photos = Photos(
        ids=np.array(labels.column("post_id").to_pylist(), dtype=str),
        groups=np.array(labels.column("user_id").to_pylist(), dtype=str),
        labels=labels.column("label").to_numpy(),
        folds=labels.column("fold").to_numpy(),
        ratios=labels.column("ratio").to_numpy(),
    )
    photos.check()

    layers = feature_layers(settings.features.backbone, settings.features.layers)
    designs = _read_designs(workspace, photos.ids)
    context.progress.expect(MODELS_PER_LAYER * len(layers) + len(designs) + 1, "models")
    scored: list[Scored] = []
    sweeps: dict[str, svm.Sweep] = {}
    for layer in layers:
        features = _read_layer(workspace, table, layer, photos.ids, orientations)
        for model in _train_on_layer(photos, layer, features, weights, settings, sweeps):
            scored.append(model)
            context.progress.advance()
    compared = compare(
        photos, features, designs, settings.classify.c_values,
        resamples=settings.classify.resamples, seed=settings.seed,
    )  # fmt: skip
    context.progress.advance(len(designs))
    leak = _leak(photos, features, sweeps[layer], settings) if settings.labels.protocol == "study" else ()
    scored.append(_metadata_baseline(workspace, photos))
    context.progress.advance()
    if settings.source.name == "simulator":
        scored.append(_oracle(settings, photos))

    results, differences = _results(photos, scored, settings)
    workspace.write("sweep", _sweep_rows(photos, sweeps, settings), context.commit)
    workspace.write("predictions", _predictions(photos, scored), context.commit)
    workspace.write("differences", differences, context.commit)
    workspace.write("design_results", _design_rows(compared, layer), context.commit)
    workspace.write("results", results, context.commit)
    missing = n_labelled - photos.ids.size
    return StageReport(
        n_labelled,
        photos.ids.size,
        failed={NO_FEATURES: missing} if missing else {},
        notes=(*_notes(results), *_not_judged(compared), *leak),
    )


def _leak(
    photos: Photos, features: NDArray[np.float32], sweep: svm.Sweep, settings: Settings
) -> tuple[str, ...]:
    """By how much a split at random flatters: LinearSVC once more, with no account on both sides."""
    apart = with_accounts_apart(photos, settings.labels.test_share, settings.seed)
    fair = svm.sweep_c(svm.Layer(apart, features), [sweep.best_c])
    flattered, honest = (
        average_precision(split.labels[split.test], found.scores[split.test])
        for split, found in ((photos, sweep), (apart, fair))
    )
    return (
        f"split at random as in the study, LinearSVC has a test AP of {flattered:.3f}; "
        f"with no account on both sides {honest:.3f}: the split moves it by {flattered - honest:+.3f}",
    )


def _train_on_layer(
    photos: Photos,
    layer: str,
    features: NDArray[np.float32],
    weights: str,
    settings: Settings,
    sweeps: dict[str, svm.Sweep],
) -> Iterator[Scored]:
    """Four classifiers on one layer; scales its features in place, leaves LinearSVC's curve in `sweeps`."""
    chosen: ClassifySettings = settings.classify
    rows = svm.Layer(photos, features)
    scale = fit_scale(rows.rows, layer, rows.training[:, 0])
    started = time.perf_counter()
    spread = forest.in_threads if settings.ray.address == "local" else over_nodes
    scores = forest.fit_and_score(photos, features, trees=chosen.trees, seed=settings.seed, spread=spread)
    parameters = {"trees": chosen.trees, "cross-validation": "out of bag, over accounts"}
    yield Scored(FOREST, layer, weights, scores, 0.5, _since(started), parameters)

    started = time.perf_counter()
    scale.apply_in_place(features)
    sweep = sweeps[layer] = svm.sweep_c(rows, chosen.c_values)
    yield Scored(LINEAR_SVC, layer, weights, sweep.scores, 0.0, _since(started), {"C": sweep.best_c})

    started = time.perf_counter()
    sweep = svm.sweep_c(rows, chosen.c_values, conjugate_gradients.LOGISTIC)
    yield Scored(LOGISTIC, layer, weights, sweep.scores, 0.0, _since(started), {"C": sweep.best_c})

    started = time.perf_counter()
    found = svm.sweep_sgd(
        rows, iterations=chosen.sgd_iterations, steps=chosen.sgd_steps, regs=chosen.sgd_regs
    )
    parameters = {"iterations": chosen.sgd_iterations, "step": found.step, "reg": found.reg}
    yield Scored(SGD, layer, weights, found.scores, 0.0, _since(started), parameters)


def over_nodes(
    grow: forest.Grow, features: NDArray[np.float32], tasks: Sequence[forest.Seeds]
) -> Sequence[forest.Votes]:
    """Grow trees wherever Ray has a CPU; the features lie once in the shared memory of each machine."""
    import ray

    def grow_there(features: NDArray[np.float32], task: forest.Seeds) -> forest.Votes:
        return grow(features, task)

    kept = ray.put(features)
    there = ray.remote(num_cpus=1)(grow_there)
    votes: list[forest.Votes] = ray.get([there.remote(kept, task) for task in tasks])
    return votes


def _metadata_baseline(workspace: Workspace, photos: Photos) -> Scored:
    started = time.perf_counter()
    scores = metadata.fit_and_score(photos, _read_metadata(workspace, photos.ids))
    return Scored(LOGISTIC, "metadata", "none", scores, 0.5, _since(started))


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
    rows = workspace.read(
        table, ["post_id", "flipped", "weights"], where=feature_rows.in_force(workspace, table)
    )
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
    """One layer's activations, float32 of shape (orientations, n, d), photos in the order of `ids`.

    The table is read a file at a time: beside what is returned, no more than one is held.
    """
    width: int = workspace.spec(table).schema.field(layer).type.list_size
    position = {post: i for i, post in enumerate(ids.tolist())}
    features = np.empty((len(orientations), ids.size, width), dtype=np.float32)
    in_force = feature_rows.in_force(workspace, table)
    columns = ["post_id", "flipped", feature_rows.RECIPE, layer]
    for batch in chain.from_iterable(
        workspace.read_file(file, columns).filter(in_force).to_batches() for file in workspace.files(table)
    ):
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


def _read_designs(workspace: Workspace, ids: NDArray[np.str_]) -> dict[str, NDArray[np.int8]]:
    """What every label design says of the photos, in the order of `ids`."""
    rows = workspace.read("label_designs", ["post_id", "design", "label"])
    designs = rows.column("design").to_numpy(zero_copy_only=False)
    found = {}
    for design in dict.fromkeys(designs.tolist()):
        said = rows.filter(pa.array(designs == design))
        label_of = dict(
            zip(said.column("post_id").to_pylist(), said.column("label").to_pylist(), strict=True)
        )
        found[design] = np.array([label_of.get(post, NO_LABEL) for post in ids.tolist()], dtype=np.int8)
    return found


# Writing


def _results(photos: Photos, scored: list[Scored], settings: Settings) -> tuple[pa.Table, pa.Table]:
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


def _sweep_rows(photos: Photos, sweeps: dict[str, svm.Sweep], settings: Settings) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for layer, sweep in sweeps.items():
        thresholds = np.zeros(sweep.c_values.size)
        figures = _evaluate(photos, photos.train, sweep.out_of_fold, thresholds, settings)
        for c, metrics in zip(sweep.c_values.tolist(), figures, strict=True):
            ap, accuracy = metrics.ap, metrics.accuracy.value
            bounds = {"ap": ap.value, "ap_low": ap.low, "ap_high": ap.high}
            rows.append({"features": layer, "c": c, **bounds, "accuracy": accuracy})
    return pa.Table.from_pylist(rows, schema=SWEEP.schema)


def _design_rows(compared: Mapping[str, Comparison], layer: str) -> pa.Table:
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


def _not_judged(compared: Mapping[str, Comparison]) -> tuple[str, ...]:
    """Why there are no figures of some designs."""
    return tuple(
        f"labels by {design} are not judged: {comparison.reason}"
        for design, comparison in compared.items()
        if comparison.reason
    )


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
