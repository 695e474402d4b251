"""The faces stage on a real Ray: tables, resumption, a process that dies, a model that changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raylike.commits import Commit
from raylike.config import FacesSettings, resolve
from raylike.errors import ServiceUnavailable
from raylike.progress import Silence
from raylike.stage import StageContext, StageReport
from raylike.stages import faces as stage
from raylike.tables import COHORT, FACES, IMAGES
from raylike.vision import detectors
from raylike.vision.detectors import Model, haar
from raylike.vision.detectors.base import DetectorKind
from raylike.workspace import Workspace
from tests.pictures import photo
from tests.unit.stages.learning_workspace import NOW

pytestmark = pytest.mark.ray

IDS = [f"p{i:02d}" for i in range(12)]
BROKEN, GONE = IDS[-2:]
AT_ONCE = 4


@pytest.fixture
def workspace(workspace_path: Path) -> Workspace:
    """Twelve photos in three files of the table; one was not downloaded, one cannot be decoded."""
    made = Workspace(workspace_path)
    cohort = [
        {"post_id": i, "user_id": i, "followers": 9, "likes": 1, "ratio": 0.1, "kept": True, "reason": ""}
        for i in IDS
    ]
    made.write("cohort", pa.Table.from_pylist(cohort, schema=COHORT.schema), Commit("cohort", "x"))
    for first in range(0, len(IDS), AT_ONCE):
        images = [_image(post_id, number) for number, post_id in enumerate(IDS)][first : first + AT_ONCE]
        made.append("images", pa.Table.from_pylist(images, schema=IMAGES.schema), Commit("download", "x"))
    return made


def _image(post_id: str, shade: int) -> dict[str, Any]:
    data = b"\xff\xd8 broken" if post_id == BROKEN else photo(320, 200, 5 * shade)
    return {
        "post_id": post_id, "bytes": None if post_id == GONE else data, "byte_size": len(data),
        "fetched_at": NOW, "status": "gone" if post_id == GONE else "ok",
    }  # fmt: skip


def run(workspace: Workspace, *, resume: bool = False) -> StageReport:
    settings = resolve({"faces": {"processes": 2}}, environ={}).settings
    return stage.run(StageContext(workspace, settings, Silence(), Commit("faces", "x"), resume=resume))


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workspace.read("faces").sort_by("post_id").to_pylist()
    return found


def test_every_downloaded_photo_gets_a_row(ray_local: None, workspace: Workspace) -> None:
    report = run(workspace)
    found = rows(workspace)
    assert [row["post_id"] for row in found] == IDS[:-1]
    assert {row["post_id"] for row in found if row["status"] == "undecodable"} == {BROKEN}
    assert {(row["detector"], row["model"]) for row in found} == {("haar", None)}
    assert (report.rows_in, report.rows_out, report.failed) == (11, 11, {"undecodable": 1})


def dies_once(flag: Path) -> Callable[..., pa.Table]:
    """`find_faces`, but the first process that calls it is gone."""

    def find(units: pa.Table, **given: Any) -> pa.Table:
        from raylike.stages.faces import find_faces

        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return find_faces(units, **given)

    return find


def test_a_killed_detector_changes_no_row(
    ray_local: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(workspace)
    undisturbed = rows(workspace)
    flag = tmp_path / "died"
    monkeypatch.setattr(stage, "find_faces", dies_once(flag))
    run(workspace)
    assert flag.exists()
    assert rows(workspace) == undisturbed


def seen_before(post_id: str, model: str | None = None) -> pa.Table:
    row = {
        "post_id": post_id, "detector": "seen before", "model": model, "n_faces": 0, "faces": [],
        "confidence": 0.0, "area_fraction": 0.0, "status": "ok",
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=FACES.schema)


@pytest.mark.parametrize("resume", [True, False])
def test_only_what_is_missing_is_looked_at_again(ray_local: None, workspace: Workspace, resume: bool) -> None:
    workspace.write("faces", seen_before(IDS[3]), Commit("faces", "x"))
    run(workspace, resume=resume)
    detector_of = {row["post_id"]: row["detector"] for row in rows(workspace)}
    assert detector_of.pop(IDS[3]) == ("seen before" if resume else "haar")
    assert set(detector_of.values()) == {"haar"}
    assert len(detector_of) == 10


@pytest.mark.parametrize("changed", [True, False])
def test_another_model_under_the_same_settings_starts_afresh(
    ray_local: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    kind = DetectorKind("haar", 5.0, haar.create, lambda _: Model("new", b"", "model.onnx"))
    monkeypatch.setattr(detectors, "kind", lambda _: kind)
    workspace.write("faces", seen_before(IDS[3], "old" if changed else "new"), Commit("faces", "x"))
    report = run(workspace, resume=True)
    assert {row["model"] for row in rows(workspace)} == {"new"}
    assert ("seen before" in {row["detector"] for row in rows(workspace)}) is not changed
    assert any("model.onnx" in note for note in report.notes)


def test_a_model_that_cannot_be_had_leaves_the_table_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(settings: FacesSettings) -> Model:
        raise ServiceUnavailable("cannot be had")

    kind = DetectorKind("haar", 5.0, haar.create, load)
    monkeypatch.setattr(detectors, "kind", lambda _: kind)
    workspace.write("faces", seen_before(IDS[3]), Commit("faces", "x"))
    with pytest.raises(ServiceUnavailable):
        run(workspace)
    assert [row["detector"] for row in rows(workspace)] == ["seen before"]
