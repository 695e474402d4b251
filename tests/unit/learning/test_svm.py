"""LinearSVC and SGD on photos with two orientations: folds, choice of C, better than chance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.learning import svm
from raylike.learning.conjugate_gradients import LOGISTIC
from raylike.learning.evaluation import average_precision
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.sgd import fit_sgd


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
        lambda p: svm.sweep_sgd(svm.Layer(p, scaled), iterations=20, steps=[1.0], regs=[1e-4]).scores,
    ):
        assert np.allclose(fit(photos)[in_fold], fit(other)[in_fold], atol=1e-5)  # float32 sums aside


def test_sgd_ranks_above_chance(scaled: NDArray[np.float32], photos: Photos) -> None:
    scores = svm.sweep_sgd(svm.Layer(photos, scaled), iterations=100, steps=[1.0], regs=[1e-4]).scores
    for part in (photos.train, photos.test):
        assert average_precision(photos.labels[part], scores[part]) > 0.65


def test_sgds_grid_is_as_many_single_descents_and_the_best_in_cross_validation_wins(
    scaled: NDArray[np.float32], photos: Photos
) -> None:
    layer, labels = svm.Layer(photos, scaled), photos.labels[photos.train]
    grid = {
        (step, reg): svm.sweep_sgd(layer, iterations=30, steps=[step], regs=[reg]).scores
        for step in (0.01, 1.0)
        for reg in (1e-4, 0.3)
    }
    found = svm.sweep_sgd(layer, iterations=30, steps=[1.0, 0.01], regs=[0.3, 1e-4])
    aps = {place: average_precision(labels, scores[photos.train]) for place, scores in grid.items()}
    assert aps[found.step, found.reg] == pytest.approx(max(aps.values()), abs=1e-6)
    assert np.allclose(found.scores, grid[found.step, found.reg], atol=1e-5)


def test_sgd_takes_mllibs_steps() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]], dtype=np.float32)
    labels = np.array([1, 0, 1], dtype=np.int8)
    step, reg = 0.5, 0.1
    weights = np.zeros(2)
    for t in (1, 2, 3):
        gradient = np.zeros(2)
        for x, label in zip(rows, labels, strict=True):
            sign = 2.0 * label - 1
            if sign * (x @ weights) < 1:
                gradient -= sign * x
        rate = step / np.sqrt(t)
        weights = weights * (1 - rate * reg) - rate * gradient / len(rows)
    mine = fit_sgd(rows, labels, np.ones((3, 1), dtype=bool), iterations=3, step=step, reg=reg)
    assert mine[:, 0] == pytest.approx(weights, rel=1e-5)


def test_sgd_with_small_batches_points_the_same_way(scaled: NDArray[np.float32], photos: Photos) -> None:
    rows, everything = scaled[0], np.ones((240, 1), dtype=bool)
    full, drawn = (
        fit_sgd(rows, photos.labels, everything, iterations=200, step=1.0, reg=1e-4, batch_share=share)[:, 0]
        for share in (1.0, 0.3)
    )
    assert full @ drawn / np.linalg.norm(full) / np.linalg.norm(drawn) > 0.9
