"""One worker of a fine-tuning job: trains its share of every batch; rank 0 also saves, scores and reports.

Knows Ray Train and the workspace. Knows nothing of what becomes of the outcome.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raylike import cluster
from raylike.errors import CannotWrite, RaylikeError
from raylike.learning import learning_set
from raylike.learning.material import Feed
from raylike.learning.outcomes import Outcome, failed
from raylike.stages.finetune.ingest import Stream
from raylike.stages.finetune.job import MODEL, Job, saved_name
from raylike.vision import loading
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from raylike.learning.finetune import Best, FineTuning, Look
    from raylike.models.files import Saved
    from raylike.vision.backbones import Backbone

__all__ = ["Job", "train_worker"]

TOLD_EVERY_S = 1.0
"""Between two notes of how far training is."""


def train_worker(config: dict[str, Any]) -> Outcome | None:
    """Train as one of the workers of a job; rank 0 scores and hands back the outcome.

    An error that is the user's to mend is a result, not a failure: trying again would end the same.
    """
    job: Job = config["job"]
    try:
        return _train(job)
    except RaylikeError as error:
        if isinstance(error, CannotWrite) and job.settings.finetune.workers > 1:
            raise  # the others do not know of it, and would wait for this one
        return failed(job.photos, error)


def _train(job: Job) -> Outcome | None:
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    from raylike.learning.finetune import Best, FineTuning, as_row

    settings, where = job.settings, train.get_context()
    chosen = settings.finetune
    rank, n_workers = where.get_world_rank(), where.get_world_size()
    torch.set_num_threads(max(1, min(cluster.node_cpus(), cluster.cpus() // n_workers)))
    device = get_device()
    backbone = loading.load(
        settings.features.backbone,
        _asked(job.weights),
        settings.seed,
        allow_random=False,
        weights_file=settings.features.weights_file,
    )
    tail, material, there = learning_set.prepare(
        job.workspace, job.photos, backbone, chosen, seed=settings.seed, device=device
    )
    tuning = FineTuning(
        tail,
        chosen,
        seed=settings.seed,
        device=device,
        wrap=prepare_model if n_workers > 1 else lambda module: module,
        rank=rank,
        workers=n_workers,
        summed=_over_workers(device) if n_workers > 1 else lambda tensor: tensor,
    )
    best = Best()
    curve = _go_on(tuning, best, device)
    feed = None
    if job.streams:
        own = Feed(material.inputs, material.draw(chosen, settings.seed), rank, n_workers)
        feed = Stream(own, tuning.iteration, chosen.iterations, train.get_dataset_shard)
    keeper = _Keeper(job, tuning, best, curve)
    started = time.monotonic()
    for look in tuning.train(
        material, chosen.iterations, chosen.evaluate_every, feed=feed, after_step=keeper.after_step
    ):
        best.offer(tuning, look)
        curve.append(as_row(look, "finetune"))
        keeper.looked(look)
    seconds = time.monotonic() - started
    tuning.tail.load_state_dict(best.tail)
    judged = np.flatnonzero(there & (job.photos.folds <= learning_set.VALIDATION_FOLD))
    scores = np.full(job.photos.ids.size, np.nan)
    scores[judged] = tuning.score(material.inputs, judged)
    if rank > 0:
        return None
    saved = _saved(job, backbone, best)
    return Outcome(scores, there, curve, best.iteration, seconds, saved=saved)


def _go_on(tuning: FineTuning, best: Best, device: torch.device) -> list[dict[str, Any]]:
    """Bring back the last saved state, if there is one; the curve up to it."""
    import torch
    from ray import train

    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        saved = torch.load(Path(folder) / "state.pt", map_location=device, weights_only=True)
    tuning.load(saved["tuning"])
    best.load(saved["best"])
    curve: list[dict[str, Any]] = saved["curve"]
    return curve


class _Keeper:
    """Saves states and tells how far training is; all workers call it at the same iterations."""

    def __init__(self, job: Job, tuning: FineTuning, best: Best, curve: list[dict[str, Any]]) -> None:
        from ray import train

        from actors.metrics import StageMetrics, TrainingMetrics

        self._job, self._tuning, self._best, self._curve = job, tuning, best, curve
        self._rank = train.get_context().get_world_rank()
        self._metrics = StageMetrics("finetune")
        self._training = TrainingMetrics("finetune")
        self._saved_at = self._told_at = time.monotonic()
        self._look: Look | None = None

    def looked(self, look: Look) -> None:
        """Report a look to Ray, and to whoever watches."""
        from ray import train

        self._look = look
        if self._rank == 0:
            self._training.looked(look.loss, look.validation_ap)
        train.report({"iteration": look.iteration, "validation_ap": look.validation_ap, "loss": look.loss})
        self._tell()

    def after_step(self) -> None:
        """Save if it is time to."""
        self._metrics.done(self._job.settings.finetune.batch_size // self._job.settings.finetune.workers)
        if time.monotonic() - self._told_at >= TOLD_EVERY_S:
            self._tell()
        if self._due():
            self._save()

    def _due(self) -> bool:
        """Whether to save now; where time decides, it is rank 0's."""
        chosen = self._job.settings.finetune
        if chosen.checkpoint_every:
            return self._tuning.iteration % chosen.checkpoint_every == 0
        due = self._rank == 0 and time.monotonic() - self._saved_at >= self._job.checkpoint_every_s
        return self._tuning.anywhere(due)

    def _save(self) -> None:
        """Hand the state to Ray, which keeps the last one; the best network so far is in it.

        Raises
        ------
        CannotWrite : if there is no room for it
        StageError : if a loss is not a number: the state before stays
        """
        from ray import train

        state = {"tuning": self._tuning.state(), "best": self._best.state(), "curve": self._curve}
        with tempfile.TemporaryDirectory() as folder:
            kept = None
            if self._rank == 0:
                write_state(state, Path(folder) / "state.pt")
                kept = train.Checkpoint.from_directory(folder)
            try:
                train.report(
                    {"iteration": self._tuning.iteration, "validation_ap": self._best.ap},
                    checkpoint=kept,
                    checkpoint_dir_name=saved_name(self._tuning.iteration),
                )
            except OSError as error:
                raise _no_room(error, self._job.workspace.artifact(self._job.folder)) from error
        self._saved_at = time.monotonic()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        if self._rank == 0:
            look = asdict(self._look) if self._look else {}
            told = {**look, "looked_at": look.get("iteration", 0), "iteration": self._tuning.iteration}
            _write(self._job.workspace, f"{self._job.folder}/progress.json", json.dumps(told).encode())


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a state to a file. Raises `CannotWrite` if there is no room for it."""
    import torch

    try:
        torch.save(state, path)
    except (OSError, RuntimeError) as error:  # torch's writer tells a full disk as the latter
        raise _no_room(error, str(path.parent)) from error


def _over_workers(device: Any) -> Callable[[Tensor], Tensor]:
    """Adds up a tensor over the workers of this group."""
    from torch import distributed

    def summed(tensor: Tensor) -> Tensor:
        total = tensor.clone().to(device)
        distributed.all_reduce(total)
        return total.to(tensor.device)

    return summed


def _no_room(error: Exception, where: str) -> CannotWrite:
    reason = getattr(error, "strerror", None) or "its file could not be written to the end"
    return CannotWrite(
        f"the state of the training cannot be saved: {reason}", where, "make room; the same command goes on"
    )


def _asked(weights: str) -> Any:
    """The setting that gives the weights which the driver has settled on."""
    return "random" if weights == "random" else "imagenet"


def _saved(job: Job, backbone: Backbone, best: Best) -> Saved:
    """Keep the whole network in the job's folder, until the driver has judged it."""
    from raylike.learning.tails import OUTPUTS
    from raylike.models import files, onnx_file

    chosen = job.settings.finetune
    onnx = chosen.onnx and onnx_file.available()
    folder = f"{job.folder}/{MODEL}"
    return files.save(backbone, best.tail, OUTPUTS[chosen.objective], job.workspace, folder, onnx=onnx)


def _write(workspace: Workspace, path: str, content: bytes) -> None:
    filesystem, root = workspace.filesystem()
    with filesystem.open_output_stream(f"{root}/{path}") as file:
        file.write(content)
