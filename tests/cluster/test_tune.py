"""The stage tune on a local Ray: every trial gets a row, and the same search gives the same table."""

from __future__ import annotations

from pathlib import Path

import pytest

from raylike.stages import tune
from raylike.workspace import Workspace
from tests.cluster.photo_workspace import write_photos
from tests.unit.stages.learning_workspace import context

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.mark.usefixtures("ray_local")
def test_trials_are_judged_and_the_weak_ones_stopped_early(
    workspace_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_photos(workspace_path)
    searched = context(
        workspace_path,
        "tune",
        features={"weights": "random"},
        finetune={"trainable": "head", "batch_size": 8},
        tune={"trials": 4, "iterations": 6, "trainable": (), "batch_sizes": (4,)},
    )
    report = tune.run(searched)
    trials = Workspace(workspace_path).table("trials").to_pandas()
    assert report.rows_out == 4
    assert trials["trial"].tolist() == [0, 1, 2, 3]
    first = trials.loc[0, ["lr", "weight_decay", "trainable", "batch_size"]].tolist()
    assert first == [1e-3, 5e-4, "head", 8]
    assert trials["lr"].between(1e-4, 1e-1).all()
    assert trials["iterations"].between(2, 6).all()
    assert (trials["stopped_early"] == (trials["iterations"] < 6)).all()
    assert (trials["best_validation_ap"] >= trials["validation_ap"]).all()
    assert not list((workspace_path / "models" / "tune").glob("run-*"))
    assert capfd.readouterr() == ("", "")

    tune.run(searched)
    again = Workspace(workspace_path).table("trials").to_pandas()
    assert again.drop(columns="seconds").equals(trials.drop(columns="seconds"))
