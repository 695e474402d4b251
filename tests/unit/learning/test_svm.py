"""LinearSVC and SGD on photos with two orientations: folds, choice of C, better than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.learning import svm
from raylike.learning.conjugate_gradients import LOGISTIC
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.sgd import CONVERGENCE, Batches, Here, Shard, fit_sgd


@pytest.fixture(scope="module")
def scaled(features: NDArray[np.float32], photos: Photos) -> NDArray[np.float32]:
    return fit_scale(features[:, photos.train].reshape(-1, features.shape[2]), "fc6").apply(features)


def test_the_chosen_c_has_the_best_cross_validated_ap(scaled: NDArray[np.float32], photos: Photos) -> None:
    sweep = svm.sweep_c(svm.Layer(photos, scaled), [10.0, 0.001, 0.1])
    labels = photos.labels[photos.train]
    aps = [average_precision(labels, scores) for scores in sweep.out_of_fold]
    assert sweep.c_values.tolist() == [0.001, 0.1, 10.0]
    assert sweep.chosen == int(np.argmax(aps))
    assert np.array_equal(sweep.scores[photos.train], sweep.out_of_fold[sweep.chosen])
    assert average_precision(photos.labels[photos.test], sweep.scores[photos.test]) > 0.65


def test_a_held_out_label_does_not_reach_its_own_score(scaled: NDArray[np.float32], photos: Photos) -> None:
    in_fold = photos.folds == 0
    flipped = np.where(in_fold, 1 - photos.labels, photos.labels).astype(np.int8)
    other = Photos(photos.ids, photos.groups, flipped, photos.folds)
    for fit in (
        lambda p: svm.sweep_c(svm.Layer(p, scaled), [0.1]).scores,
        lambda p: svm.sweep_c(svm.Layer(p, scaled), [0.1], LOGISTIC).scores,
        lambda p: sweep_sgd(svm.Layer(p, scaled), iterations=20).scores,
    ):
        assert np.allclose(fit(photos)[in_fold], fit(other)[in_fold], atol=1e-5)  # float32 sums aside


def test_sgd_ranks_above_chance(scaled: NDArray[np.float32], photos: Photos) -> None:
    scores = sweep_sgd(svm.Layer(photos, scaled), iterations=100).scores
    for part in (photos.train, photos.test):
        assert average_precision(photos.labels[part], scores[part]) > 0.65


def test_sgds_grid_is_as_many_single_descents_and_the_best_in_cross_validation_wins(
    scaled: NDArray[np.float32], photos: Photos
) -> None:
    layer, labels = svm.Layer(photos, scaled), photos.labels[photos.train]
    grid = {
        (step, reg): sweep_sgd(layer, iterations=30, steps=[step], regs=[reg]).scores
        for step in (0.01, 1.0)
        for reg in (1e-4, 0.3)
    }
    found = sweep_sgd(layer, iterations=30, steps=[1.0, 0.01], regs=[0.3, 1e-4])
    aps = {place: average_precision(labels, scores[photos.train]) for place, scores in grid.items()}
    assert aps[found.step, found.reg] == pytest.approx(max(aps.values()), abs=1e-6)
    assert np.allclose(found.scores, grid[found.step, found.reg], atol=1e-5)


def mllib(
    rows: NDArray[np.float32],
    labels: NDArray[np.int8],
    iterations: int,
    step: float,
    reg: float,
    batches: Batches,
) -> NDArray[np.float64]:
    """MLlib's update rule a row at a time: HingeGradient, SquaredL2Updater, runMiniBatchSGD's end."""
    weights = np.zeros(rows.shape[1])
    for t in range(1, iterations + 1):
        drawn = batches.draw(t)
        gradient, size = np.zeros(rows.shape[1]), 0
        for i in range(len(rows)) if drawn is None else np.flatnonzero(drawn):
            size += 1
            scaling = 2.0 * labels[i] - 1
            if scaling * float(rows[i] @ weights) < 1:
                gradient -= scaling * rows[i]
        if size == 0:
            continue
        before, rate = weights.copy(), step / np.sqrt(t)
        weights = weights * (1 - rate * reg) - rate * gradient / size
        if np.linalg.norm(weights - before) < CONVERGENCE * max(np.linalg.norm(weights), 1):
            break
    return weights


@pytest.mark.parametrize(
    ("iterations", "step", "reg", "share"),
    [(30, 1.0, 1e-4, 1.0), (300, 0.02, 0.1, 1.0), (30, 0.5, 0.1, 0.1), (6, 1.0, 0.1, 0.002)],
    ids=["all rows", "until it settles", "batches", "some batches empty"],
)
def test_sgd_takes_mllibs_steps(
    iterations: int, step: float, reg: float, share: float, scaled: NDArray[np.float32], photos: Photos
) -> None:
    rows, everything = scaled[0], np.ones((240, 1), dtype=bool)
    theirs = mllib(rows, photos.labels, iterations, step, reg, Batches(240, share, 7))
    mine = fit_sgd(
        rows, photos.labels, everything, iterations=iterations, step=step, reg=reg, batch_share=share, seed=7
    )
    assert mine[:, 0] == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_sgd_does_not_depend_on_the_number_of_shards(
    share: float, scaled: NDArray[np.float32], photos: Photos
) -> None:
    layer = svm.Layer(photos, scaled)
    with layer.as_one_shard() as everywhere:
        (whole,) = everywhere(lambda shard: shard)
    owner = np.random.default_rng(0).integers(5, size=len(whole.rows))
    owner[owner == 3] = 4  # a shard without rows
    parts = [
        Shard(whole.rows[mine], whole.labels[mine], whole.seen[mine], whole.numbers[mine])
        for mine in (owner == k for k in range(5))
    ]
    one, five = (
        svm.sweep_sgd(
            photos, Here(shards), Batches(480, share), width=300, iterations=20, steps=[1.0, 0.1], regs=[1e-4]
        )
        for shards in ([whole], parts)
    )
    assert (one.step, one.reg) == (five.step, five.reg)
    assert np.allclose(one.scores, five.scores, atol=1e-5)


def test_sgd_with_small_batches_points_the_same_way(scaled: NDArray[np.float32], photos: Photos) -> None:
    rows, everything = scaled[0], np.ones((240, 1), dtype=bool)
    full, drawn = (
        fit_sgd(rows, photos.labels, everything, iterations=200, step=1.0, reg=1e-4, batch_share=share)[:, 0]
        for share in (1.0, 0.3)
    )
    assert full @ drawn / np.linalg.norm(full) / np.linalg.norm(drawn) > 0.9


def sweep_sgd(
    layer: svm.Layer, *, iterations: int, steps: Sequence[float] = (1.0,), regs: Sequence[float] = (1e-4,)
) -> svm.Descended:
    orientations, n, width = layer.features.shape
    with layer.as_one_shard() as everywhere:
        return svm.sweep_sgd(
            layer.photos, everywhere, Batches(orientations * n), width=width, iterations=iterations,
            steps=steps, regs=regs,
        )  # fmt: skip
