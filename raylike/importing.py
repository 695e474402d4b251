"""Photos of your own, with their likes and followers, become the tables `posts` and `users`.

A file of rows is read once. A row that cannot be used is reported with its line and left out; the rest
replaces what was imported before. From `cohort` on, the stages do not see a difference.

Knows the two tables and what a row may hold. Knows nothing of file formats (`row_files.py`), and looks
at no photo: that is the download stage's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median_low
from typing import Any

import pyarrow as pa

from raylike import config
from raylike.commits import Commit
from raylike.errors import ConfigError, InputDataError
from raylike.row_files import open_rows
from raylike.tables import POSTS, USERS
from raylike.workspace import Workspace

STAGE = "import"
PROVIDER = "files"

REQUIRED = ("image", "likes", "followers")
OPTIONAL = ("user_id", "post_id", "created_at", "caption", "tags")
FIELDS = (*REQUIRED, *OPTIONAL)

NOT_KNOWN = datetime.fromtimestamp(0, UTC)
"""`created_at` where the file has none. The photo file's own time would change with every copy, and
could give the label away; one constant for all tells a model nothing."""

MAX_LISTED = 1000
"""Problems kept with their line; all are counted."""

MAX_COUNT = 2**63 - 1
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
LONGEST_NUMBER = 40
"""Characters; Python refuses to read integers of thousands of digits."""

HTTP = ("http://", "https://")
ID_DIGITS = 16


@dataclass(frozen=True)
class Problem:
    """A row that was left out: its line (or row, in Parquet), why, and the value concerned."""

    line: int
    reason: str
    value: str

    def __str__(self) -> str:
        return f"{self.line}: {self.reason}" + (f": {self.value}" if self.value else "")


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    rows_in, posts, users : rows read, rows written
    rejected : reason -> rows left out, most frequent first
    problems : the first `MAX_LISTED` rows left out, in the file's order
    unit : what the problems' numbers count, `line` or `row`
    notes : choices made for the user
    """

    rows_in: int
    posts: int
    users: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    unit: str = "line"
    notes: tuple[str, ...] = ()


class _Unusable(Exception):
    """A row cannot be used; the arguments are the reason, and the value concerned."""


def import_table(
    workspace: Workspace,
    path: Path,
    images: Path | None = None,
    column_map: Mapping[str, str] | None = None,
) -> ImportReport:
    """Read a CSV, JSON Lines or Parquet file into `posts` and `users`, replacing what was imported before.

    A post without `post_id` is named by the SHA-1 of its image's path or address as written, and one
    without `user_id` is an account of its own. Where rows give one account different numbers of
    followers, the (lower) median counts.

    Parameters
    ----------
    images : folder that relative image paths start from; without it the file's own
    column_map : field -> the file's column, where the names differ

    Raises
    ------
    ConfigError : if `column_map` names an unknown field, `images` is no folder, or the workspace holds
        posts of another source
    InputDataError : if the file cannot be read, lacks a column, or has no usable row
    """
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise ConfigError(
            "is no folder", str(folder), "--images names the folder that image paths start from"
        )
    source = open_rows(path)
    columns = _columns(path, source.columns, column_map or {})
    collected = _Posts(folder.absolute(), columns)
    for number, row in source.rows:
        collected.add(number, row)
    if not collected.columns["post_id"]:
        causes = ", ".join(f"{reason} {n}" for reason, n in collected.rejected.most_common()) or "it is empty"
        first = f"{source.unit} {collected.problems[0]}" if collected.problems else ""
        raise InputDataError(f"has no usable row: {causes}", str(path), first)
    with workspace.lock():
        _refuse_collected(workspace)
        users, conflicts = collected.users()
        commit = Commit(STAGE, _fingerprint(path, folder, columns))
        workspace.write("users", users, commit)
        workspace.write("posts", collected.posts(), commit)
    notes = [source.note] if source.note else []
    if conflicts:
        notes.append(f"{conflicts} accounts with different numbers of followers: the median counts")
    return ImportReport(
        rows_in=collected.rows_in,
        posts=len(collected.columns["post_id"]),
        users=users.num_rows,
        rejected=dict(collected.rejected.most_common()),
        problems=tuple(collected.problems),
        unit=source.unit,
        notes=tuple(notes),
    )


def _columns(path: Path, present: tuple[str, ...], column_map: Mapping[str, str]) -> dict[str, str]:
    """Field -> the file's column, for the fields that it has."""
    for name in column_map:
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise ConfigError(
                f"there is no field {name!r}", "--map", _did_you_mean(name, FIELDS, f"one of: {known}")
            )
    by_folded_name = {column.strip().casefold(): column for column in reversed(present)}
    found: dict[str, str] = {}
    for name in FIELDS:
        wanted = column_map.get(name, name)
        column = wanted if wanted in present else by_folded_name.get(wanted.casefold())
        if column is not None:
            found[name] = column
        elif name in REQUIRED or name in column_map:
            hint = f"it has {', '.join(present)}"
            if name not in column_map:
                hint += f"; name the right one with --map {name}=COLUMN"
            raise InputDataError(f"has no column {wanted!r}", str(path), _did_you_mean(wanted, present, hint))
    return found


def _did_you_mean(word: str, known: tuple[str, ...], otherwise: str) -> str:
    hint = config.nearest(word, known)
    return f"{hint} {otherwise}" if hint.startswith("did you mean") else otherwise


def _refuse_collected(workspace: Workspace) -> None:
    last = workspace.last_commit("posts")
    if last is not None and last.stage not in (STAGE, "created"):
        raise ConfigError("holds posts that were collected", workspace.uri, "name another --workspace")


