"""Stage finetune: a network with a new last layer, trained on the photos by Ray Train.

Reads labels and images; writes curves, finetune_predictions and, last, finetune_results. A worker saves
its state as it goes, so that a killed run goes on from there: batches, augmentation and dropout follow
from seed and iteration, and the tables come out as if nothing had happened. The best network by
validation AP is kept in `models/NAME/`, see `models/files.py`.

Where lower layers are frozen, workers train on what these give, computed once. Else Ray Data makes photos
ready (`ingest.py`).
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pyarrow as pa
import pyarrow.fs

from raylike import cluster
from raylike.config import Settings
from raylike.errors import RaylikeError, StageError
from raylike.learning import learning_set, outcomes, search_space
from raylike.learning.material import check
from raylike.learning.outcomes import Outcome
from raylike.learning.training_log import TrainingLog
from raylike.models import card, description, files
from raylike.sizing import training_shares
from raylike.stage import StageContext, StageReport
from raylike.stages.finetune import ingest
from raylike.stages.finetune.job import MODEL
from raylike.stages.finetune.worker import Job, train_worker
from raylike.tables import CURVES, FINETUNE_RESULTS
from raylike.vision import loading
from raylike.workspace import Workspace

MAX_FAILURES = 3
"""Lost workers that are replaced, from the last saved state, before the stage gives up."""
PROGRESS_EVERY_S = 0.5


def run(context: StageContext) -> StageReport:
    """Train, score and write; the notes give the AP on validation and test photos.

    Raises
    ------
    InputDataError : for a part with one class, no pair to learn from, or no trial to take settings from
    StageError : for a loss that is not a number, workers that keep dying
    ConfigError : for a GPU that is not there, settings that contradict each other
    CannotWrite : if there is no room for the state of the training
    """
    workspace, settings = context.workspace, context.settings
    if settings.finetune.from_tune:
        settings = settings.model_copy(
            update={"finetune": search_space.from_trials(settings.finetune, workspace)}
        )
    check(settings.finetune)
    photos = learning_set.read(workspace)
    n_gpus = cluster.gpus(settings.device)
    network = loading.choose(
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
    streams = learning_set.streams(settings.features.backbone, settings.finetune, photos.ids.size)
    framing = loading.framing(settings.features.backbone)
    job = Job(workspace, settings, network.weights, photos, folder, framing, streams)
    outcome = _train(context, job, use_gpu=n_gpus > 0)
    if outcome.error:
        raise outcome.error

    results = outcomes.results(photos, outcome, settings, network.weights)
    workspace.write("curves", pa.Table.from_pylist(outcome.curve, schema=CURVES.schema), context.commit)
    workspace.write("finetune_predictions", outcomes.predictions(photos, outcome), context.commit)
    told = description.describe(
        workspace, settings, photos, outcome, results, framing, network.weights, context.commit
    )
    files.publish(workspace, f"{folder}/{MODEL}", settings.finetune.name, told, card.card(told))
    workspace.write("finetune_results", results, context.commit)
    workspace.delete_folder(folder)
    missing = int((~outcome.there).sum())
    return StageReport(
        photos.ids.size,
        photos.ids.size - missing,
        failed={"undecodable": missing} if missing else {},
        notes=(*outcomes.notes(results, outcome, network), *_model_notes(workspace, settings, outcome)),
    )


def _model_notes(workspace: Workspace, settings: Settings, outcome: Outcome) -> tuple[str, ...]:
    """Where the model is, and how its ONNX file compares; or that there is none, and why."""
    assert outcome.saved is not None  # it has been trained
    line = f"model: {workspace.artifact('models', settings.finetune.name)}"
    if outcome.saved.onnx_sha256:
        return (
            f"{line}; its ONNX scores differ from torch's by {outcome.saved.onnx_difference:.1e} at most",
        )
    if settings.finetune.onnx:
        return (f"{line}; no ONNX file was written: that takes pip install 'raylike[onnx]'",)
    return (line,)


def _train(context: StageContext, job: Job, *, use_gpu: bool) -> Outcome:
    """Run the workers, and say meanwhile how far they are."""
    from ray import train
    from ray.train.torch import TorchTrainer

    cluster.quieten()
    filesystem, root = context.workspace.filesystem()
    parent, _, name = job.folder.rpartition("/")
    n_workers = job.settings.finetune.workers
    worker_cpus, task_cpus = training_shares(cluster.cpus(), n_workers, streams=job.streams)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=train.ScalingConfig(
            num_workers=n_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": worker_cpus, **({"GPU": 1} if use_gpu else {})},
        ),
        run_config=train.RunConfig(
            name=name,
            storage_path=f"{root}/{parent}",
            storage_filesystem=filesystem,
            failure_config=train.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
        ),
        datasets=ingest.datasets(job, task_cpus) if job.streams else None,
        dataset_config=train.DataConfig(datasets_to_split=[], execution_options=ingest.options(job)),
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
    with TrainingLog(context.workspace, "finetune", fresh=not context.resume) as log:
        seen = 0
        while thread.is_alive():
            thread.join(PROGRESS_EVERY_S)
            told = _told(filesystem, f"{root}/{job.folder}/progress.json")
            if "loss" in told:
                context.progress.state(
                    f"loss {told['loss']:.3f}, AP {told['validation_ap']:.3f}, "
                    f"{told['photos_per_s']:.0f} photos/s"
                )
                log.looked({**told, "iteration": told["looked_at"]})
            reached = int(told.get("iteration", 0))
            context.progress.advance(max(0, reached - seen))
            seen = max(seen, reached)
        result = ended[0]
        if isinstance(result, Exception):
            raise _explained(result) from result
        outcome: Outcome = result.return_value
        for look in outcome.curve:  # those that came too fast to be seen
            log.looked(look)
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


def _told(filesystem: pyarrow.fs.FileSystem, path: str) -> dict[str, Any]:
    """How far training is, as rank 0 last wrote it down: iterations done, and the last look."""
    try:
        with filesystem.open_input_stream(path) as file:
            told: dict[str, Any] = json.loads(file.read())
            return told
    except (OSError, ValueError):
        return {}
