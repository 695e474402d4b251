"""Rows of a table that give way to new ones, batch by batch, so that a kill loses none of either.

Delta Lake changes rows by whole files. Rows that are to be replaced are therefore set apart first, in a
file of their own and without changing what the table says; each batch then rewrites that small file.

Knows the workspace. Knows nothing of why rows are replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raylike.commits import Commit, Part
from raylike.tables import TABLES
from raylike.workspace import Workspace


class Replacement:
    """Those rows of a table, by their first key column, that are still to be replaced.

    Parameters
    ----------
    keys : of the rows; they are held in memory, so they should be small, as those of failures are
    commit : provenance of the commit that sets them apart
    """

    def __init__(self, workspace: Workspace, name: str, keys: Collection[str], commit: Commit) -> None:
        self._workspace = workspace
        self._name = name
        self._key = TABLES[name].key[0]
        self._file: str | None = None
        self._rows = TABLES[name].empty()
        if keys:
            self._set_apart(pa.array(sorted(keys), pa.string()), commit)

    def commit(self, parts: Sequence[Part], keys: Collection[str], commit: Commit) -> None:
        """Add parts to the table and take out the old rows of these keys, in one transaction."""
        gone = self._among(self._rows, pa.array(list(keys), pa.string()))
        if self._file is None or not pc.any(gone).as_py():
            self._workspace.commit_parts(self._name, parts, commit)
            return
        rest = self._rows.filter(pc.invert(gone))
        kept = self._write(rest)
        self._workspace.commit_parts(self._name, [*parts, *kept], commit, without=[self._file])
        self._rows = rest
        self._file = kept[0].path if kept else None

    def _set_apart(self, keys: pa.Array, commit: Commit) -> None:
        found, parts, files = [self._rows], [], []
        for file in self._workspace.files(self._name):
            gone = self._among(self._workspace.read_file(file, [self._key]), keys)
            if not pc.any(gone).as_py():
                continue
            rows = self._workspace.read_file(file)
            found.append(rows.filter(gone))
            parts += self._write(rows.filter(pc.invert(gone)))
            files.append(file)
        if not files:
            return
        self._rows = pa.concat_tables(found)
        apart = self._write(self._rows)
        self._workspace.commit_parts(self._name, [*parts, *apart], commit, without=files, same_rows=True)
        self._file = apart[0].path

    def _among(self, rows: pa.Table, keys: pa.Array) -> pa.ChunkedArray:
        return pc.is_in(rows[self._key], value_set=keys)

    def _write(self, rows: pa.Table) -> list[Part]:
        return [self._workspace.write_part(self._name, rows)] if rows.num_rows else []
