"""Every solver finds scikit-learn's minimum, on every C at once."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from raylike.learning import conjugate_gradients, newton
from raylike.learning.conjugate_gradients import LOGISTIC
from raylike.learning.linear import STEPS_BEFORE_NEWTON, decide, fit_grid, shared_gram
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.splits import TEST

C_VALUES = [1e-6, 1e-3, 1e-1, 1.0, 100.0, 1e5]


def objective(
    rows: NDArray[np.float32], labels: NDArray[np.int8], c: float, weights: NDArray[np.float64]
) -> float:
    augmented = np.column_stack([rows.astype(np.float64), np.ones(len(rows))])
    slack = np.maximum(1 - np.where(labels > 0, 1, -1) * (augmented @ weights), 0)
    return float(weights @ weights / 2 + c * slack @ slack)


@pytest.mark.parametrize(
    "width",
    [300, 25, 150],
    ids=["more features than rows", "more rows than features", "hardly more rows than features"],
)
def test_objective_and_ranking_are_those_of_scikit_learn(
    width: int, features: NDArray[np.float32], photos: Photos
) -> None:
    raw = features[0][:, :width]
    rows = fit_scale(raw, "fc6").apply(raw)
    included = np.stack([photos.folds != 0, photos.folds != 1], axis=1)
    grid = fit_grid(rows, photos.labels, C_VALUES, included)
    assert grid.shape == (len(C_VALUES), 2, width + 1)
    for j, c in enumerate(C_VALUES):
        k = j % 2  # every C, on either fold in turn
        mine, seen = grid[j, k].astype(np.float64), included[:, k]
        best = reference(rows[seen], photos.labels[seen], c)
        reached = objective(rows[seen], photos.labels[seen], c, mine)
        assert reached <= objective(rows[seen], photos.labels[seen], c, best) * (1 + 1e-4)
        ours = average_precision_score(photos.labels[~seen], decide(rows[~seen], grid[j, k]))
        other = average_precision_score(photos.labels[~seen], decide(rows[~seen], best.astype(np.float32)))
        assert ours == pytest.approx(other, abs=0.002)


@pytest.mark.parametrize("n", [90, 300], ids=["on the Gram matrix", "on the weights"])
def test_classes_that_can_nearly_be_separated_are_solved_at_every_c(n: int) -> None:
    """Conjugate gradients alone are off by a tenth here, however many steps they take."""
    rng = np.random.default_rng(0)
    raw = np.maximum(rng.normal(size=(n, 20)) @ rng.normal(size=(20, 40)), 0).astype(np.float32)
    rows = fit_scale(raw, "fc6").apply(raw)
    rule = rows @ rng.normal(size=40)
    labels = (rule + 0.02 * rule.std() * rng.normal(size=n) > 0).astype(np.int8)
    included = np.arange(n)[:, None] % 3 != np.arange(3)
    assert not alone_done(rows, labels, included).all()
    grid = fit_grid(rows, labels, C_VALUES, included)
    for (j, c), k in product(enumerate(C_VALUES), range(3)):
        part, part_labels = rows[included[:, k]], labels[included[:, k]]
        best = objective(part, part_labels, c, exact(part, part_labels, c))
        assert objective(part, part_labels, c, grid[j, k].astype(np.float64)) <= best * (1 + 1e-4)
    theirs = reference(part, part_labels, 1.0)
    agreed = objective(part, part_labels, 1.0, exact(part, part_labels, 1.0))
    assert objective(part, part_labels, 1.0, theirs) == pytest.approx(agreed, rel=1e-6)


def reference(rows: NDArray[np.float32], labels: NDArray[np.int8], c: float) -> NDArray[np.float64]:
    """scikit-learn's weights; at the largest C, which it takes 18 s for, those of `exact`."""
    n, width = rows.shape
    if c == C_VALUES[-1] and width < n:
        return exact(rows, labels, c)
    theirs = LinearSVC(C=c, dual=True, tol=1e-6, max_iter=200_000, random_state=0)
    if width < n:
        theirs.set_params(dual=False, tol=1e-9)
    theirs.fit(rows.astype(np.float64), labels)
    return np.append(theirs.coef_[0], theirs.intercept_)


def exact(rows: NDArray[np.float32], labels: NDArray[np.int8], c: float) -> NDArray[np.float64]:
    """The minimiser, by Newton's method from nothing, to where the same rows stay inside the margin."""
    with_ones = np.column_stack([rows, np.ones(len(rows))]).astype(np.float64)
    signs = np.where(labels > 0, 1.0, -1.0)
    gram = with_ones @ with_ones.T
    dual, inside = np.zeros(len(signs)), np.ones(len(signs), dtype=bool)
    with threadpool_limits(1, "blas"):
        for scale in c / 10.0 ** np.arange(12, -1, -2):
            for _ in range(50):
                dual = newton._ridge_regression(gram, signs, inside, 1 / (2 * scale))
                before, inside = inside, signs * (gram @ dual) < 1
                if np.array_equal(before, inside):
                    break
    weights: NDArray[np.float64] = with_ones.T @ dual
    return weights


