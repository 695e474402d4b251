"""One worker of a fine-tuning job: trains its share of every batch; rank 0 also saves, scores and reports.

Knows Ray Train and the workspace. Knows nothing of what becomes of the outcome.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.fs

from raylike import cluster
from raylike.config import Settings
from raylike.errors import StageError
from raylike.learning import learning_set
from raylike.learning.outcomes import Outcome
from raylike.learning.photos import Photos
from raylike.vision import backbones
from raylike.workspace import Workspace

if TYPE_CHECKING:
    from raylike.learning.finetune import Best

CHECKPOINT_EVERY_S = 30.0
"""Between two saved states. AlexNet's classifier and its momentum are 430 MB: a shorter run is sooner
repeated than saved."""


@dataclass(frozen=True)
class Job:
    """What a worker is told. Small: weights and photos are read where the worker runs."""

    workspace: Workspace
    settings: Settings
    weights: str
    photos: Photos
    folder: str
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


def train_worker(config: dict[str, Any]) -> Outcome | None:
    """Train as one of the workers of a job; rank 0 scores and hands back the outcome."""
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    from actors.metrics import StageMetrics
    from raylike.learning.finetune import Best, FineTuning, as_row

    job: Job = config["job"]
    settings, where = job.settings, train.get_context()
    rank, n_workers = where.get_world_rank(), where.get_world_size()
    torch.set_num_threads(max(1, cluster.cpus() // n_workers))
    device = get_device()
    backbone = backbones.load(
        settings.features.backbone,
        _asked(job.weights),
        settings.seed,
        allow_random=False,
        weights_file=settings.features.weights_file,
    )
    tail, material, there = learning_set.prepare(
        job.workspace, job.photos, backbone, settings.finetune, seed=settings.seed, device=device
    )
    tuning = FineTuning(
        tail,
        settings.finetune,
        seed=settings.seed,
        device=device,
        wrap=prepare_model if n_workers > 1 else lambda module: module,
        rank=rank,
        workers=n_workers,
    )
    best, curve = Best(), []
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            saved = torch.load(Path(folder) / "state.pt", map_location=device, weights_only=True)
        tuning.load(saved["tuning"])
        best.load(saved["best"])
        curve = saved["curve"]
    metrics = StageMetrics("finetune")
    started = saved_at = time.monotonic()
    error: tuple[str, ...] = ()
    try:
        for look in tuning.train(material, settings.finetune.iterations, settings.finetune.evaluate_every):
            best.offer(tuning, look)
            curve.append(as_row(look, "finetune"))
            metrics.done(settings.finetune.evaluate_every * settings.finetune.batch_size // n_workers)
            due = rank == 0 and time.monotonic() - saved_at >= job.checkpoint_every_s
            with tempfile.TemporaryDirectory() as folder:
                kept = None
                if due:
                    state = {"tuning": tuning.state(), "best": best.state(), "curve": curve}
                    torch.save(state, Path(folder) / "state.pt")
                    kept = train.Checkpoint.from_directory(folder)
                    saved_at = time.monotonic()
                train.report(
                    {"iteration": look.iteration, "validation_ap": look.validation_ap}, checkpoint=kept
                )
            if rank == 0:
                _write(job.workspace, f"{job.folder}/progress.json", json.dumps(asdict(look)).encode())
    except StageError as raised:  # a result, not a failure: trying again would end the same
        error = (raised.what, raised.where, raised.hint)
    seconds = time.monotonic() - started
    if rank > 0:
        return None
    scores = np.full(job.photos.ids.size, np.nan)
    if best.tail:
        tuning.tail.load_state_dict(best.tail)
        judged = np.flatnonzero(there & (job.photos.folds <= learning_set.VALIDATION_FOLD))
        scores[judged] = tuning.score(material.inputs, judged)
        _save_model(job, best)
    return Outcome(scores, there, curve, best.iteration, seconds, error)


def _asked(weights: str) -> Any:
    """The setting that gives the weights which the driver has settled on."""
    return "random" if weights == "random" else "imagenet"


def _save_model(job: Job, best: Best) -> None:
    """Keep the best tail, with what it takes to put the network together again."""
    import torch

    model = {
        "backbone": job.settings.features.backbone,
        "weights": job.weights,
        "seed": job.settings.seed,
        "trainable": job.settings.finetune.trainable,
        "iteration": best.iteration,
        "validation_ap": best.ap,
        "tail": best.tail,
    }
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        torch.save(model, file)
        file.flush()
        filesystem, root = job.workspace.filesystem()
        filesystem.create_dir(f"{root}/models/finetune", recursive=True)
        pyarrow.fs.copy_files(
            file.name, f"{root}/models/finetune/model.pt.part", pyarrow.fs.LocalFileSystem(), filesystem
        )
        filesystem.move(f"{root}/models/finetune/model.pt.part", f"{root}/models/finetune/model.pt")


def _write(workspace: Workspace, path: str, content: bytes) -> None:
    filesystem, root = workspace.filesystem()
    with filesystem.open_output_stream(f"{root}/{path}") as file:
        file.write(content)
