"""Which stages run, and which have nothing to do: three small stages stand in for the real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from raylike import pipeline
from raylike.commits import Commit
from raylike.config import Layer, Settings, resolve
from raylike.errors import ConfigError, InputDataError, StageError, TryAgainLater
from raylike.pipeline import StageSpec
from raylike.stage import StageContext, StageReport
from raylike.stage_names import STAGE_NAMES
from raylike.tables import TABLES, TRIALS
from raylike.workspace import Workspace

CHAIN = (
    StageSpec("one", (), "users", ("collect",)),
    StageSpec("two", ("users",), "scores", ("cohort",)),
    StageSpec("three", ("scores",), "report", ("report",)),
)
ROWS = {
    "users": {"user_id": "u", "looked_up_at": 0, "status": "ok"},
    "scores": {"post_id": "p", "model": "m", "probability": 0.5, "rank": 1},
    "report": {"file": "index.html", "byte_size": 1, "sha256": "0"},
}


def settings(layer: Layer | None = None) -> Settings:
    return resolve(layer, environ={}).settings


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The stages that ran, in order, each with whether it was told to resume."""
    calls: list[tuple[str, bool]] = []

    def stage_writing(name: str, table: str) -> Callable[[StageContext], StageReport]:
        def run(context: StageContext) -> StageReport:
            calls.append((name, context.resume))
            schema = context.workspace.table(table).spec.schema
            row = {field.name: ROWS[table].get(field.name) for field in schema}
            context.workspace.write(table, pa.Table.from_pylist([row], schema=schema), context.commit)
            return StageReport(1, 1)

        return run

    for stage in CHAIN:
        module = ModuleType(stage.name)
        module.run = stage_writing(stage.name, stage.writes)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"raylike.stages.{stage.name}", module)
    monkeypatch.setattr(pipeline, "STAGES", CHAIN)
    monkeypatch.setattr(pipeline, "NAMES", tuple(stage.name for stage in CHAIN))
    monkeypatch.setattr(pipeline, "_refuse_other_source", lambda *_: None)
    return calls


def names(calls: list[tuple[str, bool]]) -> list[str]:
    return [name for name, _ in calls]


