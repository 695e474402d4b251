"""The curve of the cut: photos kept, precision and recall, and files of labels that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.main import app
from raylike.commits import Commit
from raylike.config import FacesSettings
from raylike.errors import InputDataError
from raylike.learning import face_curve
from raylike.tables import FACES
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import NOW, write

CONFIDENCES = (0.95, 0.8, 0.75, 0.6, None)
"""Of the best face of five photos; the last has none."""


def faces(confidences: tuple[float | None, ...] = CONFIDENCES) -> pa.Table:
    rows = []
    for number, confidence in enumerate(confidences):
        face = {"x": 0, "y": 0, "width": 9, "height": 9, "confidence": confidence, "area_fraction": 0.5}
        rows.append(
            {
                "post_id": f"p{number}", "detector": "yunet", "model": "00", "status": "ok",
                "n_faces": int(confidence is not None), "faces": [] if confidence is None else [face],
                "confidence": float("-inf") if confidence is None else confidence, "area_fraction": 0.5,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=FACES.schema)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Five photos, looked at by yunet; their files are a.jpg to e.jpg."""
    path = tmp_path / "workspace"
    names = "abcde"
    write(
        path,
        "posts",
        {
            "post_id": [f"p{i}" for i in range(5)],
            "provider": ["files"] * 5,
            "user_id": ["u"] * 5,
            "created_at": [NOW] * 5,
            "collected_at": [NOW] * 5,
            "image_url": [f"/photos/{name}.jpg" for name in names],
            "likes": [1] * 5,
            "tags": [[]] * 5,
        },
    )
    made = Workspace(path)
    made.write("faces", faces(), Commit("faces", "x"))
    return made


@pytest.fixture
def truth(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Writes a CSV of labels."""

    def written(text: str | bytes) -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_kept_precision_and_recall_at_the_cut_in_force() -> None:
    labels = {"p0": True, "p1": True, "p2": False, "p3": True, "p4": False, "elsewhere": True}
    found = face_curve.trace(faces(), FacesSettings(detector="yunet", min_confidence=0.7), labels)
    (at,) = [point for point in found.points if point.chosen]
    assert (at.min_confidence, at.kept) == (0.7, 3)
    assert at.precision is not None
    assert at.recall is not None
    assert (at.precision.value, at.precision.n) == (pytest.approx(2 / 3), 3)
    assert (at.recall.value, at.recall.n) == (pytest.approx(2 / 3), 3)
    assert (found.n_photos, found.n_labelled, found.n_unknown) == (5, 5, 1)


def test_an_interval_is_wilsons() -> None:
    """Worked by hand for 9 of 10: (0.9 + z²/20 ± z √(0.009 + z²/400)) / (1 + z²/10), z = 1.96."""
    found = face_curve.share(9, 10)
    assert (found.low, found.high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))
    assert face_curve.share(0, 0) == face_curve.Share(None, 0.0, 1.0, 0)


def test_without_labels_there_is_no_precision() -> None:
    found = face_curve.trace(faces(), FacesSettings(detector="yunet"))
    assert all(point.precision is None and point.recall is None for point in found.points)


@given(st.lists(st.floats(0.25, 1, width=32), max_size=30))
def test_a_higher_cut_never_keeps_more(confidences: list[float]) -> None:
    points = face_curve.trace(faces((*confidences, None)), FacesSettings(detector="yunet")).points
    assert [p.min_confidence for p in points] == sorted({p.min_confidence for p in points})
    assert [p.kept for p in points] == sorted((p.kept for p in points), reverse=True)
    assert sum(point.chosen for point in points) == 1
    assert len(points) <= face_curve.STEPS + 4


def test_the_rest_of_the_cut_stays() -> None:
    settings = FacesSettings(detector="yunet", min_faces=2)
    assert {point.kept for point in face_curve.trace(faces(), settings).points} == {0}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.3, 1.0, [0.3, 0.35, 0.4]), (0.0, 10.0, [0.0, 0.5, 1.0]), (5.0, 5.0, [5.0])],
)
def test_cuts_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    found = face_curve.cuts(np.array([low, high, -np.inf]), high)
    assert found[: len(expected)] == expected
    assert found[-1] == high


@pytest.mark.parametrize(
    "text",
    [
        "post_id,label\np0,1\np1,0\n",
        "file,label\na.jpg,person\nb.jpg,none\n",
        "\ufefffile,difficulty,face\r\na.jpg,hard,face\r\nb.jpg,easy,noface\r\n",
        "post_id,person\np0,YES\nb.jpg,False\n",
    ],
)
def test_photos_are_named_by_post_or_by_file(
    workspace: Workspace, truth: Callable[[str | bytes], Path], text: str
) -> None:
    assert face_curve.read_truth(truth(text), workspace) == {"p0": True, "p1": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column post_id or file"),
        ("post_id,likes\np0,1\n", "no column label or person or face"),
        ("post_id,label\np0,perhaps\n", "'perhaps' is no label"),
        ("post_id,label\np0\n", "'' is no label"),
        ("post_id,label\np0,1\np0,0\n", "labelled in two ways"),
        ("post_id,label\nnowhere,1\n", "labels no photo that was looked at"),
        (b"\xff\xfe\x00", "is no CSV file"),
        ('post_id,label\n"p0,1\n', "is no CSV file"),
    ],
)
def test_labels_that_cannot_be_used_end_in_one_line(
    workspace: Workspace, truth: Callable[[str | bytes], Path], text: str | bytes, message: str
) -> None:
    path = truth(text)
    with pytest.raises(InputDataError) as raised:
        face_curve.read_truth(path, workspace)
    assert message in raised.value.what
    assert str(path) in raised.value.where


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["faces", *arguments])


def test_the_command_prints_a_table(workspace: Workspace, truth: Callable[[str | bytes], Path]) -> None:
    labels = truth("file,label\na.jpg,person\nb.jpg,person\nc.jpg,none\n")
    plain = call("-w", workspace.uri, "--curve", "--truth", str(labels))
    assert plain.exit_code == 0, plain.output
    (line,) = [line for line in plain.stdout.splitlines() if "*" in line]
    assert line.split() == [
        "0.72*", "3", "0.667", "(0.208-0.939)", "1.000", "(0.342-1.000)",
    ]  # fmt: skip
    as_json = json.loads(call("-w", workspace.uri, "--curve", "--json").stdout)
    assert as_json["n_photos"] == 5
    assert as_json["points"][0]["recall"] is None


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--curve", "--truth", "no-such.csv"], 65, "cannot be read"),
        (["--truth", "labels.csv"], 2, "needs --curve"),
        (["--curve", "--detector", "hear"], 2, "haar, yunet, person"),
    ],
)
def test_the_command_refuses(
    workspace: Workspace, arguments: list[str], exit_code: int, message: str
) -> None:
    outcome = call("-w", workspace.uri, *arguments)
    assert outcome.exit_code == exit_code
    assert message in outcome.stderr


def test_a_workspace_without_faces_says_what_to_run_first(tmp_path: Path) -> None:
    outcome = call("-w", str(tmp_path / "empty"), "--curve")
    assert outcome.exit_code == 65
    assert "first: raylike faces" in outcome.stderr
