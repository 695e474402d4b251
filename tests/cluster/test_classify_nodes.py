"""Trees and SGD over Ray's processes give what they give in this one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray
from numpy.typing import NDArray

from raylike.config import FeaturesSettings
from raylike.errors import StageError
from raylike.learning import forest, svm
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.sgd import Batches, Everywhere, Shard
from raylike.learning.splits import assign_folds
from raylike.stages.classify import nodes, reading
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import write_features
from tests.unit.stages.test_classify import prepare

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_local")]


def test_trees_grown_by_ray_are_those_grown_in_threads() -> None:
    rng = np.random.default_rng(0)
    n = 120
    features = np.maximum(rng.normal(size=(2, n, 40)), 0).astype(np.float32)
    labels = (features[0, :, 0] + 0.3 * rng.normal(size=n) > 0.5).astype(np.int8)
    groups = np.char.mod("user%d", np.arange(n) // 2)
    folds = assign_folds(groups.tolist(), folds=4, test_share=0.25, seed=0)
    photos = Photos(np.char.mod("%03d", np.arange(n)), groups, labels, folds)
    here = forest.fit_and_score(photos, features, trees=50, seed=1)
    there = forest.fit_and_score(photos, features, trees=50, seed=1, spread=nodes.grow_trees)
    assert np.array_equal(here, there)


def test_sgd_where_the_rows_are_is_sgd_here_also_when_a_process_dies(tmp_path: Path) -> None:
    prepare(tmp_path)
    workspace = Workspace(tmp_path)
    photos, table, _ = reading.read_photos(workspace, FeaturesSettings())
    features = reading.read_layer(workspace, table, "fc6", photos.ids)
    layer = svm.Layer(photos, features)
    fit_scale(layer.rows, "fc6", layer.training[:, 0]).apply_in_place(features)
    with layer.as_one_shard() as everywhere:
        here = _scores(everywhere, photos, features)
    with nodes.open_rows(workspace, table, photos, "fc6") as everywhere:
        there = _scores(everywhere, photos, features)
        rows = everywhere(_n_rows)
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(everywhere._actors[0].answer.remote(_die))
        again = _scores(everywhere, photos, features)
    assert np.allclose(there, again, atol=1e-6)
    assert sum(rows) == 2 * photos.ids.size
    assert np.allclose(here, there, atol=1e-5)


def test_a_value_that_is_not_finite_is_found_where_the_rows_are(tmp_path: Path) -> None:
    features = prepare(tmp_path)
    workspace = Workspace(tmp_path)
    photos, table, _ = reading.read_photos(workspace, FeaturesSettings())
    features[0, 0, 0] = np.inf
    write_features(tmp_path, photos.ids.tolist(), features)
    with (
        pytest.raises(StageError, match=r"1 of 240 rows hold values that are not finite"),
        nodes.open_rows(workspace, table, photos, "fc6"),
    ):
        pass


def _die(_: Shard) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _n_rows(shard: Shard) -> int:
    return len(shard.rows)


def _scores(everywhere: Everywhere, photos: Photos, features: NDArray[np.float32]) -> NDArray[np.float64]:
    batches = Batches(features.shape[0] * features.shape[1], 0.5, 3)
    return svm.sweep_sgd(
        photos, everywhere, batches, width=features.shape[2], iterations=20, steps=[1.0], regs=[1e-4, 0.1]
    ).scores
