"""Tables in a folder or under an s3:// URI: Delta Lake beneath, one atomic commit at a time.

A table is either at its old version or at its new one. Workers write Parquet parts wherever they
run; one process, the driver, commits them together with their provenance. A killed run leaves at
worst parts that no version refers to, which `vacuum` removes.

Knows `tables.py` and Delta Lake. Knows nothing of stages; of Ray, only that a table can be opened as
one of its data sets.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from raylike import commits
from raylike.commits import Commit, CommitInfo, Part
from raylike.errors import ConfigError, InputDataError, TryAgainLater
from raylike.object_store import require_credentials
from raylike.place import Place, first_line
from raylike.tables import FEATURES, TABLES, TableSpec, features, layers_of

if TYPE_CHECKING:
    import pandas as pd
    import ray.data


@dataclass(frozen=True)
class RowGroup:
    """Rows that lie together in a Parquet file and can be read alone; `keys` names them."""

    file: str
    index: int
    keys: Sequence[str]


class Workspace(Place):
    """All tables, models and reports of one study.

    Parameters
    ----------
    uri : a local folder, made when something is first written, or an `s3://bucket/prefix`

    Raises
    ------
    ConfigError : for an address of any other kind

    Examples
    --------
    >>> workspace = Workspace("raylike-workspace")
    >>> workspace.table("faces").to_pandas()  # doctest: +SKIP
    """

    # Reading

    def table(self, name: str) -> Table:
        """The table `name`, ready to be opened in the library of your choice."""
        return Table(self, self.spec(name))

    def spec(self, name: str) -> TableSpec:
        """Key and columns of a table; a features table that is not in `TABLES` says itself which it has."""
        if name in TABLES or not name.startswith(FEATURES):
            return _spec(name)
        delta = self._open(name)
        return features(name, {} if delta is None else layers_of(pa.schema(delta.schema().to_arrow())))

    def names(self) -> list[str]:
        """All tables there can be, and those features tables besides that were written here."""
        filesystem, root = self.filesystem()
        folder = pa.fs.FileSelector(f"{root}/tables/{FEATURES.rstrip('/')}", allow_not_found=True)
        found = sorted(FEATURES + info.base_name for info in filesystem.get_file_info(folder))
        return [*TABLES, *(name for name in found if name not in TABLES)]

    def exists(self, name: str) -> bool:
        """Whether the table was ever written."""
        return self._open(name) is not None

    def has_all_columns(self, name: str) -> bool:
        """Whether the table was written with all columns that it has today, or not at all."""
        delta = self._open(name)
        known = None if delta is None else pa.schema(delta.schema().to_arrow()).names
        return known is None or set(self.spec(name).schema.names) <= set(known)

    def read(
        self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Rows of a table; none, with the right columns, if it was never written."""
        spec = self.spec(name)
        schema = pa.schema([spec.schema.field(c) for c in columns]) if columns else spec.schema
        delta = self._open(name)
        if delta is None:
            return schema.empty_table()
        # Arrow's own file system: with Delta's, which is written in Python, Arrow's threads call back into
        # an interpreter that may be ending: 2 of 40 runs with nothing to do aborted so after their last line.
        filesystem, root = self.filesystem()
        folder = pa.fs.SubTreeFileSystem(f"{root}/tables/{spec.name}", filesystem)
        dataset = delta.to_pyarrow_dataset(filesystem=folder)
        if missing := set(schema.names) - set(dataset.schema.names):
            raise InputDataError(
                f"was written by an older raylike: it has no column {', '.join(sorted(missing))}",
                self._uri(name),
                "run its stage again with --force, or start a new workspace",
            )
        return dataset.to_table(columns=schema.names, filter=where, cache_metadata=False).cast(schema)

    def keys(self, name: str) -> set[str]:
        """All values of the table's first key column."""
        key = self.spec(name).key[0]
        return set(self.read(name, [key]).column(key).to_pylist())

    def files(self, name: str) -> list[str]:
        """Paths or URIs of the Parquet files that make up the table's current version."""
        delta = self._open(name)
        return sorted(delta.file_uris()) if delta is not None else []

    def row_groups(self, name: str) -> Iterator[RowGroup]:
        """The row groups of the table's Parquet files, each with its values of the first key column."""
        key = self.spec(name).key[0]
        for file in self.files(name):
            parquet = pq.ParquetFile(self.on_filesystem(file), filesystem=self.filesystem()[0])
            for index in range(parquet.num_row_groups):
                yield RowGroup(file, index, parquet.read_row_group(index, [key])[key].to_pylist())

    def read_row_group(self, file: str, index: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one row group."""
        with pq.ParquetFile(self.on_filesystem(file), filesystem=self.filesystem()[0]) as parquet:
            return parquet.read_row_group(index, list(columns))

    def read_file(self, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One of a table's Parquet files, all of it or some columns."""
        path, filesystem = self.on_filesystem(file), self.filesystem()[0]
        return pq.read_table(path, columns=columns, filesystem=filesystem, partitioning=None)

    def rows(self, name: str) -> int:
        """Number of rows, from the log alone."""
        delta = self._open(name)
        if delta is None:
            return 0
        actions = pa.table(delta.get_add_actions(flatten=True))
        return int(pc.sum(actions.column("num_records")).as_py() or 0)

    def last_commit(self, name: str) -> CommitInfo | None:
        """The provenance of the current version; None if the table was never written."""
        delta = self._open(name)
        return None if delta is None else commits.last_of(delta, self.uri)

    # Writing

    def write(self, name: str, data: pa.Table, commit: Commit) -> None:
        """Replace all rows of a table, atomically."""
        self._write(name, data, commit, "overwrite")

    def append(self, name: str, data: pa.Table, commit: Commit) -> None:
        """Add rows to a table, atomically."""
        self._write(name, data, commit, "append")

    def make(self, spec: TableSpec, commit: Commit) -> None:
        """See to it that a table has these columns. One with others, of an older raylike, loses its rows."""
        delta = self._open(spec.name)
        if delta is None:
            self._create(spec.name, spec)
        elif pa.schema(delta.schema().to_arrow()).names != spec.schema.names:
            with self.write_errors(spec.name):
                write_deltalake(
                    delta, spec.empty(), mode="overwrite", schema_mode="overwrite",
                    commit_properties=self._properties(delta, commit, changes_rows=True),
                )  # fmt: skip

    def part_uri(self, name: str) -> str:
        """A fresh place inside the table's folder for a Parquet part. Makes the table if need be."""
        self._create(name)
        return f"{self._uri(name)}/part-{uuid.uuid4().hex}.parquet"

    def open_part(self, name: str) -> OpenPart:
        """A Parquet part of a table to be written bit by bit, in whichever process has the rows."""
        return OpenPart(self, self.spec(name))

    def write_part(self, name: str, rows: pa.Table) -> Part:
        """Write rows as one Parquet part of a table; not committed yet."""
        part = self.open_part(name)
        part.write(rows)
        return part.close()

    def commit_parts(
        self,
        name: str,
        parts: Sequence[Part],
        commit: Commit,
        *,
        replace_all: bool = False,
        without: Sequence[str] = (),
        same_rows: bool = False,
        other_rows: bool = False,
    ) -> None:
        """Make Parquet parts that workers wrote into rows of the table, atomically.

        Parameters
        ----------
        replace_all : take out all rows that were there
        without : files to take out, as `files` names them
        same_rows : the parts hold what those files held, so that nobody who reads the table need look again
        other_rows : whoever reads the table must look again, whatever is added or taken out
        """
        delta = self._create(name)
        prefix = self._uri(name) + "/"
        now_ms = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                part.path.removeprefix(prefix), part.byte_size, {}, now_ms, not same_rows,
                json.dumps({"numRecords": part.rows}),
            )
            for part in parts
        ]  # fmt: skip
        actions += [RemoveAction(file.removeprefix(prefix), not same_rows, now_ms) for file in without]
        changes_rows = (bool(parts) or replace_all or other_rows) and not same_rows
        with self.write_errors(name):
            delta.create_write_transaction(
                actions,
                "overwrite" if replace_all else "append",
                delta.schema(),
                commit_properties=self._properties(delta, commit, changes_rows=changes_rows),
            )

    def seal(self, name: str, commit: Commit, *, other_rows: bool = False) -> None:
        """Mark a stage as complete without adding a row.

        `other_rows`: those that count are others than before, so that whoever reads the table looks again.
        """
        self.commit_parts(name, [], commit, other_rows=other_rows)

    def vacuum(self) -> list[str]:
        """Delete the Parquet files that no current table refers to, and say which, by path below the root.

        Raises
        ------
        TryAgainLater : if a run is at work here: what it has written is not committed yet
        """
        with self.lock():
            before = self._parquet_files()
            for name in self.names():
                delta = self._open(name)
                if delta is not None:
                    delta.vacuum(
                        retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True
                    )
            return sorted(before - self._parquet_files())

    def _parquet_files(self) -> set[str]:
        filesystem, root = self.filesystem()
        below = pa.fs.FileSelector(f"{root}/tables", recursive=True, allow_not_found=True)
        paths = (info.path for info in filesystem.get_file_info(below) if info.is_file)
        return {path.removeprefix(f"{root}/tables/") for path in paths if path.endswith(".parquet")}

    # Inside

    def _uri(self, name: str) -> str:
        return f"{self.uri}/tables/{name}"

    def _open(self, name: str) -> DeltaTable | None:
        if not name.startswith(FEATURES):
            _spec(name)
        require_credentials(self.uri)
        try:
            return DeltaTable(self._uri(name))
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise InputDataError(
                f"cannot be read: {first_line(error)}", self._uri(name), "restore it, or delete its folder"
            ) from None
        except OSError as error:
            raise self.cannot_read(error) from error

    def _create(self, name: str, spec: TableSpec | None = None) -> DeltaTable:
        delta = self._open(name)
        if delta is None:
            self.make_root()
            with self.write_errors(name):
                spec = spec or _spec(name)
                created = Commit("created", "", complete=False)
                delta = DeltaTable.create(
                    self._uri(name),
                    spec.schema,
                    description=spec.row,
                    commit_properties=commits.properties(created, -1),
                )
        return delta

    def _write(self, name: str, data: pa.Table, commit: Commit, mode: Any) -> None:
        rows = self.spec(name).conform(data)
        delta = self._create(name)
        with self.write_errors(name):
            write_deltalake(
                delta, rows, mode=mode, commit_properties=self._properties(delta, commit, changes_rows=True)
            )

    def _properties(self, delta: DeltaTable, commit: Commit, *, changes_rows: bool) -> CommitProperties:
        self.check_lock()
        before = commits.last_of(delta, self.uri)
        data_version = before.version + 1 if changes_rows else before.data_version
        return commits.properties(commit, data_version)

    @contextmanager
    def write_errors(self, name: str) -> Iterator[None]:
        """What goes wrong while a table is written, as an error that says what to do."""
        try:
            yield
        except CommitFailedError as error:
            raise TryAgainLater(
                "was changed by another process meanwhile",
                self._uri(name),
                "let one run end, then start the next",
            ) from error
        except (DeltaError, OSError) as error:
            raise self.cannot_write(error, self._uri(name)) from error