def alone_done(
    rows: NDArray[np.float32], labels: NDArray[np.int8], included: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    signs = np.where(labels > 0, np.float32(1), np.float32(-1))
    return conjugate_gradients.minimise(
        rows, signs, C_VALUES, included, conjugate_gradients.SQUARED_HINGE, steps=STEPS_BEFORE_NEWTON
    )[1]


def test_rows_that_are_left_out_have_no_say(features: NDArray[np.float32], photos: Photos) -> None:
    rows = fit_scale(features[0], "fc6").apply(features[0])
    included = (photos.folds != 0)[:, None]
    flipped = np.where(included[:, 0], photos.labels, 1 - photos.labels).astype(np.int8)
    first, second = (fit_grid(rows, labels, [1.0], included) for labels in (photos.labels, flipped))
    assert np.array_equal(first, second)


def test_a_problem_is_solved_alike_alone_and_in_company(
    features: NDArray[np.float32], photos: Photos
) -> None:
    rows = fit_scale(features[0], "fc6").apply(features[0])
    included = np.stack([photos.folds != k for k in range(4)], axis=1)
    together = fit_grid(rows, photos.labels, C_VALUES, included)
    alone = fit_grid(rows, photos.labels, [C_VALUES[3]], included[:, 2:3])
    assert np.allclose(together[3, 2], alone[0, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [300, 25], ids=["more features than rows", "more rows than features"])
def test_logistic_regression_is_scikit_learns(
    width: int, features: NDArray[np.float32], photos: Photos
) -> None:
    """Its bias is regularised as the other weights are: a column of ones shows scikit-learn the same."""
    raw = features[0][:, :width]
    rows = fit_scale(raw, "fc6").apply(raw)
    included = np.stack([photos.folds != 0, photos.folds != 1], axis=1)
    grid = fit_grid(rows, photos.labels, C_VALUES[:5], included, loss=LOGISTIC)
    with_ones = np.column_stack([rows, np.ones(len(rows))]).astype(np.float64)
    signs = np.where(photos.labels > 0, 1, -1)
    for j, c in enumerate(C_VALUES[:5]):
        seen = included[:, 0]
        theirs = LogisticRegression(C=c, fit_intercept=False, tol=1e-10, max_iter=100_000)
        theirs.fit(with_ones[seen], photos.labels[seen])
        mine, best = (
            float(w @ w / 2 + c * np.logaddexp(0, -signs[seen] * (with_ones[seen] @ w)).sum())
            for w in (grid[j, 0].astype(np.float64), theirs.coef_[0])
        )
        assert mine <= best * (1 + 1e-4)
        assert np.corrcoef(with_ones @ grid[j, 0], with_ones @ theirs.coef_[0])[0, 1] > 0.9999


def test_rows_in_blocks_in_a_mapped_file_and_with_a_shared_gram_give_the_same(
    features: NDArray[np.float32], photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = features[0][:, :25]
    rows = fit_scale(raw, "fc6").apply(raw)
    outside = photos.folds == TEST
    included = np.stack([~outside & (photos.folds != k) for k in range(3)], axis=1)
    whole = fit_grid(rows, photos.labels, C_VALUES, included)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    monkeypatch.setattr(conjugate_gradients, "BLOCK_ELEMENTS", 25 * 7)
    gram = shared_gram(mapped, included.any(axis=1))
    in_blocks = fit_grid(mapped, photos.labels, C_VALUES, included, gram=gram)
    scores = [decide(rows, weights) for weights in (whole, in_blocks)]
    assert np.allclose(*scores, rtol=2e-2, atol=2e-2)
    assert np.corrcoef(scores[0].ravel(), scores[1].ravel())[0, 1] > 0.9999


def test_constant_features_change_nothing(features: NDArray[np.float32], photos: Photos) -> None:
    raw = features[0][:, :25].copy()
    raw[:, 3] = raw[:, 9] = 0.7
    rows = fit_scale(raw, "fc6").apply(raw)
    included = (photos.folds != 0)[:, None]
    grid = fit_grid(rows, photos.labels, C_VALUES, included)
    assert np.isfinite(grid).all()
    assert np.abs(grid[..., [3, 9]]).max() < 1e-2 * np.abs(grid).max()
