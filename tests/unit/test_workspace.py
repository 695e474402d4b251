"""Tables: whole commits or none, provenance, resume, and refusals in plain words."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pytest

from raylike.commits import Commit, Part
from raylike.errors import CannotWrite, ConfigError, InputDataError, TryAgainLater
from raylike.tables import TABLES
from raylike.workspace import Workspace
from tests.s3_server import S3Server

COMMIT = Commit("followers", "abc", {"posts": 3}, "run-1")


def users(*ids: str) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"user_id": name, "followers": len(name), "following": None, "media_count": 1,
         "looked_up_at": datetime(2015, 11, 1, tzinfo=UTC), "status": "ok"}
        for name in ids
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["users"].schema)


def write_part(workspace: Workspace, table: pa.Table) -> Part:
    """What a worker does, from the copy of the workspace that it was sent."""
    sent: Workspace = pickle.loads(pickle.dumps(workspace))
    return sent.write_part("users", table)


def everything_in(workspace: Workspace) -> set[str]:
    """Paths of all files below the workspace's root."""
    filesystem, root = workspace.filesystem()
    found = filesystem.get_file_info(pa.fs.FileSelector(root, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{root}/") for info in found if info.is_file}


@pytest.fixture(params=["folder", "s3"])
def workspace(request: pytest.FixtureRequest, workspace_path: Path) -> Workspace:
    if request.param == "folder":
        return Workspace(workspace_path)
    s3: S3Server = request.getfixturevalue("s3")
    return Workspace(f"{s3.bucket()}/some/study")


@pytest.fixture
def folder(workspace_path: Path) -> Workspace:
    return Workspace(workspace_path)


def test_a_table_that_was_never_written_is_empty_and_of_the_right_columns(workspace: Workspace) -> None:
    assert workspace.read("users").schema == TABLES["users"].schema
    assert workspace.read("users", ["user_id"]).column_names == ["user_id"]
    assert not workspace.exists("users")
    assert workspace.last_commit("users") is None
    assert (workspace.rows("users"), workspace.files("users"), workspace.keys("users")) == (0, [], set())
    assert workspace.names() == list(TABLES)
    assert not everything_in(workspace), "looking must not write"


def test_rows_come_back_as_written(workspace: Workspace) -> None:
    workspace.write("users", users("a", "bb"), COMMIT)
    assert workspace.read("users").equals(users("a", "bb"))
    assert workspace.read("users", ["user_id"], pc.field("followers") > 1).to_pylist() == [{"user_id": "bb"}]


def test_writing_replaces_and_appending_adds(workspace: Workspace) -> None:
    workspace.write("users", users("a"), COMMIT)
    workspace.append("users", users("b"), COMMIT)
    assert workspace.keys("users") == {"a", "b"}
    workspace.write("users", users("c"), COMMIT)
    assert workspace.keys("users") == {"c"}
    assert workspace.rows("users") == 1


def test_parts_are_rows_only_once_committed(workspace: Workspace) -> None:
    one, two = write_part(workspace, users("a")), write_part(workspace, users("b", "c"))
    assert workspace.rows("users") == 0
    workspace.commit_parts("users", [one, two], COMMIT)
    assert workspace.keys("users") == {"a", "b", "c"}
    assert workspace.rows("users") == 3
    workspace.commit_parts("users", [write_part(workspace, users("d"))], COMMIT, replace_all=True)
    assert workspace.keys("users") == {"d"}


def test_a_commit_says_who_made_it_and_from_what(workspace: Workspace) -> None:
    workspace.append("users", users("a"), COMMIT.partial({"cursor": "x"}))
    last = workspace.last_commit("users")
    assert last is not None
    assert (last.stage, last.fingerprint, dict(last.inputs), last.run) == (
        "followers",
        "abc",
        {"posts": 3},
        "run-1",
    )
    assert not last.complete
    assert last.state == {"cursor": "x"}
    assert abs((datetime.now(UTC) - last.committed_at).total_seconds()) < 60


def test_sealing_completes_a_stage_and_leaves_the_data_version(workspace: Workspace) -> None:
    workspace.append("users", users("a"), COMMIT.partial())
    before = workspace.last_commit("users")
    workspace.seal("users", COMMIT)
    after = workspace.last_commit("users")
    assert before is not None
    assert after is not None
    assert after.complete
    assert after.version == before.version + 1
    assert after.data_version == before.data_version
    assert workspace.keys("users") == {"a"}


def test_rows_that_do_not_fit_the_table_are_refused_and_change_nothing(workspace: Workspace) -> None:
    workspace.write("users", users("a"), COMMIT)
    with pytest.raises(ValueError, match=r"user_id.* null"):
        workspace.append("users", pa.Table.from_pylist([{}], schema=users().schema), COMMIT)
    with pytest.raises(KeyError):
        workspace.append("users", users("b").drop_columns(["status"]), COMMIT)
    assert workspace.keys("users") == {"a"}


def test_a_process_killed_before_its_commit_leaves_the_table_as_it_was(workspace: Workspace) -> None:
    workspace.write("users", users("a"), COMMIT)
    script = f"""
import os
from raylike.workspace import Workspace
workspace = Workspace({workspace.uri!r})
workspace.write_part("users", workspace.read("users"))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    assert workspace.keys("users") == {"a"}
    removed = workspace.vacuum()
    assert len(removed) == 1
    assert workspace.keys("users") == {"a"}


def test_vacuum_keeps_what_the_current_version_needs(workspace: Workspace) -> None:
    workspace.write("users", users("a"), COMMIT)
    workspace.write("users", users("b"), COMMIT)
    before = {file for file in everything_in(workspace) if file.endswith(".parquet")}
    assert len(before) == 2
    removed = workspace.vacuum()
    after = {file for file in everything_in(workspace) if file.endswith(".parquet")}
    assert {f"tables/{file}" for file in removed} == before - after
    assert [f"{workspace.uri}/{file}" for file in after] == workspace.files("users")
    assert workspace.keys("users") == {"b"}


def test_row_groups_name_their_rows_and_can_be_read_alone(workspace: Workspace) -> None:
    parts = [write_part(workspace, users("a", "bb")), write_part(workspace, users("ccc"))]
    workspace.commit_parts("users", parts, COMMIT)
    groups = {tuple(group.keys): group for group in workspace.row_groups("users")}
    assert set(groups) == {("a", "bb"), ("ccc",)}
    group = groups["ccc",]
    assert workspace.read_row_group(group.file, group.index, ["followers"]).to_pydict() == {"followers": [3]}
    assert workspace.read_file(group.file, ["user_id"]).to_pydict() == {"user_id": ["ccc"]}


def test_a_part_can_take_the_place_of_another(workspace: Workspace) -> None:
    first, second = write_part(workspace, users("a")), write_part(workspace, users("b"))
    workspace.commit_parts("users", [first, second], COMMIT)
    workspace.commit_parts("users", [write_part(workspace, users("c"))], COMMIT, without=[first.path])
    assert workspace.keys("users") == {"b", "c"}


def test_a_folder_that_is_no_table_is_deleted_and_may_be_missing(workspace: Workspace) -> None:
    filesystem, root = workspace.filesystem()
    workspace.write("users", users("a"), COMMIT)
    filesystem.create_dir(f"{root}/models/finetune", recursive=True)
    with filesystem.open_output_stream(f"{root}/models/finetune/model.pt") as file:
        file.write(b"weights")
    assert workspace.artifact("models", "finetune", "model.pt").endswith("/models/finetune/model.pt")
    workspace.delete_folder("models")
    workspace.delete_folder("never/there")
    assert not [file for file in everything_in(workspace) if file.startswith("models")]
    assert workspace.keys("users") == {"a"}


def test_a_second_process_is_refused_while_the_workspace_is_in_use(workspace: Workspace) -> None:
    script = f"""
from raylike.errors import TryAgainLater
from raylike.workspace import Workspace
try:
    with Workspace({workspace.uri!r}).lock():
        print("locked")
except TryAgainLater as error:
    print(error)
"""

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout

    with workspace.lock():
        assert re.search(rf"in use by process {os.getpid()}\b", other())
    assert other().strip() == "locked"


def test_the_lock_is_not_reentrant(workspace: Workspace) -> None:
    with workspace.lock(), pytest.raises(TryAgainLater), workspace.lock():
        pass


def test_a_locked_workspace_can_be_sent_to_a_worker(workspace: Workspace) -> None:
    with workspace.lock():
        workspace.commit_parts("users", [write_part(workspace, users("a"))], COMMIT)
    assert workspace.keys("users") == {"a"}


def test_a_killed_holder_leaves_the_workspace_free(workspace: Workspace) -> None:
    script = f"""
import os
from raylike.workspace import Workspace
with Workspace({workspace.uri!r}).lock():
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with workspace.lock():
        workspace.write("users", users("a"), COMMIT)


def test_processes_that_commit_at_once_lose_no_row(workspace: Workspace) -> None:
    script = f"""
import sys
from tests.unit.test_workspace import COMMIT, users, write_part
from raylike.workspace import Workspace
workspace = Workspace({workspace.uri!r})
for i in range(4):
    workspace.commit_parts("users", [write_part(workspace, users(f"{{sys.argv[1]}}{{i}}"))], COMMIT)
"""
    workspace.write("users", users(), COMMIT)
    writers = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = workspace.read("users", ["user_id"]).column("user_id").to_pylist()
    assert sorted(rows) == sorted(f"{name}{i}" for name in "ab" for i in range(4))


def test_of_two_that_replace_the_same_version_one_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write("users", users("a"), COMMIT)
    late = workspace._open("users")
    workspace.write("users", users("b"), COMMIT)
    part = write_part(workspace, users("c"))
    monkeypatch.setattr(workspace, "_create", lambda name: late)
    with pytest.raises(TryAgainLater, match="changed by another process"):
        workspace.commit_parts("users", [part], COMMIT, replace_all=True)
    assert workspace.keys("users") == {"b"}


@pytest.mark.parametrize("address", ["ftp://host/study", "file:///tmp/study", "s3://"])
def test_an_address_that_is_no_place_for_a_workspace_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"no place for a workspace(.|\n)*s3://BUCKET/PREFIX"):
        Workspace(address)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CannotWrite, match="cannot be made"):
            Workspace(tmp_path / "w").write("users", users("a"), COMMIT)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("in the way")
    with pytest.raises(CannotWrite, match="cannot be made: File exists"):
        Workspace(tmp_path / "w").write("users", users("a"), COMMIT)


