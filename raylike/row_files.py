"""Rows of a CSV, JSON Lines or Parquet file, each with its number in the file.

What is wrong with a single row is said of that row and stops nothing. Streams: a file of any length
takes the memory of a batch. Knows files. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylike.errors import ConfigError, InputDataError

Row = tuple[int, dict[str, Any] | str]
"""Number of the row and its values by column, or what is wrong with it."""

CHUNK_BYTES = 2**20
PARQUET_BATCH = 10_000
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DELIMITERS = ",;\t"
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class RowFile:
    """An opened file.

    Attributes
    ----------
    columns : names of the columns; of JSON Lines, those of the first object
    unit : what rows are counted in: lines, or for Parquet rows
    note : a choice made in reading, for the user; empty if there was none
    rows : the rows, to be read once
    """

    columns: tuple[str, ...]
    unit: str
    note: str
    rows: Iterator[Row]


def open_rows(path: Path) -> RowFile:
    """Open a file by its suffix.

    Raises
    ------
    ConfigError : for an unknown suffix
    InputDataError : if the file cannot be read, or has no header
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ConfigError("is of an unknown kind", str(path), f"known are {', '.join(SUFFIXES)}")
    try:
        if kind == "parquet":
            return _parquet(path)
        encoding, note = _encoding(path)
        return _csv(path, encoding, note) if kind == "csv" else _jsonl(path, encoding, note)
    except OSError as error:
        raise InputDataError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except pa.ArrowException as error:
        raise InputDataError(f"is not valid Parquet: {str(error).splitlines()[0]}", str(path)) from None


def _encoding(path: Path) -> tuple[str, str]:
    """The text's encoding by its byte order mark, else UTF-8 if it is that, else what Excel writes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding, ""
        file.seek(0)
        try:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252", f"{path.name} is not UTF-8; read as Windows-1252"
    return "utf-8", ""


def _csv(path: Path, encoding: str, note: str) -> RowFile:
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        first = file.readline()
    delimiter = max(DELIMITERS, key=first.count)  # a comma if there is none of them
    records = _csv_records(path, encoding, delimiter)
    _, header = next(records, (0, None))
    if not isinstance(header, list):
        raise InputDataError("has no header line", str(path), "its first line must name the columns")
    columns = tuple(name.strip() for name in header)

    def rows() -> Iterator[Row]:
        for number, record in records:
            if isinstance(record, str):
                yield number, record
            elif len(record) != len(columns):
                yield number, f"{len(record)} values for {len(columns)} columns"
            else:
                yield number, dict(zip(columns, record, strict=True))

    return RowFile(columns, "line", note, rows())


def _csv_records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Records with the number of the line that they begin in: quoted values may hold line breaks."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        while True:
            number = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, f"not CSV: {error}"
                continue
            if any(record):
                yield number, record


def _jsonl(path: Path, encoding: str, note: str) -> RowFile:
    def rows() -> Iterator[Row]:
        with path.open(encoding=encoding, errors="replace") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _json_object(line)

    columns = next((tuple(row) for _, row in rows() if isinstance(row, dict)), None)
    if columns is None:
        raise InputDataError(
            "holds no JSON object", str(path), 'each line must be one, such as {"image": ...}'
        )
    return RowFile(columns, "line", note, rows())


def _json_object(line: str) -> dict[str, Any] | str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return "not JSON"
    return value if isinstance(value, dict) else "not a JSON object"


def _parquet(path: Path) -> RowFile:
    file = pq.ParquetFile(path)

    def rows() -> Iterator[Row]:
        number = 0
        for batch in file.iter_batches(PARQUET_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row

    return RowFile(tuple(file.schema_arrow.names), "row", "", rows())
