"""What the search varies, and what its best trial makes of fine-tuning's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raylike.commits import Commit
from raylike.config import FinetuneSettings, TuneSettings, resolve
from raylike.errors import InputDataError
from raylike.learning import learning_set, linear_trials, search_space
from raylike.tables import TRIALS
from raylike.workspace import Workspace
from tests.cluster.photo_workspace import write_photos
from tests.unit.stages.learning_workspace import write_features

FOUND: dict[str, Any] = {
    "lr": 0.02, "weight_decay": 1e-5, "trainable": "head", "schedule": "cosine", "batch_size": 16,
    "label_smoothing": 0.1,
}  # fmt: skip


def trial(number: int, ap: float, **others: Any) -> dict[str, Any]:
    ended = {"iterations": 30, "validation_ap": ap, "best_validation_ap": ap, "stopped_early": False}
    return {"trial": number, "model": "network", **FOUND, **ended, "seconds": 1.0, **others}


def test_finetunes_own_setting_is_among_those_to_choose_from() -> None:
    own = FinetuneSettings(trainable="7", batch_size=48, schedule="cosine")
    found = search_space.choices(TuneSettings(trainable=("head",), batch_sizes=(48, 96)), own)
    assert found["trainable"] == ["7", "head"]
    assert found["batch_size"] == [48, 96]
    assert found["schedule"] == ["cosine", "step"]
    assert all(value in found[name] for name, value in search_space.own(own).items() if name in found)


def test_every_field_that_is_varied_is_one_of_finetune_and_in_the_table() -> None:
    assert set(search_space.VARIED) <= set(FinetuneSettings.model_fields) & set(TRIALS.schema.names)


def test_finetune_takes_the_best_network_and_no_linear_model(workspace_path: Path) -> None:
    rows = [trial(0, 0.6), trial(1, 0.7, lr=0.5), trial(2, 0.7), trial(3, 0.9, model="LinearSVC on fc7")]
    workspace = Workspace(workspace_path)
    workspace.write("trials", pa.Table.from_pylist(rows, schema=TRIALS.schema), Commit("tune", ""))
    chosen = search_space.from_trials(FinetuneSettings(iterations=77), workspace)
    assert (chosen.lr, chosen.trainable, chosen.schedule, chosen.iterations) == (0.5, "head", "cosine", 77)


def test_without_a_network_among_the_trials_there_is_nothing_to_take(workspace_path: Path) -> None:
    with pytest.raises(InputDataError, match="no trials of a network yet"):
        search_space.from_trials(FinetuneSettings(), Workspace(workspace_path))


def test_linear_models_are_judged_on_the_validation_photos(workspace_path: Path) -> None:
    write_photos(workspace_path)
    workspace = Workspace(workspace_path)
    photos = learning_set.read(workspace)
    settings = resolve({"classify": {"c_values": (0.01, 1.0)}}, environ={}).settings
    assert not list(linear_trials.run(workspace, settings, photos, "random", 4))
    signal = np.where(photos.labels > 0, 1, -1)[None, :, None] * np.ones((2, 1, 8), np.float32)
    noise = np.random.default_rng(0).normal(size=signal.shape)
    write_features(workspace_path, photos.ids.tolist(), (signal + noise).astype(np.float32))
    workspace.seal("features/alexnet", Commit("features", "", state={"weights": "random"}))
    rows = list(linear_trials.run(workspace, settings, photos, "random", 4))
    assert [row["trial"] for row in rows] == [4, 5, 6, 7]
    assert len(rows) == linear_trials.count(settings)
    assert {row["model"] for row in rows} == {
        f"{model} on {layer}" for model in linear_trials.LOSSES for layer in ("fc6", "fc7")
    }
    assert all(row["best_validation_ap"] > 0.9 and row["c"] in (0.01, 1.0) for row in rows)
    pa.Table.from_pylist(rows, schema=TRIALS.schema)
    assert not list(linear_trials.run(workspace, settings, photos, "pretrained", 4))
