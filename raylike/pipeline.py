"""The stages in their order: what is up to date, what has to run, and running it.

This is the place to begin reading. A stage is a function from tables to tables (`stages/NAME.py`).
What it wrote carries a fingerprint of the settings that matter to it and the versions of the tables
it read; as long as both are what they would be today, the stage has nothing to do.

Knows stages by name. Knows nothing of what any stage does.
"""

from __future__ import annotations

import importlib
import json
import platform
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import pyarrow as pa

from raylike import config
from raylike.causes import check_cause
from raylike.commits import Commit, CommitInfo
from raylike.config import Settings
from raylike.errors import ConfigError, InputDataError
from raylike.processes import MemoryWatch
from raylike.progress import Progress, Silence
from raylike.stage import StageContext, StageReport
from raylike.surroundings import Surroundings
from raylike.tables import ALEXNET, TABLES, features_name
from raylike.workspace import Workspace

RETRIES = "download"
"""The stage whose failures can be tried again."""
IMPORT = "import"
"""Written as the stage of tables that `raylike import` filled."""
REFRESH = "refresh"
"""Written as the stage of `readings`: not one of those in order."""


@dataclass(frozen=True)
class StageSpec:
    """A stage as the pipeline sees it; `stage_names.py` says in a line what each does.

    Attributes
    ----------
    reads : tables whose change makes the stage stale
    optional : those of them that it can do without
    writes : its main table, committed last; its log says whether the stage is up to date
    settings : sections, or single fields, that matter to what it writes
    uses_ray, uses_network : what has to be up before it starts
    uses_cluster : uses Ray where the run joins a cluster, and does without on one machine
    """

    name: str
    reads: tuple[str, ...]
    writes: str
    settings: tuple[str, ...]
    uses_ray: bool = False
    uses_network: bool = False
    optional: tuple[str, ...] = ()
    uses_cluster: bool = False

    def needs_ray(self, settings: Settings) -> bool:
        """Whether Ray has to be up for this stage in a run with these settings."""
        return self.uses_ray or (self.uses_cluster and settings.ray.address != "local")


TRIALS = "trials"
"""What fine-tuning reads besides, where it takes its settings from the search."""
FEATURES = ALEXNET.name
"""Stands in `STAGES` for the features table that the settings name."""

SHOWN = ("users", "cohort", "images", "faces", "labels", "results", "sweep", "finetune_results", "curves",
         "trials", "scores")  # fmt: skip
"""What the report shows where it is there."""

STAGES: tuple[StageSpec, ...] = (
    StageSpec("collect", (), "posts", ("source", "collect"), uses_network=True),
    StageSpec("followers", ("posts",), "users", (), uses_ray=True, uses_network=True),
    StageSpec("cohort", ("posts", "users"), "cohort", ("cohort",)),
    StageSpec("download", ("posts", "cohort"), "images",
              ("download",), uses_ray=True, uses_network=True),
    StageSpec("faces", ("images", "cohort"), "faces",
              ("faces",), uses_ray=True),
    StageSpec("labels", ("cohort", "faces", "images", "posts"), "labels",
              ("seed", "labels", "faces")),
    StageSpec("features", ("labels", "images"), FEATURES,
              ("seed", "features"), uses_ray=True),
    StageSpec("classify", ("labels", FEATURES, "posts", "cohort", "images"), "results",
              ("seed", "classify"), uses_cluster=True),
    StageSpec("finetune", ("labels", "images", FEATURES), "finetune_results",
              ("seed", "features", "finetune", "classify"), uses_ray=True, optional=(FEATURES,)),
    StageSpec("tune", ("labels", "images", FEATURES), "trials",
              ("seed", "features", "finetune", "tune", "classify.c_values"), uses_ray=True,
              optional=(FEATURES,)),
    StageSpec("rank", ("results", "finetune_results"), "scores", (),
              optional=("finetune_results",)),
    StageSpec("report", ("posts", *SHOWN), "report", ("seed", "source", "cohort", "faces", "report"),
              optional=SHOWN),
)  # fmt: skip
NAMES = tuple(stage.name for stage in STAGES)

RUNS_WITHOUT_INPUT = {"files": ("collect", "followers")}
"""Stages whose tables a source brings itself."""


@dataclass(frozen=True)
class StageResult:
    """How one stage of a run ended. `report` is None if it was up to date."""

    stage: str
    seconds: float
    memory_peak_mib: float
    report: StageReport | None


@dataclass(frozen=True)
class RunSummary:
    """A finished run: its stages in order, its seconds, and where the report lies."""

    run: str
    stages: tuple[StageResult, ...]
    seconds: float
    report: str | None


