"""A thousand hostile files, imported, downloaded and looked at: each is accounted for, by its cause."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from raylike import Workspace
from tests.hostile_folder import NO_SUCH_FILE, UNDECODABLE, write_folder
from tests.pipeline.conftest import raylike

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

N = 1000


def test_every_file_of_a_hostile_folder_is_accounted_for_by_cause(tmp_path: Path, ray_tmpdir: Path) -> None:
    uri = tmp_path / "workspace"
    folder = write_folder(tmp_path / "photos", N)
    command = ["import", str(folder.table), "--images", str(tmp_path / "photos"), "--workspace", str(uri)]
    imported = raylike(command, ray_tmpdir)
    assert imported.exit_code == 0, imported.stderr
    folder.turn()
    options = ["--source", "files", "--until", "faces", "--no-dashboard", "--set", "ray.num_cpus=2"]
    outcome = raylike(["run-all", "--workspace", str(uri), *options], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr

    posts = Workspace(uri).read("posts", ["post_id", "image_url"])
    images = Workspace(uri).read("images", ["post_id", "status", "bytes", "error"])
    rows = posts.join(images, "post_id", join_type="full outer").to_pylist()
    seen = Workspace(uri).read("faces", ["post_id", "status"]).to_pylist()
    undecodable = {row["post_id"] for row in seen if row["status"] == UNDECODABLE}
    assert len(seen) == sum(row["status"] == "ok" for row in rows)
    status_of = {
        row["image_url"]: UNDECODABLE if row["post_id"] in undecodable else row["status"] for row in rows
    }
    for path, kind in folder.files:
        assert status_of.get(str(path), NO_SUCH_FILE) == kind.fate, kind.title
    for row in rows:
        assert (row["bytes"] is not None) == (row["status"] == "ok")
        assert (row["error"] is not None) == (row["status"] != "ok")

    report = imported.events[0]
    statuses = Counter(status_of.values())
    assert Counter(report["rejected"]) + statuses == folder.fates
    assert sum(folder.fates.values()) == report["rows_in"] == N + len(folder.bad_rows)
    failed = {event["stage"]: event["failed"] for event in outcome.of("stage_finished")}
    assert failed["faces"] == {UNDECODABLE: len(undecodable)}
    assert failed["download"] | failed["faces"] == {s: n for s, n in statuses.items() if s != "ok"}
