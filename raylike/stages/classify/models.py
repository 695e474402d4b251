"""What is trained: four classifiers on each layer, one on metadata; and the simulator's oracle.

Each gives a score to every photo: training photos by models that did not see their account, test photos by a
model of all training photos.

Knows which model is fitted to what. Knows nothing of tables, nor of where rows and trees are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raylike.config import ClassifySettings, Settings
from raylike.learning import conjugate_gradients, forest, metadata, sgd, svm
from raylike.learning.design_comparison import with_accounts_apart
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.learning.scaling import Scale, fit_scale

LINEAR_SVC = "LinearSVC"
FOREST = "RandomForest"
SGD = "SVM by SGD"
LOGISTIC = "logistic regression"
MODELS_PER_LAYER = 4
ORACLE = "oracle"


@dataclass(frozen=True)
class Fitted:
    """The final model where it is linear: weights (d + 1,), and the scale its rows must be on."""

    weights: NDArray[np.float32]
    scale: Scale


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
    fitted: Fitted | None = None


@dataclass(frozen=True)
class Places:
    """Where the work is done that a cluster can share: trees, and the rows that SGD descends on.

    Attributes
    ----------
    trees : grows them
    rows : of a layer by its name, in shards; None: on this machine, as they are in memory
    """

    trees: forest.Spread
    rows: svm.OpenRows | None = None


def train_on_layer(
    photos: Photos,
    layer: str,
    features: NDArray[np.float32],
    weights: str,
    settings: Settings,
    places: Places,
    sweeps: dict[str, svm.Sweep],
) -> Iterator[Scored]:
    """Four classifiers on one layer; scales its features in place, leaves LinearSVC's curve in `sweeps`.

    Raises
    ------
    StageError : if the features are constant, or one is not finite
    """
    chosen: ClassifySettings = settings.classify
    rows = svm.Layer(photos, features)
    scale = fit_scale(rows.rows, layer, rows.training[:, 0])
    started = time.perf_counter()
    scores = forest.fit_and_score(
        photos, features, trees=chosen.trees, seed=settings.seed, spread=places.trees
    )
    parameters = {"trees": chosen.trees, "cross-validation": "out of bag, over accounts"}
    yield Scored(FOREST, layer, weights, scores, 0.5, _since(started), parameters)

    started = time.perf_counter()
    scale.apply_in_place(features)
    sweep = sweeps[layer] = svm.sweep_c(rows, chosen.c_values)
    yield _of_sweep(LINEAR_SVC, layer, weights, sweep, scale, _since(started))

    started = time.perf_counter()
    sweep = svm.sweep_c(rows, chosen.c_values, conjugate_gradients.LOGISTIC)
    yield _of_sweep(LOGISTIC, layer, weights, sweep, scale, _since(started))

    started = time.perf_counter()
    batches = sgd.Batches(len(rows.rows), chosen.sgd_batch_share, settings.seed)
    with places.rows(layer) if places.rows else rows.as_one_shard() as everywhere:
        found = svm.sweep_sgd(
            photos, everywhere, batches, width=features.shape[2], iterations=chosen.sgd_iterations,
            steps=chosen.sgd_steps, regs=chosen.sgd_regs,
        )  # fmt: skip
    parameters = {"iterations": chosen.sgd_iterations, "step": found.step, "reg": found.reg}
    yield Scored(SGD, layer, weights, found.scores, 0.0, _since(started), parameters)


def _of_sweep(model: str, layer: str, weights: str, sweep: svm.Sweep, scale: Scale, seconds: float) -> Scored:
    fitted = Fitted(sweep.final, scale)
    return Scored(model, layer, weights, sweep.scores, 0.0, seconds, {"C": sweep.best_c}, fitted)


def metadata_baseline(photos: Photos, found: metadata.Metadata) -> Scored:
    """What is known without a look at any photo."""
    started = time.perf_counter()
    scores = metadata.fit_and_score(photos, found)
    return Scored(LOGISTIC, "metadata", "none", scores, 0.5, _since(started))


def oracle(settings: Settings, photos: Photos) -> Scored:
    """What a model of pictures could know at best: the appeal that the simulator itself put into them.

    It has no threshold of its own; half of the training photos are called good, as their labels are.
    """
    from raylike.simulator import truth  # the one place outside the simulator that opens it: as a judge

    started = time.perf_counter()
    scores = np.asarray(truth.oracle(settings.seed, settings.simulator.users, photos.ids.tolist()))
    threshold = float(np.median(scores[photos.train]))
    return Scored(ORACLE, "truth", "none", scores.astype(np.float64), threshold, _since(started))


def leak(photos: Photos, features: NDArray[np.float32], sweep: svm.Sweep, settings: Settings) -> str:
    """By how much a split at random flatters: LinearSVC once more, with no account on both sides."""
    apart = with_accounts_apart(photos, settings.labels.test_share, settings.seed)
    fair = svm.sweep_c(svm.Layer(apart, features), [sweep.best_c])
    flattered, honest = (
        average_precision(split.labels[split.test], found.scores[split.test])
        for split, found in ((photos, sweep), (apart, fair))
    )
    return (
        f"split at random as in the study, LinearSVC has a test AP of {flattered:.3f}; "
        f"with no account on both sides {honest:.3f}: the split moves it by {flattered - honest:+.3f}"
    )


def _since(started: float) -> float:
    return time.perf_counter() - started
