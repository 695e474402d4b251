"""Each command does what its help says, on a workspace made by hand."""

from __future__ import annotations

import base64
import csv
import io
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from cli.toml_text import toml_text
from raylike import pipeline
from raylike.commits import Commit
from raylike.config import Settings, known_paths, resolve
from raylike.stage_names import STAGE_NAMES
from raylike.tables import TABLES
from raylike.workspace import Workspace

WHEN = datetime(2015, 11, 1, 12, tzinfo=UTC)


def call(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def workspace(workspace_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two photos, one of them refused, and their faces."""
    monkeypatch.chdir(workspace_path.parent)
    made = Workspace(workspace_path)
    images = [
        {"post_id": "1", "bytes": b"\xff\xd8", "format": "jpeg", "width": 2, "height": 1, "byte_size": 2,
         "sha256": "ab", "fetched_at": WHEN, "status": "ok", "error": None},
        {"post_id": "2", "bytes": None, "format": None, "width": None, "height": None, "byte_size": 0,
         "sha256": None, "fetched_at": WHEN, "status": "gone", "error": 'a "quote", a comma'},
    ]  # fmt: skip
    face = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "confidence": 5.5, "area_fraction": 0.25}
    faces = [
        {"post_id": "1", "detector": "haar", "n_faces": 1, "faces": [face], "confidence": 5.5,
         "area_fraction": 0.25, "status": "ok"},
        {"post_id": "2", "detector": "haar", "n_faces": 0, "faces": [], "confidence": float("-inf"),
         "area_fraction": 0.0, "status": "undecodable"},
    ]  # fmt: skip
    for name, rows in (("images", images), ("faces", faces)):
        made.write(name, pa.Table.from_pylist(rows, schema=TABLES[name].schema), Commit(name, "x"))
    return made


def test_every_stage_is_a_command_with_the_options_of_run_all() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    whole = {parameter.name for parameter in commands["run-all"].params}
    for stage in STAGE_NAMES:
        alone = {parameter.name for parameter in commands[stage].params}
        own = {"refresh", "retry_failed", "detector", "model", "curve", "truth", "backbone", "layers",
               "weights_file", "show_photos", "from_tune", "name"}  # fmt: skip
        assert alone - own == whole - {"from_stage", "until", "show_photos"}
        assert ("show_photos" in alone) == (stage == "report")
        assert ("refresh" in alone) == (stage == "collect")
        assert ("retry_failed" in alone) == (stage == "download")
        assert ("curve" in alone) == (stage == "faces")
        assert ("layers" in alone) == (stage in ("features", "classify"))
        assert ("from_tune" in alone) == (stage == "finetune")


def test_training_runs_what_it_needs_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spy(_: Workspace, settings: Settings, *__: object, **chosen: Any) -> pipeline.RunSummary:
        seen.update(chosen, settings=settings.finetune)
        return pipeline.RunSummary("r", (), 1.0, None)

    monkeypatch.setattr(pipeline, "run_all", spy)
    assert call("finetune", "-w", workspace.uri, "--from-tune", "--name", "mine").exit_code == 0
    assert (seen["from_stage"], seen["until"], seen["needed"]) == (None, "finetune", True)
    assert (seen["settings"].from_tune, seen["settings"].name) == (True, "mine")
    call("tune", "-w", workspace.uri)
    assert (seen["until"], seen["needed"]) == ("tune", True)
    call("rank", "-w", workspace.uri)
    assert (seen["from_stage"], seen["needed"]) == ("rank", False)


@pytest.mark.parametrize("command", [(), ("config",), ("faces",), ("run-all",), ("export",), ("simulate",)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    assert "Usage:" in call(*command, "--help").stdout


def test_options_reach_the_pipeline_as_settings(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def spy(place: Workspace, settings: Settings, _: object, **chosen: Any) -> pipeline.RunSummary:
        seen.update(place=place.uri, settings=settings, **chosen)
        return pipeline.RunSummary("r", (), 1.0, "report/index.html")

    monkeypatch.setattr(pipeline, "run_all", spy)
    result = call(
        "faces", "-w", workspace.uri, "--preset", "study", "--seed", "3", "--no-dashboard", "--no-wait",
        "--source", "instagram_v1", "--tag", "us", "--base-url", "http://127.0.0.1:1/v1", "--token-store",
        "t.txt", "--allow-private-addresses", "--device", "cpu", "--force", "faces", "--address", "auto",
        "--set", "faces.size_px=400", "--set", "features.batch_size=8", "--json",
    )  # fmt: skip
    settings = seen["settings"]
    assert (seen["from_stage"], seen["until"], seen["force"]) == ("faces", "faces", ["faces"])
    assert (settings.preset, settings.seed, settings.device) == ("study", 3, "cpu")
    assert (settings.ray.dashboard, settings.ray.address, settings.collect.wait) == (False, "auto", False)
    assert (settings.source.name, settings.source.tag) == ("instagram_v1", "us")
    assert settings.source.token_store == Path("t.txt")
    assert settings.source.allow_private_addresses
    assert (settings.faces.size_px, settings.features.batch_size) == (400, 8)
    assert json.loads(result.stdout.splitlines()[-1])["event"] == "done"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], None),
        (["--retry-failed"], "all"),
        (["--retry-failed", "--json"], "all"),
        (["--retry-failed", "gone"], "gone"),
        (["--retry-failed=timeout", "--json"], "timeout"),
    ],
)
def test_failures_are_tried_again_by_cause(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str | None
) -> None:
    seen: dict[str, Any] = {}

    def spy(*_: object, **chosen: Any) -> pipeline.RunSummary:
        seen.update(chosen)
        return pipeline.RunSummary("r", (), 1.0, "report/index.html")

    monkeypatch.setattr(pipeline, "run_all", spy)
    call("download", "-w", workspace.uri, *arguments)
    assert seen["retry_failed"] == expected


def test_an_unknown_cause_is_a_usage_error_that_names_the_known(workspace: Workspace) -> None:
    message = call("download", "-w", workspace.uri, "--retry-failed", "moon", code=2).stderr
    assert "'moon' is no cause of failure" in message
    assert "all, gone, disallowed" in message


def test_run_all_ends_with_the_reports_path_on_stdout(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = pipeline.RunSummary("r", (), 65.0, "w/report/index.html")
    monkeypatch.setattr(pipeline, "run_all", lambda *_, **__: summary)
    result = call("run-all", "-w", workspace.uri)
    assert result.stdout == "w/report/index.html\n"
    assert "done in 1 min 05 s" in result.stderr


def test_status_lists_tables_and_stages(workspace: Workspace) -> None:
    found = json.loads(call("status", "-w", workspace.uri, "--json").stdout)
    assert [(t["table"], t["rows"]) for t in found["tables"]] == [("images", 2), ("faces", 2)]
    assert [stage["stage"] for stage in found["stages"]] == list(STAGE_NAMES)
    assert {stage["state"] for stage in found["stages"]} == {"never run", "stale"}
    text = call("status", "-w", workspace.uri).stdout
    assert "images" in text
    assert "never run" in text


def test_status_of_nothing_writes_nothing(workspace_path: Path) -> None:
    call("status", "-w", str(workspace_path))
    assert not workspace_path.exists()


def test_config_show_names_value_origin_and_meaning(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYLIKE_SEED", "5")
    rows = json.loads(call("config", "show", "--json", "--set", "faces.size_px=400").stdout)
    by_name = {row["setting"]: row for row in rows}
    assert list(by_name) == known_paths()
    assert (by_name["seed"]["value"], by_name["seed"]["origin"]) == (5, "environment")
    assert (by_name["faces.size_px"]["value"], by_name["faces.size_px"]["origin"]) == (400, "flag")
    assert all(row["meaning"] for row in rows)
    assert "faces.size_px" in call("config", "show").stdout


def test_config_init_writes_a_file_that_changes_nothing(workspace: Workspace) -> None:
    call("config", "init")
    assert resolve(environ={}).settings == resolve(environ={}, config_file=Path("raylike.toml")).settings
    assert "is already there" in call("config", "init", code=73).stderr


def test_a_commented_setting_is_its_default_once_uncommented() -> None:
    """Every line `# name = value` of the file, taken at its word, gives the defaults again."""
    lines = toml_text(Settings()).splitlines()
    plain = [line.removeprefix("# ") if _is_assignment(line) else line for line in lines]
    assert len(plain) > len(known_paths())
    assert Settings.model_validate(tomllib.loads("\n".join(plain))) == Settings()


def _is_assignment(line: str) -> bool:
    try:
        return bool(tomllib.loads(line.removeprefix("# ")))
    except tomllib.TOMLDecodeError:
        return False


class TestExport:
    """A table as a file, in each format, from start to end or not at all."""

    @pytest.mark.parametrize("name", ["images", "faces"])
    def test_parquet_holds_the_same_rows(self, workspace: Workspace, name: str) -> None:
        call("export", name, "-w", workspace.uri, "-o", "out.parquet")
        assert pq.read_table("out.parquet").cast(TABLES[name].schema).equals(workspace.read(name))

    def test_jsonl_holds_bytes_as_base64_and_infinity_as_null(self, workspace: Workspace) -> None:
        call("export", "images", "-w", workspace.uri, "-o", "out.jsonl")
        rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
        assert base64.b64decode(rows[0]["bytes"]) == b"\xff\xd8"
        assert rows[1]["bytes"] is None
        assert rows[0]["fetched_at"] == "2015-11-01T12:00:00+00:00"
        text = call("export", "faces", "-w", workspace.uri, "--format", "jsonl", "-o", "-").stdout
        faces = [json.loads(line) for line in text.splitlines()]
        assert faces[0]["faces"][0]["width"] == 3.0
        assert faces[1]["confidence"] is None

    def test_csv_holds_lists_as_json(self, workspace: Workspace) -> None:
        text = call("export", "faces", "-w", workspace.uri, "--format", "csv", "-o", "-").stdout
        rows = list(csv.DictReader(io.StringIO(text)))
        assert json.loads(rows[0]["faces"])[0]["x"] == 1.0
        call("export", "images", "-w", workspace.uri, "-o", "out.csv")
        with Path("out.csv").open(newline="") as file:
            assert list(csv.DictReader(file))[1]["error"] == 'a "quote", a comma'

    def test_a_table_that_was_never_written_is_bad_input(self, workspace: Workspace) -> None:
        assert (
            "no table users yet"
            in call("export", "users", "-w", workspace.uri, "-o", "u.csv", code=65).stderr
        )
        assert not Path("u.csv").exists()

    def test_a_folder_that_is_not_there_cannot_be_written(self, workspace: Workspace) -> None:
        call("export", "faces", "-w", workspace.uri, "-o", "absent/out.csv", code=73)

    def test_a_broken_export_leaves_the_old_file(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("out.csv").write_text("old")
        for file in workspace.files("faces"):
            Path(file).write_bytes(b"torn")
        call("export", "faces", "-w", workspace.uri, "-o", "out.csv", code=1)
        assert Path("out.csv").read_text() == "old"
        assert [path.name for path in Path().iterdir() if path.name.startswith(".out")] == []


def test_vacuum_counts_and_refuses_what_is_no_workspace(workspace: Workspace, tmp_path: Path) -> None:
    assert "files deleted" in call("vacuum", "-w", workspace.uri).stdout
    assert "no workspace here" in call("vacuum", "-w", str(tmp_path / "absent"), code=65).stderr


def test_version_names_what_decides_the_figures() -> None:
    found = json.loads(call("version", "--json").stdout)
    assert {"raylike", "python", "ray", "torch"} <= set(found)