def test_a_second_run_does_nothing(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    first = pipeline.run_all(workspace, settings())
    second = pipeline.run_all(workspace, settings())
    assert names(ran) == ["one", "two", "three"]
    assert [stage.report is None for stage in first.stages] == [False] * 3
    assert [stage.report is None for stage in second.stages] == [True] * 3


def test_a_changed_setting_redoes_its_stage_and_those_behind_it(
    ran: list[tuple[str, bool]], workspace_path: Path
) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    ran.clear()
    pipeline.run_all(workspace, settings({"cohort": {"factor": 2.0}}))
    assert ran == [("two", False), ("three", True)]


def test_a_setting_that_matters_to_nobody_redoes_nothing(
    ran: list[tuple[str, bool]], workspace_path: Path
) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    ran.clear()
    pipeline.run_all(workspace, settings({"collect": {"in_flight": 3}, "device": "cpu"}))
    assert ran == []


def test_a_forced_stage_starts_afresh(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    ran.clear()
    pipeline.run_all(workspace, settings(), force=["two"])
    assert ran == [("two", False), ("three", True)]


def test_failures_are_tried_again_although_the_stage_is_up_to_date(
    ran: list[tuple[str, bool]], workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "RETRIES", "two")
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    ran.clear()
    pipeline.run_all(workspace, settings(), retry_failed="gone")
    assert ran == [("two", True), ("three", True)]


def test_an_unknown_cause_is_refused_before_anything_runs(
    ran: list[tuple[str, bool]], workspace_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'moon' is no cause of failure"):
        pipeline.run_all(Workspace(workspace_path), settings(), retry_failed="moon")
    assert ran == []


def test_an_unfinished_stage_is_told_to_resume(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    last = workspace.last_commit("scores")
    assert last is not None
    workspace.seal("scores", last.partial())
    ran.clear()
    assert [s.state for s in pipeline.status(workspace, settings())] == ["up to date", "unfinished", "stale"]
    pipeline.run_all(workspace, settings())
    assert ran[0] == ("two", True)


def test_sealing_without_new_rows_leaves_what_follows_alone(
    ran: list[tuple[str, bool]], workspace_path: Path
) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    last = workspace.last_commit("users")
    assert last is not None
    workspace.seal("users", last)
    ran.clear()
    pipeline.run_all(workspace, settings())
    assert ran == []


def test_from_and_until_bound_the_run(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings(), until="two")
    assert names(ran) == ["one", "two"]
    pipeline.run_all(workspace, settings(), from_stage="three")
    assert names(ran) == ["one", "two", "three"]


def test_a_stage_without_its_input_says_what_to_run_first(
    ran: list[tuple[str, bool]], workspace_path: Path
) -> None:
    with pytest.raises(InputDataError, match="raylike one"):
        pipeline.run_all(Workspace(workspace_path), settings(), from_stage="two")


def test_unknown_and_reversed_stages_are_refused(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    with pytest.raises(ConfigError, match="did you mean three"):
        pipeline.run_all(workspace, settings(), until="thre")
    with pytest.raises(ConfigError, match="comes after"):
        pipeline.run_all(workspace, settings(), from_stage="three", until="one")


def test_a_failing_stage_keeps_what_came_before(
    ran: list[tuple[str, bool]], workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StageContext) -> StageReport:
        raise StageError("no")

    monkeypatch.setattr(sys.modules["raylike.stages.two"], "run", fail)
    workspace = Workspace(workspace_path)
    with pytest.raises(StageError):
        pipeline.run_all(workspace, settings())
    states = [s.state for s in pipeline.status(workspace, settings())]
    assert states == ["up to date", "never run", "never run"]


def test_every_stage_that_ran_is_on_record(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    summary = pipeline.run_all(workspace, settings())
    runs = workspace.table("runs").to_pandas().sort_values("started_at")
    assert list(runs["stage"]) == ["one", "two", "three"]
    assert set(runs["run"]) == {summary.run}
    assert (runs["seconds"] >= 0).all()
    assert (runs["memory_peak_mib"] > 1).all()


def test_two_runs_in_one_workspace_are_refused(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    with workspace.lock(), pytest.raises(TryAgainLater, match="in use by process"):
        pipeline.run_all(Workspace(workspace_path), settings())


def test_imported_and_simulated_posts_do_not_mix(workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    with pytest.raises(InputDataError, match="raylike import"):
        pipeline.run_all(workspace, settings({"source": {"name": "files"}}))


def test_every_stage_is_named_once_and_in_order() -> None:
    assert pipeline.NAMES == STAGE_NAMES


def test_the_real_stages_read_only_what_earlier_ones_write() -> None:
    beside = {"sweep", "curves"}  # written together with a main table
    written: set[str] = set()
    for stage in pipeline.STAGES:
        assert set(stage.reads) <= written | beside if stage.name != "collect" else not stage.reads
        assert set(stage.optional) <= set(stage.reads)
        written.add(stage.writes)


def test_rows_of_another_world_are_not_kept(ran: list[tuple[str, bool]], workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    pipeline.run_all(workspace, settings())
    ran.clear()
    pipeline.run_all(workspace, settings({"seed": 1}))
    assert ran == [("one", False), ("two", False), ("three", False)]


@pytest.mark.parametrize(("address", "needed"), [("local", False), ("ray://head:10001", True)])
def test_classify_uses_ray_only_where_there_is_a_cluster(address: str, needed: bool) -> None:
    settings = resolve({"ray": {"address": address}}, environ={}).settings
    (classify,) = (stage for stage in pipeline.STAGES if stage.name == "classify")
    assert classify.needs_ray(settings) is needed


def test_a_stage_with_what_it_needs_leaves_out_the_others(
    ran: list[tuple[str, bool]], workspace_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = StageSpec("aside", ("users",), "trials", ())
    monkeypatch.setattr(pipeline, "STAGES", (CHAIN[0], aside, *CHAIN[1:]))
    monkeypatch.setattr(pipeline, "NAMES", ("one", "aside", "two", "three"))
    pipeline.run_all(Workspace(workspace_path), settings(), until="two", needed=True)
    assert names(ran) == ["one", "two"]


def test_settings_are_taken_only_from_a_finished_search_under_the_same_ones(workspace_path: Path) -> None:
    workspace, asked = Workspace(workspace_path), settings({"finetune": {"from_tune": True}})
    (tune,) = (stage for stage in pipeline.stages_with(asked) if stage.name == "tune")
    (finetune,) = (stage for stage in pipeline.stages_with(asked) if stage.name == "finetune")
    assert "trials" in finetune.reads
    for name in ("labels", "images"):
        workspace.write(name, TABLES[name].empty(), Commit("test", ""))
    with pytest.raises(InputDataError, match="no trials yet"):
        pipeline._refuse_missing_input(workspace, asked, finetune)
    commit = pipeline._commit_for(workspace, asked, tune)
    workspace.write("trials", TRIALS.empty(), commit)
    pipeline._refuse_missing_input(workspace, asked, finetune)
    longer = settings({"finetune": {"from_tune": True, "iterations": 7, "name": "other"}})
    pipeline._refuse_missing_input(workspace, longer, finetune)
    faster = settings({"finetune": {"from_tune": True, "lr": 0.5}})
    with pytest.raises(InputDataError, match="of other settings"):
        pipeline._refuse_missing_input(workspace, faster, finetune)
    workspace.write("trials", TRIALS.empty(), commit.partial())
    with pytest.raises(InputDataError, match="no trials yet"):
        pipeline._refuse_missing_input(workspace, asked, finetune)
