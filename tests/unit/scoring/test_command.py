"""`raylike score`: a paragraph, a table or JSON; bad photos are rows; exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike.scoring import models
from tests.hostile_files import FILES, STATUS
from tests.unit.scoring.fakes import green_model, patched


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in, and a workspace whose model likes green."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "opened", lambda workspace, name: green_model("its weights are random"))
    (tmp_path / "green.png").write_bytes(patched(256, 256, 30, 30, 60))
    return tmp_path


def call(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["score", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_one_photo_is_told_in_words(trained: Path) -> None:
    result = call("green.png", "--save", "out/heat.png")
    assert "better than 8 % of photos from accounts like these" in result.stdout
    assert "raised by   top left" in result.stdout
    assert "best crop" in result.stdout
    assert "its weights are random" in result.stderr
    assert "101 held-out photos of 40 accounts" in result.stderr
    assert (trained / "out" / "heat.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_hostile_files_goes_on_with_a_reason_for_each(trained: Path) -> None:
    for name, data in FILES.items():
        (trained / name).write_bytes(data)
    lines = call(".", "--json", "--no-explain", "--no-crops", "--set", "download.max_bytes=200000").stdout
    found = {row["photo"]: row for row in map(json.loads, lines.splitlines())}
    assert {name: row["status"] for name, row in found.items() if row["status"] != "ok"} == STATUS
    assert list(found) == sorted(found)
    assert all(row["model"] == "LinearSVC on greenness" for row in found.values())
    assert all(row["notes"] == ["its weights are random"] for row in found.values())
    assert "explanation" not in found["photo"]


def test_several_photos_are_a_table_in_the_order_given(trained: Path) -> None:
    (trained / "a.png").write_bytes(b"no photo")
    (trained / "bad\x1b[2J.png").write_bytes(b"no photo")
    lines = call("green.png", "a.png", "bad\x1b[2J.png", "--no-explain", "--no-crops").stdout.splitlines()
    assert lines[0].split() == ["photo", "better", "than", "faces"]
    assert lines[1].split()[:3] == ["green.png", "8", "%"]
    assert "not_an_image" in "".join(lines[2:])
    assert "\x1b" not in "".join(lines)


def test_heat_maps_of_several_photos_go_into_a_folder(trained: Path) -> None:
    (trained / "other.png").write_bytes(patched(256, 256, 100, 100, 60))
    call("green.png", "other.png", "--no-crops", "--save", "maps")
    assert sorted(path.name for path in (trained / "maps").iterdir()) == ["0001-green.png", "0002-other.png"]


def test_code_65_only_if_no_photo_could_be_scored(trained: Path) -> None:
    (trained / "bad.png").write_bytes(b"no photo")
    call("green.png", "bad.png", "--no-crops", "--no-explain")
    assert "none of 2 photos" in call("bad.png", "missing.png", code=65).stderr


def test_without_a_trained_workspace_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("photo.jpg", code=65)
    assert "there is no trained model" in result.stderr
    assert "raylike run-all" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
