"""Row groups are what one process takes at a time: few rows, and few bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from raylike.commits import Commit
from raylike.tables import COHORT, IMAGES
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import NOW

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("rows", "mib", "together"), [(0, 0, 64), (500, 10, 64), (500, 50, 64), (500, 500, 16), (3, 300, 1)]
)
def test_large_photos_lie_in_smaller_groups(rows: int, mib: int, together: int) -> None:
    assert IMAGES.rows_together(rows, mib * MIB) == together


def test_small_rows_are_not_bounded_by_bytes() -> None:
    assert COHORT.rows_together(10**6, 10**9) == COHORT.group_rows


def test_a_part_is_written_in_such_groups(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    size = 4 * MIB
    rows = [
        {"post_id": f"p{i}", "bytes": bytes(size), "byte_size": size, "fetched_at": NOW, "status": "ok"}
        for i in range(9)
    ]
    part = workspace.write_part("images", pa.Table.from_pylist(rows, schema=IMAGES.schema))
    workspace.commit_parts("images", [part], Commit("download", "x"))
    assert [len(group.keys) for group in workspace.row_groups("images")] == [3, 3, 3]


def test_a_part_grows_by_groups_and_is_nobodys_until_it_is_committed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")

    def rows(*names: str) -> pa.Table:
        of = {"bytes": b"photo", "byte_size": 5, "fetched_at": NOW, "status": "ok"}
        return pa.Table.from_pylist([{"post_id": name, **of} for name in names], schema=IMAGES.schema)

    part = workspace.open_part("images")
    part.write(rows("a", "b"))
    part.write(rows("c"))
    assert workspace.rows("images") == 0
    closed = part.close()
    assert (closed.rows, closed.byte_size) == (3, Path(closed.path).stat().st_size)
    workspace.commit_parts("images", [closed], Commit("download", "x"))
    assert [list(group.keys) for group in workspace.row_groups("images")] == [["a", "b"], ["c"]]
    assert workspace.files("images") == [closed.path]
