"""TensorBoard's files have the looks of a training, each once."""

from __future__ import annotations

from pathlib import Path

from raylike.learning.training_log import FOLDER, TrainingLog
from raylike.workspace import Workspace


def test_each_look_is_written_once_and_an_earlier_training_goes(workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    look = {"run": "finetune", "iteration": 10, "loss": 0.5, "validation_ap": 0.6}
    folder = workspace_path / FOLDER / "finetune"
    with TrainingLog(workspace, "finetune", fresh=True) as log:
        for told in (look, look, {**look, "iteration": 20}):
            log.looked(told)
    (events,) = folder.iterdir()
    assert events.read_bytes().count(b"validation_ap") == 2
    with TrainingLog(workspace, "finetune", fresh=True):
        pass
    assert len(list(folder.iterdir())) == 1
