"""Stage tune: Ray Tune searches the settings of fine-tuning; linear models say what a network has to beat.

Reads labels, images and features; writes trials. The first trial is the setting of `finetune` itself, the
others are Optuna's. Trials are judged by AP on the validation fold, and ASHA (Li et al., MLSys 2020) stops
the weak ones early; test photos play no part. A killed search goes on with the trials that it had not
finished. `finetune --from-tune` trains with the settings of the best trial.

With more than one trial at once, which ones ASHA stops depends on which is first: on a CPU the trials
therefore run one by one, each on all cores, which is as fast and gives the same table every time.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import pyarrow as pa
import pyarrow.fs

from raylike import cluster
from raylike.config import Settings, TuneSettings
from raylike.errors import StageError
from raylike.learning import learning_set, linear_trials, search_space
from raylike.learning.photos import Photos
from raylike.progress import Progress
from raylike.sizing import trials_at_once
from raylike.stage import StageContext, StageReport
from raylike.tables import TRIALS
from raylike.vision import loading
from raylike.vision.backbones import Backbone
from raylike.workspace import Workspace

LOOKS = 3
"""Times that a trial is judged, the last at its end."""
REDUCTION = 3
"""ASHA keeps the best third at each look."""
LOOKED = "iterations_done"


def run(context: StageContext) -> StageReport:
    """Search, and write one row a trial; the notes give the best settings and what linear models reach.

    Raises
    ------
    InputDataError : for a part with one class
    StageError : if no trial came to a result
    ConfigError : for a GPU that is not there
    """
    workspace, settings = context.workspace, context.settings
    photos = learning_set.read(workspace)
    n_gpus = cluster.gpus(settings.device)
    chosen = settings.features
    backbone = loading.load(
        chosen.backbone, chosen.weights, settings.seed, chosen.allow_random, chosen.weights_file
    )
    folder = f"models/tune/run-{context.commit.digest}"
    if not context.resume:
        workspace.delete_folder(folder)
        workspace.make(TRIALS, context.commit.partial())
        workspace.write("trials", TRIALS.empty(), context.commit.partial())
    n_network = settings.tune.trials if "network" in settings.tune.models else 0
    n_linear = linear_trials.count(settings) if "linear" in settings.tune.models else 0
    context.progress.expect(n_network + n_linear, "trials")
    networks = _search(context, settings, folder, photos, backbone, n_gpus) if n_network else []
    if n_network and not networks:
        raise StageError("no trial came to a result", "tune", "search lower learning rates: tune.lr_high")
    linears = []
    if n_linear:
        for row in linear_trials.run(workspace, settings, photos, backbone.weights, n_network):
            linears.append(row)
            context.progress.advance()
    rows = networks + linears
    workspace.write("trials", pa.Table.from_pylist(rows, schema=TRIALS.schema), context.commit)
    workspace.delete_folder(folder)
    failed = n_network - len(networks)
    return StageReport(
        n_network + n_linear,
        len(rows),
        skipped={"no features": n_linear - len(linears)} if len(linears) < n_linear else {},
        failed={"no result": failed} if failed else {},
        notes=_notes(networks, linears, backbone),
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
    # Ray's own files of each trial: the table has what they say, and the folder goes when it is written.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    chosen: TuneSettings = settings.tune
    n_cpus = cluster.cpus()
    at_once = trials_at_once(n_cpus, n_gpus, chosen.concurrent)
    threads = max(1, min(cluster.node_cpus(), n_cpus // at_once))
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
            param_space=_space(settings),
            tune_config=tune.TuneConfig(
                metric="validation_ap",
                mode="max",
                num_samples=chosen.trials,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                search_alg=_searcher(settings),
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
    return [
        _row(trial, result.metrics, chosen)
        for trial, result in enumerate(results)
        if LOOKED in (result.metrics or {})
    ]


def _space(settings: Settings) -> dict[str, Any]:
    from ray import tune

    ranges = search_space.ranges(settings.tune).items()
    choices = search_space.choices(settings.tune, settings.finetune).items()
    return {
        **{name: tune.loguniform(low, high) for name, (low, high) in ranges},
        **{name: tune.choice(values) for name, values in choices},
    }


def _searcher(settings: Settings) -> Any:
    """Proposes trials by what earlier ones have shown, or at random; from the seed."""
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A setting of `finetune` outside the ranges is tried as it is.
    warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    return OptunaSearch(
        sampler=samplers[settings.tune.search](seed=settings.seed),
        points_to_evaluate=[search_space.own(settings.finetune)],
    )


def _listener(progress: Progress) -> Any:
    """Says how trials stand, and counts them as they end."""
    from ray.tune import Callback

    class Listener(Callback):  # type: ignore[misc]  # Ray is not followed by mypy
        best = 0.0

        def on_trial_result(self, *_: Any, result: dict[str, Any], **__: Any) -> None:
            self.best = max(self.best, result["best"])
            progress.state(f"AP {result['validation_ap']:.3f}, best {self.best:.3f}")
            progress.advance(0)

        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            progress.advance()

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            return Callback, ()  # saved with the search's state; what listens, such as a terminal, cannot be

    return Listener()


# In a trial's process


def run_trial(
    config: dict[str, Any],
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

    from actors.metrics import StageMetrics, TrainingMetrics
    from raylike.learning.finetune import FineTuning

    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    iterations = settings.tune.iterations
    chosen = search_space.applied(settings.finetune, config, iterations=iterations)
    tail, material, _ = learning_set.prepare(
        workspace, photos, backbone, chosen, seed=settings.seed, device=device
    )
    tuning = FineTuning(tail, chosen, seed=settings.seed, device=device)
    steps, training = StageMetrics("tune"), TrainingMetrics("tune")
    best = 0.0
    try:
        for look in tuning.train(
            material,
            iterations,
            math.ceil(iterations / LOOKS),
            after_step=lambda: steps.done(chosen.batch_size),
        ):
            best = max(best, look.validation_ap)
            training.looked(look.loss, look.validation_ap)
            tune.report({LOOKED: look.iteration, "validation_ap": look.validation_ap, "best": best})
    except StageError:  # the loss is not a number: this setting is bad, and ends here
        tune.report({LOOKED: tuning.iteration, "validation_ap": 0.0, "best": best})


# Writing


def _row(trial: int, metrics: dict[str, Any], chosen: TuneSettings) -> dict[str, Any]:
    return {
        "trial": trial,
        "model": search_space.NETWORK,
        **metrics["config"],
        "iterations": metrics[LOOKED],
        "validation_ap": metrics["validation_ap"],
        "best_validation_ap": metrics["best"],
        "stopped_early": metrics[LOOKED] < chosen.iterations,
        "seconds": metrics["time_total_s"],
    }


def _notes(
    networks: list[dict[str, Any]], linears: list[dict[str, Any]], backbone: Backbone
) -> tuple[str, ...]:
    lines = [backbone.note] if backbone.note else []
    best = search_space.best(networks)
    if best is not None:
        told = ", ".join(
            f"{name.replace('_', ' ')} {best[name]:.2g}" if name in search_space.RANGES else
            f"{name.replace('_', ' ')} {best[name]}"
            for name in search_space.VARIED
        )  # fmt: skip
        own = next((f"{row['best_validation_ap']:.3f}" for row in networks if row["trial"] == 0), "no result")
        lines.append(
            f"best of {len(networks)} trials: {told}: validation AP {best['best_validation_ap']:.3f}; "
            f"finetune's own setting: {own}"
        )
    if linears:
        linear = max(linears, key=lambda row: row["best_validation_ap"])
        lines.append(
            f"best linear model on the same photos: {linear['model']}, C {linear['c']:g}: "
            f"validation AP {linear['best_validation_ap']:.3f}"
        )
    return tuple(lines)
