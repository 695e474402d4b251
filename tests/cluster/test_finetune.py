"""The stage finetune on a local Ray: learns, goes on after a kill, and refuses what cannot be done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raylike.errors import ConfigError, InputDataError, StageError
from raylike.models.files import load_model
from raylike.stage import StageContext
from raylike.stages import finetune
from raylike.stages.finetune import ingest, worker
from raylike.tables import TABLES
from raylike.workspace import Workspace
from tests.cluster.photo_workspace import write_photos
from tests.unit.stages.learning_workspace import context

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def finetune_context(path: Path, backbone: str = "alexnet", **settings: Any) -> StageContext:
    chosen = {"trainable": "head", "iterations": 6, "evaluate_every": 2, "batch_size": 8, **settings}
    features = {"weights": "random", "backbone": backbone}
    return context(path, "finetune", features=features, finetune=chosen, classify={"resamples": 100})


def streamed_context(path: Path) -> StageContext:
    """All layers of a small network, so that Ray Data makes its photos ready."""
    return finetune_context(path, "timm:test_resnet", trainable="all", evaluate_every=3)


@pytest.mark.usefixtures("ray_local")
def test_it_learns_scores_and_keeps_the_best_network(workspace_path: Path) -> None:
    write_photos(workspace_path)
    report = finetune.run(finetune_context(workspace_path, iterations=20, evaluate_every=5))
    workspace = Workspace(workspace_path)
    results = workspace.table("finetune_results").to_pandas().set_index("evaluation")
    assert (report.rows_in, report.rows_out) == (32, 32)
    assert results.loc["test", "ap"] > 0.8
    assert results.loc["test", "n"] == results.loc["cross-validation", "n"] == 8
    assert workspace.rows("finetune_predictions") == 16
    assert workspace.table("curves").to_pandas()["iteration"].tolist() == [5, 10, 15, 20]
    network, framing = load_model(workspace.artifact("models", "finetune"), backbone="alexnet")
    assert network(torch.zeros(1, framing.input_px, framing.input_px, 3, dtype=torch.uint8)).shape == (1, 2)
    assert "random weights" in Path(workspace.artifact("models", "finetune", "README.md")).read_text()
    assert not list(Path(workspace.artifact("models", "finetune")).glob("run-*"))


@pytest.mark.usefixtures("ray_local")
def test_a_run_ended_midway_goes_on_from_its_last_state(
    workspace_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(workspace_path)
    write_photos(tmp_path / "undisturbed")
    expected = streamed_context(tmp_path / "undisturbed")
    finetune.run(expected)
    monkeypatch.setattr(finetune, "Job", _saves_at_every_look)
    monkeypatch.setattr(finetune, "train_worker", _dies_at_iteration_4)
    monkeypatch.setattr(finetune, "MAX_FAILURES", 0)
    with pytest.raises(StageError, match="goes on where it ended"):
        finetune.run(streamed_context(workspace_path))
    monkeypatch.setattr(finetune, "train_worker", worker.train_worker)
    finetune.run(replace(streamed_context(workspace_path), resume=True))
    for table, changing in (("finetune_predictions", []), ("curves", ["photos_per_s"])):
        keys = [(name, "ascending") for name in TABLES[table].key]
        ours, theirs = (
            workspace.read(table).drop_columns(changing).sort_by(keys)
            for workspace in (Workspace(workspace_path), expected.workspace)
        )
        # Sums over several threads may round differently when the machine is busy.
        pd.testing.assert_frame_equal(ours.to_pandas(), theirs.to_pandas(), rtol=1e-4, atol=1e-6, obj=table)


def _saves_at_every_look(*args: Any, **options: Any) -> worker.Job:
    return worker.Job(*args, **options, checkpoint_every_s=0)


def _dies_at_iteration_4(config: dict[str, Any]) -> None:
    """Stands for a machine that goes away: the process ends between two looks."""
    import os

    from raylike.learning import finetune as learning

    step = learning.FineTuning._step

    def die(self: learning.FineTuning, *args: Any) -> Any:
        if self.iteration == 4:
            os._exit(1)
        return step(self, *args)

    learning.FineTuning._step = die  # type: ignore[method-assign]
    worker.train_worker(config)


@pytest.mark.usefixtures("ray_local")
def test_a_learning_rate_beyond_all_bounds_ends_with_the_iteration_named(workspace_path: Path) -> None:
    write_photos(workspace_path)
    with pytest.raises(StageError, match="not a number at iteration"):
        finetune.run(finetune_context(workspace_path, lr=1e30))


@pytest.mark.usefixtures("ray_local")
def test_a_gpu_that_is_not_there_is_a_setting_that_is_wrong(workspace_path: Path) -> None:
    write_photos(workspace_path)
    asked = context(workspace_path, "finetune", device="cuda", features={"weights": "random"})
    with pytest.raises(ConfigError, match="GPU"):
        finetune.run(asked)


@pytest.mark.parametrize("label", [0, 1])
def test_photos_of_one_kind_teach_nothing(workspace_path: Path, label: int) -> None:
    write_photos(workspace_path, labels=[label] * 32)
    with pytest.raises(InputDataError, match=r"only (good|bad) photos"):
        finetune.run(finetune_context(workspace_path))


@pytest.mark.usefixtures("ray_local")
def test_a_batch_that_workers_cannot_share_evenly_is_refused(workspace_path: Path) -> None:
    write_photos(workspace_path)
    with pytest.raises(ConfigError, match="3 workers cannot share a batch of 8"):
        finetune.run(finetune_context(workspace_path, workers=3))


@pytest.mark.usefixtures("ray_local")
def test_ray_data_lets_its_scheduler_rest() -> None:
    """By a hook that Ray does not document: a Ray without it would take half of the training's time."""
    import ray.data

    rests: list[float] = []

    class Counted(ingest.Unhurried):
        def on_execution_step(self, executor: object) -> None:
            rests.append(ingest.SCHEDULED_EVERY_S)

    shown = ray.data.range(2)
    shown.context.custom_execution_callback_classes = [Counted]
    assert shown.take_all() == [{"id": 0}, {"id": 1}]
    assert rests