@dataclass(frozen=True)
class StageStatus:
    """What a workspace knows of a stage: `up to date`, `stale`, `unfinished`, `imported` or `never run`."""

    stage: str
    state: str
    seconds: float | None
    finished_at: datetime | None


def run_all(
    workspace: Workspace,
    settings: Settings | None = None,
    progress: Progress | None = None,
    *,
    from_stage: str | None = None,
    until: str | None = None,
    force: Collection[str] = (),
    retry_failed: str | None = None,
    needed: bool = False,
) -> RunSummary:
    """Run every stage that is not up to date, in order.

    Parameters
    ----------
    settings : without them, what `raylike.toml` and the environment say
    from_stage, until : first and last stage to consider; the tables of earlier ones must be there
    force : stages that start afresh even if they are up to date
    needed : only those of the stages that `until` needs, and itself
    retry_failed : a cause, or `all`: photos whose download failed by it are tried again (`causes.py`)

    Raises
    ------
    ConfigError : for an unknown stage or cause, or a workspace that holds another source's posts
    TryAgainLater : if another process is at work in the workspace
    RaylikeError : whatever a stage raises; all that it had committed stays
    """
    settings = with_source_defaults(settings or config.resolve().settings)
    progress = progress or Silence()
    stages = _selected(settings, from_stage, until, force)
    if needed:
        stages = _needed(stages)
    retry = {} if retry_failed is None else {RETRIES: retry_failed}
    for cause in retry.values():
        check_cause(cause)
    started = time.monotonic()
    run = _run_id()
    progress.run_started(run)
    results: list[StageResult] = []
    with workspace.lock(), MemoryWatch() as memory:
        _refuse_other_source(workspace, settings, force)
        with _surroundings(workspace, settings, stages, {*force, *retry}, progress) as enter:
            for stage in stages:
                result = _run_stage(
                    workspace, settings, stage, run, stage.name in force, retry.get(stage.name), enter,
                    memory, progress,
                )  # fmt: skip
                results.append(result)
    report = workspace.artifact("report", "index.html")
    there = workspace.exists("report")
    return RunSummary(run, tuple(results), time.monotonic() - started, report if there else None)


def refresh(
    workspace: Workspace, settings: Settings | None = None, progress: Progress | None = None
) -> RunSummary:
    """Read the likes of all collected posts again. What depends on them is stale afterwards.

    Raises
    ------
    ConfigError : if the posts were imported, or the network cannot show known posts
    TryAgainLater : if another process is at work in the workspace
    RaylikeError : whatever the network's side raises; what was read stays
    """
    settings = with_source_defaults(settings or config.resolve().settings)
    progress = progress or Silence()
    started_at, started, run = datetime.now(UTC), time.monotonic(), _run_id()
    progress.run_started(run)
    with workspace.lock(), MemoryWatch() as memory, ExitStack() as stack:
        _refuse_other_source(workspace, settings, ())
        if settings.source.name == "files":
            raise ConfigError("imported photos have no network to ask", workspace.uri, "import them again")
        progress.stage_started(REFRESH)
        connected = Surroundings(stack, settings, progress).network()
        commit = Commit(
            REFRESH, config.fingerprint(settings, REFRESH, (), _origin(workspace, settings)), run=run
        )
        module = importlib.import_module("raylike.stages.refresh")
        report: StageReport = module.run(StageContext(workspace, connected, progress, commit))
        result = StageResult(REFRESH, time.monotonic() - started, memory.take_peak_mib(), report)
        _record(workspace, settings, run, started_at, result)
        _say_finished(progress, result)
    return RunSummary(run, (result,), time.monotonic() - started, None)


def status(workspace: Workspace, settings: Settings) -> list[StageStatus]:
    """The state of every stage under these settings, in order."""
    settings = with_source_defaults(settings)
    seconds: dict[str, float] = {}
    for row in workspace.read("runs", ["stage", "seconds", "started_at"]).sort_by("started_at").to_pylist():
        seconds[row["stage"]] = row["seconds"]
    found: list[StageStatus] = []
    stale_above = False
    for stage in stages_with(settings):
        last = workspace.last_commit(stage.writes)
        state = _state(workspace, settings, stage, last)
        if state == "up to date" and stale_above:
            state = "stale"
        stale_above = stale_above or state in ("stale", "unfinished", "never run")
        when = None if last is None else last.committed_at
        found.append(StageStatus(stage.name, state, seconds.get(stage.name), when))
    return found


def with_source_defaults(settings: Settings) -> Settings:
    """The same settings with what follows from the source's name: the simulator has its own clock."""
    if settings.source.name == "simulator" and settings.collect.as_of is None:
        from raylike.simulator.world import AS_OF

        collect = settings.collect.model_copy(update={"as_of": AS_OF})
        return settings.model_copy(update={"collect": collect})
    return settings