class OpenPart:
    """A Parquet part that is being written: nobody's rows until it is closed and committed.

    Attributes
    ----------
    rows : written so far
    """

    def __init__(self, workspace: Workspace, spec: TableSpec) -> None:
        self._workspace = workspace
        self._spec = spec
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows, in row groups of their own. The file is made with the first."""
        rows = self._spec.conform(rows)
        if self._writer is None:
            self._uri = self._workspace.part_uri(self._spec.name)
        with self._workspace.write_errors(self._spec.name):
            self._writer = self._writer or self._open()
            self._writer.write_table(rows, self._spec.rows_together(rows.num_rows, rows.nbytes))
        self.rows += rows.num_rows

    def close(self) -> Part:
        """End the file."""
        assert self._writer is not None, "nothing was written"
        filesystem, path = self._workspace.filesystem()[0], self._workspace.on_filesystem(self._uri)
        with self._workspace.write_errors(self._spec.name):
            self._writer.close()
            size = filesystem.get_file_info(path).size
        return Part(self._uri, size, self.rows)

    def _open(self) -> pq.ParquetWriter:
        schema = self._spec.schema
        files = [field.name for field in schema if pa.types.is_large_binary(field.type)]
        plain = [name for name in schema.names if name not in files]
        return pq.ParquetWriter(
            self._workspace.on_filesystem(self._uri),
            schema,
            filesystem=self._workspace.filesystem()[0],
            # Photos are compressed already: to try again, and to look for the least of them, takes a third
            # of the writing.
            compression={**dict.fromkeys(plain, "lz4"), **dict.fromkeys(files, "none")} if files else "lz4",
            write_statistics=plain if files else True,
            use_dictionary=False,  # photos and features never repeat; looking takes ten times the writing
        )


class Table:
    """One table of a workspace, opened where it is needed."""

    def __init__(self, workspace: Workspace, spec: TableSpec) -> None:
        self.workspace = workspace
        self.spec = spec

    def __repr__(self) -> str:
        return f"Table({self.spec.name!r}, rows={self.rows})"

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.workspace.rows(self.spec.name)

    @property
    def version(self) -> int | None:
        """Delta version; None if it was never written."""
        commit = self.workspace.last_commit(self.spec.name)
        return None if commit is None else commit.version

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table."""
        return self.workspace.read(self.spec.name, columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows as a pandas data frame."""
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def to_ray(self, columns: Sequence[str] | None = None) -> ray.data.Dataset:
        """All rows as a Ray data set, read where Ray runs; the table must have been written."""
        from raylike.cluster import read_parquet  # the one door from here to Ray

        files = self.workspace.files(self.spec.name)
        if not files:
            raise InputDataError(
                "has no rows yet", self.spec.name, "`raylike status` says which stage writes it"
            )
        return read_parquet(files, columns)


def _spec(name: str) -> TableSpec:
    try:
        return TABLES[name]
    except KeyError:
        raise ConfigError(f"there is no table {name!r}", "", f"one of: {', '.join(TABLES)}") from None
