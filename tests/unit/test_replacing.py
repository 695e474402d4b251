"""Old rows give way to new ones: no row is lost or doubled, whenever the replacing stops."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from raylike.commits import Commit, Part
from raylike.replacing import Replacement
from raylike.tables import IMAGES
from raylike.workspace import Workspace

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
COMMIT = Commit("download", "f", complete=False)


def write(workspace: Workspace, statuses: dict[str, str]) -> Part:
    rows = [
        {"post_id": key, "bytes": b"photo" if status == "ok" else None, "byte_size": 5, "fetched_at": WHEN,
         "status": status}
        for key, status in statuses.items()
    ]  # fmt: skip
    return workspace.write_part("images", pa.Table.from_pylist(rows, schema=IMAGES.schema))


def statuses(workspace: Workspace) -> dict[str, str]:
    rows = workspace.read("images", ["post_id", "status"])
    pairs = list(zip(rows["post_id"].to_pylist(), rows["status"].to_pylist(), strict=True))
    assert len(dict(pairs)) == len(pairs), "a key twice"
    return dict(pairs)


@pytest.fixture
def workspace(workspace_path: Path) -> Workspace:
    """Two mixed files, a file of photos alone, and one of failures alone."""
    made = Workspace(workspace_path)
    files = [{"1": "ok", "2": "gone"}, {"3": "timeout", "4": "ok"}, {"5": "ok"}, {"6": "gone", "7": "gone"}]
    for rows in files:
        made.commit_parts("images", [write(made, rows)], COMMIT)
    return made


def test_setting_apart_changes_no_row_and_leaves_other_files_alone(workspace: Workspace) -> None:
    before, files = statuses(workspace), workspace.files("images")
    version = workspace.last_commit("images")
    Replacement(workspace, "images", {"2", "3", "6", "7"}, COMMIT)
    after = workspace.last_commit("images")
    assert statuses(workspace) == before
    assert version is not None
    assert after is not None
    assert after.data_version == version.data_version
    assert len(set(files) & set(workspace.files("images"))) == 1


def test_batches_replace_their_rows_and_add_new_ones(workspace: Workspace) -> None:
    old = Replacement(workspace, "images", {"2", "3", "6", "7"}, COMMIT)
    old.commit(
        [write(workspace, {"3": "ok", "8": "ok"}), write(workspace, {"6": "gone"})], ["3", "6", "8"], COMMIT
    )
    assert statuses(workspace) == {
        "1": "ok", "2": "gone", "3": "ok", "4": "ok", "5": "ok", "6": "gone", "7": "gone", "8": "ok",
    }  # fmt: skip
    old.commit([write(workspace, {"2": "ok", "7": "ok"})], ["2", "7"], COMMIT)
    assert statuses(workspace) == {**dict.fromkeys("1234578", "ok"), "6": "gone"}


def test_a_row_that_was_replaced_can_be_replaced_again(workspace: Workspace) -> None:
    old = Replacement(workspace, "images", {"2"}, COMMIT)
    old.commit([write(workspace, {"2": "timeout"})], ["2"], COMMIT)
    again = Replacement(workspace, "images", {"2"}, COMMIT)
    again.commit([write(workspace, {"2": "ok"})], ["2"], COMMIT)
    assert statuses(workspace)["2"] == "ok"


@pytest.mark.parametrize("keys", [set(), {"unknown"}])
def test_with_nothing_to_replace_rows_are_added(workspace: Workspace, keys: set[str]) -> None:
    before = statuses(workspace)
    old = Replacement(workspace, "images", keys, COMMIT)
    old.commit([write(workspace, {"9": "ok"})], ["9"], COMMIT)
    assert statuses(workspace) == {**before, "9": "ok"}


def test_what_was_written_and_not_committed_does_not_count(workspace: Workspace) -> None:
    """As after a kill between writing and committing."""
    before = statuses(workspace)
    Replacement(workspace, "images", {"2", "6"}, COMMIT)
    write(workspace, {"2": "ok"})
    assert statuses(workspace) == before
    workspace.vacuum()
    assert statuses(workspace) == before
