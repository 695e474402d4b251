"""A table as one Parquet, CSV or JSON Lines file, read and written a batch of rows at a time.

Memory does not grow with the table. A file appears under its name only when it is complete. Knows
Arrow and the workspace. Knows nothing of what the rows mean.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylike.config import nearest
from raylike.errors import CannotWrite, ConfigError, InputDataError
from raylike.workspace import Workspace

FORMATS = ("parquet", "csv", "jsonl")
BATCH_ROWS = 256
"""Photos are about 100 kB a row, features 32 kB: 10-30 MB in memory at a time."""

Batches = Iterator[pa.RecordBatch]


def export_table(workspace: Workspace, name: str, output: Path | None, file_format: str | None = None) -> int:
    """Write all rows of a table to a file, or to stdout where `output` is None.

    Parameters
    ----------
    file_format : parquet, csv or jsonl; None takes it from the file's name

    Returns
    -------
    Number of rows written

    Raises
    ------
    ConfigError : for an unknown table or format
    InputDataError : if the table was never written
    CannotWrite : if the file cannot be written
    """
    known = workspace.names()
    if name not in known:
        raise ConfigError(f"there is no table {name!r}", "", nearest(name, known))
    write = _writer(output, file_format)
    if not workspace.exists(name):
        raise InputDataError(
            f"there is no table {name} yet", workspace.uri, "`raylike status` shows what is there"
        )
    with _destination(output) as file:
        return write(batches(workspace, name), workspace.spec(name).schema, file)


def batches(workspace: Workspace, name: str, rows: int = BATCH_ROWS) -> Batches:
    """Yield a table's rows, at most `rows` at a time, in the order of its files."""
    schema = workspace.spec(name).schema
    filesystem, _ = workspace.filesystem()
    for uri in workspace.files(name):
        path = uri.partition("://")[2] or uri
        with filesystem.open_input_file(path) as source:
            for batch in pq.ParquetFile(source).iter_batches(batch_size=rows, columns=schema.names):
                yield batch.select(schema.names).cast(schema)


def _writer(output: Path | None, file_format: str | None) -> Callable[[Batches, pa.Schema, IO[bytes]], int]:
    chosen = file_format or ("" if output is None else output.suffix.removeprefix("."))
    writers = {"parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_jsonl}
    if chosen not in writers:
        raise ConfigError(
            f"{chosen!r} is no format" if chosen else "which format is not clear from the name",
            str(output or "stdout"),
            f"--format {', '.join(FORMATS)}",
        )
    return writers[chosen]


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes its name only when the block has ended well."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", str(output)) from None
    unfinished = Path(file.name)
    try:
        with file:
            yield file
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(output)
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", str(output)) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_parquet(rows: Batches, schema: pa.Schema, file: IO[bytes]) -> int:
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _write_csv(rows: Batches, schema: pa.Schema, file: IO[bytes]) -> int:
    count = 0
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    table = csv.writer(text)
    table.writerow(schema.names)
    for batch in rows:
        columns = [[_cell(value) for value in column.to_pylist()] for column in batch.columns]
        table.writerows(zip(*columns, strict=True))
        count += batch.num_rows
    text.detach()
    return count


def _write_jsonl(rows: Batches, schema: pa.Schema, file: IO[bytes]) -> int:
    count = 0
    for batch in rows:
        for row in batch.to_pylist():
            file.write(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False).encode() + b"\n")
            count += 1
    return count


def _cell(value: Any) -> Any:
    """A value as CSV holds it: lists as JSON, nothing as an empty cell."""
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _plain(value: Any) -> Any:
    """A value as JSON holds it: bytes as base64, moments as ISO 8601, infinities and NaN as null."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return None
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    return value
