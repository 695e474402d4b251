"""`raylike import`: what it takes, and how it tells what it left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike.workspace import Workspace


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos, and a file with two good rows and two bad ones."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"\xff\xd8\xff")
    Path("photos.csv").write_text(
        "image,like_count,followers\na.jpg,3,10\nb.jpg,-1,10\nabsent.jpg,3,10\nb.jpg,5,20\n"
    )
    return folder


def call(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["import", *arguments, "-w", "w"])
    assert result.exit_code == code, result.output
    return result


def test_good_rows_become_tables_and_bad_ones_are_told_with_their_line(photos: Path) -> None:
    result = call("photos.csv", "--images", str(photos), "--map", "likes=like_count")
    assert Workspace("w").rows("posts") == 2
    assert "2 of 4 photos imported" in result.stdout
    assert "2 left out" in result.stdout
    assert "photos.csv, line 3: " in result.stderr
    assert "photos.csv, line 4: " in result.stderr


def test_json_tells_the_same(photos: Path) -> None:
    found = json.loads(
        call("photos.csv", "--images", str(photos), "--map", "likes=like_count", "--json").stdout
    )
    assert (found["rows_in"], found["posts"]) == (4, 2)
    assert [problem["line"] for problem in found["problems"]] == [3, 4]


def test_what_cannot_be_used_ends_with_its_code(photos: Path) -> None:
    assert "--map likes=COLUMN" in call("photos.csv", "--images", str(photos), code=65).stderr
    call("absent.csv", code=65)
    call("photos.csv", "--map", "likes", code=2)
    call("photos.csv", "--map", "lykes=like_count", "--images", str(photos), code=2)
    call("photos.csv", "--images", "absent", code=2)
    Path("bad.csv").write_text("image,likes,followers\nabsent.jpg,3,10\n")
    assert "no usable row" in call("bad.csv", code=65).stderr