def _fingerprint(path: Path, folder: Path, columns: Mapping[str, str]) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr((str(folder.absolute()), sorted(columns.items()))).encode())
    return digest.hexdigest()[:16]


class _Posts:
    """Usable rows by column, and what was wrong with the others."""

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        self._folder = folder
        self._fields = columns
        self.rows_in = 0
        self.rejected: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in (*FIELDS, "image_url")}
        self._ids: set[str] = set()

    def add(self, number: int, row: Mapping[str, Any] | str) -> None:
        self.rows_in += 1
        try:
            if isinstance(row, str):
                raise _Unusable("unreadable", row)
            post = self._post({name: row.get(column) for name, column in self._fields.items()})
        except _Unusable as fault:
            reason, value = fault.args
            self.rejected[reason] += 1
            if len(self.problems) < MAX_LISTED:
                self.problems.append(Problem(number, reason, _shortened(value)))
            return
        self._ids.add(post["post_id"])
        for name, values in self.columns.items():
            values.append(post[name])

    def posts(self) -> pa.Table:
        n = len(self.columns["post_id"])
        given = {name: self.columns[name] for name in POSTS.schema.names if name in self.columns}
        constant: dict[str, list[Any]] = {"provider": [PROVIDER] * n, "collected_at": [datetime.now(UTC)] * n}
        return _table(POSTS.schema, {**given, **constant}, n)

    def users(self) -> tuple[pa.Table, int]:
        """The accounts, and how many of them came with different numbers of followers."""
        followers: defaultdict[str, list[int]] = defaultdict(list)
        for user_id, count in zip(self.columns["user_id"], self.columns["followers"], strict=True):
            followers[user_id].append(count)
        n = len(followers)
        columns: dict[str, list[Any]] = {
            "user_id": list(followers),
            "followers": [median_low(counts) for counts in followers.values()],
            "looked_up_at": [datetime.now(UTC)] * n,
            "status": ["ok"] * n,
        }
        return _table(USERS.schema, columns, n), sum(len(set(counts)) > 1 for counts in followers.values())

    def _post(self, values: dict[str, Any]) -> dict[str, Any]:
        """A row's values, checked and of their types. Raises `_Unusable`."""
        image = _text(values, "image")
        post_id = _text(values, "post_id") if "post_id" in values else _id_of(image)
        if post_id in self._ids:
            raise _Unusable("duplicate post_id" if "post_id" in values else "duplicate image", post_id)
        likes = _count(values, "likes")
        followers = _count(values, "followers")
        if followers == 0:
            raise _Unusable("zero followers", "")
        return {
            "image": image,
            "image_url": self._place(image),
            "likes": likes,
            "followers": followers,
            "user_id": _text(values, "user_id") if "user_id" in values else post_id,
            "post_id": post_id,
            "created_at": _moment(values.get("created_at")),
            "caption": _optional_text(values.get("caption")),
            "tags": _tags(values.get("tags")),
        }

    def _place(self, image: str) -> str:
        if image.lower().startswith(HTTP):
            return image
        path = os.path.normpath(os.path.join(self._folder, image))  # pathlib is slow, rows may be many
        if not os.path.isfile(path):
            raise _Unusable("no such file", image)
        return path


def _table(schema: pa.Schema, columns: Mapping[str, list[Any]], n: int) -> pa.Table:
    """The columns as a table; those not given are empty."""
    return pa.table([pa.array(columns.get(f.name, [None] * n), f.type) for f in schema], schema=schema)


def _id_of(image: str) -> str:
    return hashlib.sha1(image.encode(errors="replace"), usedforsecurity=False).hexdigest()[:ID_DIGITS]


def _optional_text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _text(values: Mapping[str, Any], name: str) -> str:
    text = _optional_text(values[name])
    if text is None:
        raise _Unusable(f"no {name}", "")
    return text


def _count(values: Mapping[str, Any], name: str) -> int:
    """A whole number, as it stands or as text; 12.0 is one, as pandas writes columns with gaps."""
    value = values[name]
    if type(value) is not int:
        text = _text(values, name)
        if text.lower() == "nan":  # how pandas writes what is missing
            raise _Unusable(f"no {name}", "")
        if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
            raise _Unusable(f"{name} not a number", text)
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
        if isinstance(value, float) and not value.is_integer():  # nor is infinity
            raise _Unusable(f"{name} not a whole number", text)
    if value < 0:
        raise _Unusable(f"{name} negative", str(value))
    if value > MAX_COUNT:
        raise _Unusable(f"{name} not a whole number", "too large")
    return int(value)


def _moment(value: Any) -> datetime:
    """A date from ISO 8601 text, Unix seconds or a timestamp; without a time zone it is UTC."""
    if value is None or value == "":
        return NOT_KNOWN
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, (int, float)) or re.fullmatch(r"\d{9,10}(\.\d+)?", str(value).strip()):
            return datetime.fromtimestamp(float(value), UTC)
        else:
            moment = datetime.fromisoformat(str(value).strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise _Unusable("created_at not a date", str(value)) from None


def _tags(value: Any) -> list[str]:
    """Tags without #, from a list or from a text with blanks, commas or semicolons between them."""
    if value is None:
        return []
    words = (
        [str(tag) for tag in value] if isinstance(value, (list, tuple)) else re.split(r"[\s,;]+", str(value))
    )
    return [tag for word in words if (tag := word.strip().lstrip("#"))]


def _shortened(value: str, limit: int = 80) -> str:
    line = " ".join(value.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
