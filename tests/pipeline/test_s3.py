"""A run on a simulated S3: the same tables as in a folder, and the model and report with them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest

from raylike import Workspace
from raylike.stage_names import STAGE_NAMES
from tests.pipeline.conftest import TINY, Outcome, raylike
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SAME_AS_IN_A_FOLDER = {
    "posts": ["post_id", "user_id", "likes"],
    "users": ["user_id", "followers", "status"],
    "cohort": ["post_id", "kept", "reason"],
    "faces": ["post_id", "n_faces"],
    "labels": ["post_id", "ratio", "label", "fold", "split"],
}


def sorted_rows(workspace: Workspace, table: str) -> pa.Table:
    columns = SAME_AS_IN_A_FOLDER[table]
    return workspace.read(table, columns).sort_by(columns[0])


def test_a_run_on_s3_does_what_a_run_in_a_folder_does(
    s3: S3Server, finished: tuple[Path, Outcome], ray_tmpdir: Path
) -> None:
    workspace = Workspace(f"{s3.bucket()}/study")
    arguments = ["--workspace", workspace.uri, *TINY]
    s3.faults(fail=3)
    outcome = raylike(["run-all", "--until", "finetune", *arguments], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr == ""
    reported = raylike(["report", *arguments], ray_tmpdir)
    assert reported.events[-1]["report"] == f"{workspace.uri}/report/index.html"
    for table in SAME_AS_IN_A_FOLDER:
        assert sorted_rows(workspace, table).equals(sorted_rows(Workspace(finished[0]), table)), table
    filesystem, root = workspace.filesystem()
    found = {info.path for info in filesystem.get_file_info(pa.fs.FileSelector(root, recursive=True))}
    assert {f"{root}/{name}" for name in ("models/finetune/model.safetensors", "report/index.html")} < found
    with filesystem.open_input_stream(f"{root}/report/results.json") as file:
        assert json.loads(file.read())
    again = raylike(["run-all", "--until", "finetune", *arguments], ray_tmpdir)
    done = list(STAGE_NAMES)[: list(STAGE_NAMES).index("finetune") + 1]
    assert [e["stage"] for e in again.of("stage_finished") if e["up_to_date"]] == done
