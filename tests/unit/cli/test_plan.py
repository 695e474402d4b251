"""What a run would do is shown without doing it; what can never run is refused before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike.stage_names import STAGE_NAMES

TOO_MANY = ["--set", "finetune.workers=999"]


def test_a_new_workspace_has_everything_to_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["plan", "--workspace", str(tmp_path), "--json"])
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout)
    assert [stage["stage"] for stage in plan["stages"]] == list(STAGE_NAMES)
    assert {stage["state"] for stage in plan["stages"]} == {"never run"}
    (tokens,) = next(stage["asks"] for stage in plan["stages"] if stage["stage"] == "followers")
    assert 1 <= tokens["count"] <= 3  # by the CPUs of this machine
    assert plan["hits"] is None  # nobody knows yet who posts


def test_people_see_machines_and_stages(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["plan", "--workspace", str(tmp_path)])
    assert found.stdout.startswith("this machine (")
    assert "about 140 MiB" in next(line for line in found.stdout.splitlines() if "followers" in line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["plan", "run-all"])
def test_workers_that_no_machine_has_room_for_are_refused_at_once(tmp_path: Path, command: str) -> None:
    found = CliRunner().invoke(app, [command, "--workspace", str(tmp_path / "new"), *TOO_MANY])
    assert found.exit_code == 2
    (line, *hint) = found.stderr.strip().splitlines()
    assert "finetune asks for 999 training workers" in line
    assert "this machine" in line
    assert len(hint) <= 1
    assert not (tmp_path / "new" / "tables").exists()