def test_an_unknown_table_is_refused_with_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"no table 'user'(.|\n)*users"):
        workspace.read("user")


def test_a_torn_log_is_named(folder: Workspace) -> None:
    folder.write("users", users("a"), COMMIT)
    for entry in (Path(folder.uri) / "tables/users/_delta_log").glob("*.json"):
        entry.write_text("{ torn")
    with pytest.raises(InputDataError, match="cannot be read"):
        folder.read("users")


def test_a_table_opens_in_pandas_and_arrow(workspace: Workspace) -> None:
    workspace.write("users", users("a", "bb"), COMMIT)
    table = workspace.table("users")
    assert table.rows == 2
    assert table.to_pandas(["followers"])["followers"].tolist() == [1, 2]
    assert table.to_arrow().equals(users("a", "bb"))
    assert repr(table) == "Table('users', rows=2)"


def test_a_table_without_todays_columns_is_named_in_a_line(folder: Workspace) -> None:
    spec = TABLES["users"]
    older = replace(spec, schema=spec.schema.remove(spec.schema.get_field_index("media_count")))
    folder.make(older, COMMIT)
    assert not folder.has_all_columns("users")
    assert folder.read("users", ["user_id"]).num_rows == 0
    with pytest.raises(InputDataError, match="older raylike: it has no column media_count") as raised:
        folder.read("users")
    assert "--force" in raised.value.hint
    folder.make(spec, COMMIT)
    assert folder.has_all_columns("users")