def stages_with(settings: Settings) -> tuple[StageSpec, ...]:
    """The stages, with the features table that the settings name in the place of the default."""
    table = features_name(settings.features.backbone, settings.features.layers)

    def named(stage: StageSpec) -> StageSpec:
        reads, optional = (
            tuple(table if name == FEATURES else name for name in names)
            for names in (stage.reads, stage.optional)
        )
        writes = table if stage.writes == FEATURES else stage.writes
        return replace(stage, reads=reads, optional=optional, writes=writes)

    return tuple(
        replace(stage, reads=(*stage.reads, TRIALS), optional=(*stage.optional, TRIALS))
        if stage.name == "finetune" and settings.finetune.from_tune
        else stage
        for stage in map(named, STAGES)
    )


def _selected(
    settings: Settings, from_stage: str | None, until: str | None, force: Collection[str]
) -> list[StageSpec]:
    for name in (from_stage, until, *force):
        if name is not None and name not in NAMES:
            raise ConfigError(f"there is no stage {name!r}", "", config.nearest(name, NAMES))
    first = NAMES.index(from_stage) if from_stage else 0
    last = NAMES.index(until) if until else len(NAMES) - 1
    if first > last:
        raise ConfigError(f"stage {from_stage} comes after {until}", "--from, --until", " -> ".join(NAMES))
    brought = RUNS_WITHOUT_INPUT.get(settings.source.name, ())
    return [stage for stage in stages_with(settings)[first : last + 1] if stage.name not in brought]


def _needed(stages: list[StageSpec]) -> list[StageSpec]:
    """The last of these stages, and those whose tables it reads, or theirs."""
    wanted = {stages[-1].writes}
    found: list[StageSpec] = []
    for stage in reversed(stages):
        if stage.writes in wanted:
            wanted |= set(stage.reads)
            found.insert(0, stage)
    return found


def _refuse_other_source(workspace: Workspace, settings: Settings, force: Collection[str]) -> None:
    """Imported and collected posts do not mix, and neither silently replaces the other."""
    last = workspace.last_commit("posts")
    imported = last is not None and last.stage == IMPORT
    wants_import = settings.source.name == "files"
    if wants_import and not imported:
        raise InputDataError("no photos were imported here", workspace.uri, "first: raylike import FILE")
    if imported and not wants_import and "collect" not in force:
        raise ConfigError(
            "this workspace holds imported photos",
            workspace.uri,
            "add --source files, or name another --workspace",
        )


def _commit_for(workspace: Workspace, settings: Settings, stage: StageSpec, run: str = "") -> Commit:
    """The provenance that `stage` would write down if it ran now."""
    commits = {name: workspace.last_commit(name) for name in stage.reads}
    inputs = {name: -1 if last is None else last.data_version for name, last in commits.items()}
    fingerprint = config.fingerprint(settings, stage.name, stage.settings, _origin(workspace, settings))
    return Commit(stage.name, fingerprint, inputs, run)


def _origin(workspace: Workspace, settings: Settings) -> str:
    """Which world a post id means something in. Rows of another world are never kept, whatever their ids."""
    source = settings.source
    if source.name == "simulator":
        return f"simulator {settings.seed} {settings.simulator.users}"
    if source.name == "files":
        last = workspace.last_commit("posts")
        return f"files {last.fingerprint if last else ''}"
    return f"{source.name} {source.base_url}"


def _state(workspace: Workspace, settings: Settings, stage: StageSpec, last: CommitInfo | None) -> str:
    if last is None or last.stage == "created":
        return "never run"
    if last.stage == IMPORT:
        return "imported"
    now = _commit_for(workspace, settings, stage)
    if (last.fingerprint, last.stage) != (now.fingerprint, now.stage):
        return "stale"
    if not last.complete:
        return "unfinished"
    return "up to date" if dict(last.inputs) == dict(now.inputs) else "stale"


@contextmanager
def _surroundings(
    workspace: Workspace,
    settings: Settings,
    stages: list[StageSpec],
    force: Collection[str],
    progress: Progress,
) -> Iterator[Surroundings]:
    """Ray and the simulator, for as long as the block lasts; Ray begins to start at once if needed."""
    with ExitStack() as stack:
        around = Surroundings(stack, settings, progress)
        stale = [s for s in stages if s.name in force or not _is_current(workspace, settings, s)]
        to_come = stages[stages.index(stale[0]) :] if stale else []
        if on_ray := [stage.name for stage in to_come if stage.needs_ray(settings)]:
            _refuse_unplaceable(workspace, settings, on_ray, around, progress)
            around.prepare_ray()
        yield around


