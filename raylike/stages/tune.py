"""Stage tune: Ray Tune searches learning rate and weight decay for fine-tuning.

Reads labels and images; writes trials. The first trial is the setting of `finetune` itself, the others
are drawn log-uniformly. Trials are judged by AP on the validation fold, and ASHA (Li et al., MLSys 2020)
stops the weak ones early; test photos play no part. A killed search goes on with the trials that it had
not finished.

With more than one trial at once, which ones ASHA stops depends on which is first: on a CPU the trials
therefore run one by one, each on all cores, which is as fast and gives the same table every time.
"""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.fs

from raylike import cluster
from raylike.config import FinetuneSettings, Settings, TuneSettings
from raylike.errors import StageError
from raylike.learning import learning_set
from raylike.learning.photos import Photos
from raylike.progress import Progress
from raylike.stage import StageContext, StageReport
from raylike.tables import TRIALS
from raylike.vision import backbones
from raylike.vision.backbones import Backbone
from raylike.workspace import Workspace

LOOKS = 3
"""Times that a trial is judged, the last at its end."""
REDUCTION = 3
"""ASHA keeps the best third at each look."""
LOOKED = "iterations_done"
THREADS = 8
"""Cores that one trial can use: batches of 32 gain little beyond."""


def run(context: StageContext) -> StageReport:
    """Search, and write one row a trial; the note gives the best setting.

    Raises
    ------
    StageError : for a part with one class, or if no trial came to a result
    ConfigError : for a GPU that is not there
    """
    workspace, settings = context.workspace, learning_set.with_alexnet(context.settings)
    photos = learning_set.read(workspace)
    n_gpus = cluster.gpus(settings.device)
    chosen = settings.features
    backbone = backbones.load(
        chosen.backbone, chosen.weights, settings.seed, chosen.allow_random, chosen.weights_file
    )
    folder = f"models/tune/run-{context.commit.digest}"
    if not context.resume:
        workspace.delete_folder(folder)
        workspace.write("trials", TRIALS.empty(), context.commit.partial())
    context.progress.expect(settings.tune.trials, "trials")
    rows = _search(context, settings, folder, photos, backbone, n_gpus)
    if not rows:
        raise StageError("no trial came to a result", "tune", "search lower learning rates: tune.lr_high")
    workspace.write("trials", pa.Table.from_pylist(rows, schema=TRIALS.schema), context.commit)
    workspace.delete_folder(folder)
    failed = settings.tune.trials - len(rows)
    return StageReport(
        settings.tune.trials,
        len(rows),
        failed={"no result": failed} if failed else {},
        notes=_notes(rows, backbone),
    )


# On the driver: Ray Tune


def _search(
    context: StageContext,
    settings: Settings,
    folder: str,
    photos: Photos,
    backbone: Backbone,
    n_gpus: int,
) -> list[dict[str, Any]]:
    """Run the trials that are still to run; rows of `trials`, in order of their start."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    chosen: TuneSettings = settings.tune
    n_cpus = cluster.cpus()
    at_once = chosen.concurrent or max(1, n_gpus or n_cpus // THREADS)
    threads = max(1, n_cpus // at_once)
    filesystem, root = context.workspace.filesystem()
    parent, _, name = folder.rpartition("/")
    trainable = tune.with_resources(
        tune.with_parameters(
            run_trial,
            workspace=context.workspace,
            photos=photos,
            backbone=backbone,
            settings=settings,
            threads=threads,
        ),
        {"cpu": 1, "gpu": 1 if n_gpus else 0},
    )
    path = f"{root}/{folder}"
    restored = tune.Tuner.can_restore(path, storage_filesystem=filesystem)
    if restored:
        tuner = tune.Tuner.restore(
            path, trainable, storage_filesystem=filesystem, resume_unfinished=True, restart_errored=True
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "lr": tune.loguniform(chosen.lr_low, chosen.lr_high),
                "weight_decay": tune.loguniform(chosen.weight_decay_low, chosen.weight_decay_high),
            },
            tune_config=tune.TuneConfig(
                metric="validation_ap",
                mode="max",
                num_samples=chosen.trials,
                reuse_actors=True,
                search_alg=BasicVariantGenerator(
                    points_to_evaluate=[
                        {"lr": settings.finetune.lr, "weight_decay": settings.finetune.weight_decay}
                    ],
                    max_concurrent=at_once,
                    random_state=settings.seed,
                ),
                scheduler=ASHAScheduler(max_t=LOOKS, grace_period=1, reduction_factor=REDUCTION),
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=f"{root}/{parent}",
                storage_filesystem=filesystem,
                callbacks=[_listener(context.progress)],
                verbose=0,
            ),
        )
    cluster.quieten()
    results = tuner.fit()
    if restored:
        context.progress.advance(len(results))
    rows = [_row(result.metrics, chosen) for result in results if LOOKED in (result.metrics or {})]
    return sorted(rows, key=lambda row: row["trial"])


def _listener(progress: Progress) -> Any:
    """Counts trials as they end."""
    from ray.tune import Callback

    class Listener(Callback):  # type: ignore[misc]  # Ray is not followed by mypy
        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            progress.advance()

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            return Callback, ()  # saved with the search's state; what listens, such as a terminal, cannot be

    return Listener()


# In a trial's process


def run_trial(
    config: dict[str, float],
    *,
    workspace: Workspace,
    photos: Photos,
    backbone: Backbone,
    settings: Settings,
    threads: int,
) -> None:
    """Train with one setting, and report how well after every third of the iterations."""
    import torch
    from ray import tune

    from raylike.learning.finetune import FineTuning

    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen: FinetuneSettings = settings.finetune.model_copy(
        update={"lr": config["lr"], "weight_decay": config["weight_decay"]}
    )
    tail, material, _ = learning_set.prepare(
        workspace, photos, backbone, chosen, seed=settings.seed, device=device
    )
    tuning = FineTuning(tail, chosen, seed=settings.seed, device=device)
    iterations = settings.tune.iterations
    best = 0.0
    try:
        for look in tuning.train(material, iterations, math.ceil(iterations / LOOKS)):
            best = max(best, look.validation_ap)
            tune.report({LOOKED: look.iteration, "validation_ap": look.validation_ap, "best": best})
    except StageError:  # the loss is not a number: this setting is bad, and ends here
        tune.report({LOOKED: tuning.iteration, "validation_ap": 0.0, "best": best})


# Writing


def _row(metrics: dict[str, Any], chosen: TuneSettings) -> dict[str, Any]:
    return {
        "trial": int(metrics["trial_id"].rpartition("_")[2]),
        "lr": metrics["config"]["lr"],
        "weight_decay": metrics["config"]["weight_decay"],
        "iterations": metrics[LOOKED],
        "validation_ap": metrics["validation_ap"],
        "best_validation_ap": metrics["best"],
        "stopped_early": metrics[LOOKED] < chosen.iterations,
        "seconds": metrics["time_total_s"],
    }


def _notes(rows: list[dict[str, Any]], backbone: Backbone) -> tuple[str, ...]:
    best = max(rows, key=lambda row: row["best_validation_ap"])
    line = (
        f"best of {len(rows)} trials: lr {best['lr']:.2g}, weight decay {best['weight_decay']:.2g}, "
        f"validation AP {best['best_validation_ap']:.3f}; "
        f"finetune's own setting: {rows[0]['best_validation_ap']:.3f}"
    )
    return (backbone.note, line) if backbone.note else (line,)
