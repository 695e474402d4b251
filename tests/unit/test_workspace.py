"""Tables: whole commits or none, provenance, resume, and refusals in plain words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from raylike.errors import CannotWrite, ConfigError, InputDataError, TryAgainLater
from raylike.tables import TABLES
from raylike.workspace import Commit, Part, Workspace

COMMIT = Commit("followers", "abc", {"posts": 3}, "run-1")


def users(*ids: str) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"user_id": name, "followers": len(name), "following": None, "media_count": 1,
         "looked_up_at": datetime(2015, 11, 1, tzinfo=UTC), "status": "ok"}
        for name in ids
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["users"].schema)


def write_part(workspace: Workspace, table: pa.Table) -> Part:
    """What a worker does: a Parquet file of its own, and an entry to be committed."""
    path = workspace.part_uri("users")
    pq.write_table(table, path)
    return Part(path, Path(path).stat().st_size, table.num_rows)


@pytest.fixture
def workspace(workspace_path: Path) -> Workspace:
    return Workspace(workspace_path)


def test_a_table_that_was_never_written_is_empty_and_of_the_right_columns(workspace: Workspace) -> None:
    assert workspace.read("users").schema == TABLES["users"].schema
    assert workspace.read("users", ["user_id"]).column_names == ["user_id"]
    assert not workspace.exists("users")
    assert workspace.last_commit("users") is None
    assert (workspace.rows("users"), workspace.files("users"), workspace.keys("users")) == (0, [], set())
    assert not Path(workspace.uri).exists(), "looking must not write"


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
import os, pyarrow.parquet as pq
from raylike.workspace import Workspace
workspace = Workspace({workspace.uri!r})
pq.write_table(workspace.read("users"), workspace.part_uri("users"))
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
    assert len(list(Path(workspace.uri).rglob("*.parquet"))) == 2
    workspace.vacuum()
    assert [str(file) for file in Path(workspace.uri).rglob("*.parquet")] == workspace.files("users")
    assert workspace.keys("users") == {"b"}


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


def test_a_torn_log_is_named(workspace: Workspace) -> None:
    workspace.write("users", users("a"), COMMIT)
    for entry in (Path(workspace.uri) / "tables/users/_delta_log").glob("*.json"):
        entry.write_text("{ torn")
    with pytest.raises(InputDataError, match="cannot be read"):
        workspace.read("users")


def test_a_table_opens_in_pandas_and_arrow(workspace: Workspace) -> None:
    workspace.write("users", users("a", "bb"), COMMIT)
    table = workspace.table("users")
    assert table.rows == 2
    assert table.to_pandas(["followers"])["followers"].tolist() == [1, 2]
    assert table.to_arrow().equals(users("a", "bb"))
    assert repr(table) == "Table('users', rows=2)"