def _refuse_unplaceable(
    workspace: Workspace, settings: Settings, stages: list[str], around: Surroundings, progress: Progress
) -> None:
    """Before anything is done: whether there are machines for what these stages will ask of Ray."""
    from raylike import placement

    if settings.ray.address == "local" and not placement.has_wishes(settings):
        return  # what raylike chooses for itself fits on any one machine
    work = placement.work_of(settings, photos=workspace.rows("labels"))
    placement.check(stages, settings, around.machines(), work, progress.note)


def _is_current(workspace: Workspace, settings: Settings, stage: StageSpec) -> bool:
    return _state(workspace, settings, stage, workspace.last_commit(stage.writes)) == "up to date"


def _run_stage(
    workspace: Workspace,
    settings: Settings,
    stage: StageSpec,
    run: str,
    forced: bool,
    retry: str | None,
    around: Surroundings,
    memory: MemoryWatch,
    progress: Progress,
) -> StageResult:
    progress.stage_started(stage.name)
    last = workspace.last_commit(stage.writes)
    if not forced and retry is None and _is_current(workspace, settings, stage):
        progress.stage_finished(stage.name, {"up_to_date": True, "rows_out": workspace.rows(stage.writes)})
        return StageResult(stage.name, 0.0, 0.0, None)
    _refuse_missing_input(workspace, settings, stage)
    started_at, started = datetime.now(UTC), time.monotonic()
    memory.take_peak_mib()
    stage_settings = around.network() if stage.uses_network else settings
    if stage.needs_ray(settings):
        around.ray()
    commit = _commit_for(workspace, settings, stage, run)
    same_settings = last is not None and (last.stage, last.fingerprint) == (stage.name, commit.fingerprint)
    resume = same_settings and not forced
    context = StageContext(workspace, stage_settings, progress, commit, resume, retry, forced)
    report: StageReport = importlib.import_module(f"raylike.stages.{stage.name}").run(context)
    result = StageResult(stage.name, time.monotonic() - started, memory.take_peak_mib(), report)
    _record(workspace, settings, run, started_at, result)
    _say_finished(progress, result)
    return result


def _say_finished(progress: Progress, result: StageResult) -> None:
    assert result.report is not None  # it has run
    summary = {**asdict(result.report), "seconds": round(result.seconds, 3), "up_to_date": False}
    progress.stage_finished(result.stage, summary)


def _run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _refuse_missing_input(workspace: Workspace, settings: Settings, stage: StageSpec) -> None:
    missing = [name for name in stage.reads if name not in stage.optional and not workspace.exists(name)]
    for name in missing:
        writer = next((s.name for s in stages_with(settings) if s.writes == name), "collect")
        raise InputDataError(
            f"{stage.name} needs the table {name}", workspace.uri, f"first: raylike {writer}"
        )
    if stage.name == "finetune" and settings.finetune.from_tune:
        _refuse_other_trials(workspace, settings)


def _refuse_other_trials(workspace: Workspace, settings: Settings) -> None:
    """Fine-tuning with the settings of the best trial needs a finished search under today's settings."""
    (tune,) = (stage for stage in stages_with(settings) if stage.name == "tune")
    state = _state(workspace, settings, tune, workspace.last_commit(tune.writes))
    first = "first: raylike tune, with the same settings"
    if state in ("never run", "unfinished"):
        raise InputDataError("there are no trials yet to take settings from", workspace.uri, first)
    if state != "up to date":
        raise InputDataError("the trials are of other settings or other photos", workspace.uri, first)


def _record(
    workspace: Workspace, settings: Settings, run: str, started_at: datetime, result: StageResult
) -> None:
    """Add the stage to the `runs` table: the run's record, from which the report shows where time went."""
    report = result.report
    assert report is not None
    row = {
        "run": run,
        "stage": result.stage,
        "started_at": started_at,
        "seconds": result.seconds,
        "memory_peak_mib": result.memory_peak_mib,
        "rows_in": report.rows_in,
        "rows_out": report.rows_out,
        "skipped": json.dumps(dict(report.skipped)),
        "failed": json.dumps(dict(report.failed)),
        "notes": json.dumps(list(report.notes)),
        "settings": settings.model_dump_json(),
        "versions": json.dumps(versions()),
    }
    table = pa.Table.from_pylist([row], schema=TABLES["runs"].schema)
    workspace.append("runs", table, Commit("run", run, run=run))


def versions() -> dict[str, str]:
    """Versions of what decides the figures."""
    packages = ("raylike", "ray", "torch", "opencv-python-headless", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
