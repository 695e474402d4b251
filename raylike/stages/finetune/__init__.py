"""Stage finetune: AlexNet with a new last layer, trained on the photos by Ray Train.

Reads labels and images; writes curves, finetune_predictions and, last, finetune_results. A worker saves
its state as it goes, so that a killed run goes on from there: batches, augmentation and dropout follow
from seed and iteration, and the tables come out as if nothing had happened. The best network by
validation AP is kept as `models/finetune/model.pt`.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pyarrow as pa
import pyarrow.fs

from raylike import cluster
from raylike.errors import ConfigError, RaylikeError, StageError
from raylike.learning import learning_set, outcomes
from raylike.learning.outcomes import Outcome
from raylike.stage import StageContext, StageReport
from raylike.stages.finetune.worker import Job, train_worker
from raylike.tables import CURVES, FINETUNE_RESULTS
from raylike.vision import backbones

MAX_FAILURES = 3
"""Lost workers that are replaced, from the last saved state, before the stage gives up."""
PROGRESS_EVERY_S = 0.5


def run(context: StageContext) -> StageReport:
    """Train, score and write; the notes give the AP on validation and test photos.

    Raises
    ------
    StageError : for a part with one class, a loss that is not a number, workers that keep dying
    ConfigError : for a GPU that is not there, a batch that the workers cannot share evenly
    """
    workspace, settings = context.workspace, learning_set.with_alexnet(context.settings)
    photos = learning_set.read(workspace)
    n_workers, n_gpus = settings.finetune.workers, cluster.gpus(settings.device)
    if settings.finetune.batch_size % n_workers:
        raise ConfigError(
            f"{n_workers} workers cannot share a batch of {settings.finetune.batch_size} evenly",
            "finetune.workers",
            "choose a divisor of finetune.batch_size",
        )
    network = backbones.choose(
        settings.features.backbone,
        settings.features.weights,
        settings.features.allow_random,
        settings.features.weights_file,
    )
    folder = f"models/finetune/run-{context.commit.digest}"
    if not context.resume:
        workspace.delete_folder(folder)
        workspace.write("finetune_results", FINETUNE_RESULTS.empty(), context.commit.partial())
    context.progress.expect(settings.finetune.iterations, "iterations")
    outcome = _train(context, Job(workspace, settings, network.weights, photos, folder), use_gpu=n_gpus > 0)
    if outcome.error:
        raise StageError(*outcome.error)

    results = outcomes.results(photos, outcome, settings, network.weights)
    workspace.write("curves", pa.Table.from_pylist(outcome.curve, schema=CURVES.schema), context.commit)
    workspace.write("finetune_predictions", outcomes.predictions(photos, outcome), context.commit)
    workspace.write("finetune_results", results, context.commit)
    workspace.delete_folder(folder)
    missing = int((~outcome.there).sum())
    return StageReport(
        photos.ids.size,
        photos.ids.size - missing,
        failed={"undecodable": missing} if missing else {},
        notes=outcomes.notes(results, outcome, network),
    )


def _train(context: StageContext, job: Job, *, use_gpu: bool) -> Outcome:
    """Run the workers, and say meanwhile how far they are."""
    from ray import train
    from ray.train.torch import TorchTrainer

    cluster.quieten()
    filesystem, root = context.workspace.filesystem()
    parent, _, name = job.folder.rpartition("/")
    n_workers = job.settings.finetune.workers
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=train.ScalingConfig(
            num_workers=n_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": 1, **({"GPU": 1} if use_gpu else {})},
        ),
        run_config=train.RunConfig(
            name=name,
            storage_path=f"{root}/{parent}",
            storage_filesystem=filesystem,
            failure_config=train.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
        ),
    )
    ended: list[Any] = []

    def fit() -> None:
        try:
            ended.append(trainer.fit())
        except Exception as error:  # raised again where the stage waits
            ended.append(error)

    # Not in the main thread: there, Ray would put its own handler in the place of Ctrl-C's.
    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    seen = 0
    while thread.is_alive():
        thread.join(PROGRESS_EVERY_S)
        reached = _reached(filesystem, f"{root}/{job.folder}/progress.json")
        context.progress.advance(max(0, reached - seen))
        seen = max(seen, reached)
    result = ended[0]
    if isinstance(result, Exception):
        raise _explained(result) from result
    outcome: Outcome = result.return_value
    return outcome


def _explained(error: Exception) -> RaylikeError:
    """The worker's own error where it is one of ours; else what became of the worker, in a line."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        cause = getattr(failure, "cause", None) or getattr(failure, "_base_exc", None) or failure
        if isinstance(cause, RaylikeError):
            return cause
    first = next(iter(failures.values()), error)
    line = str(first).strip().splitlines()[-1:] or [type(first).__name__]
    return StageError(
        f"training ended early: {line[0]}", "finetune", "the same command goes on where it ended"
    )


def _reached(filesystem: pyarrow.fs.FileSystem, path: str) -> int:
    """Iterations done, as rank 0 last wrote it down."""
    try:
        with filesystem.open_input_stream(path) as file:
            return int(json.loads(file.read())["iteration"])
    except (OSError, ValueError):
        return 0
