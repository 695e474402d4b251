"""Stage download: the photos of the cohort, from wherever their posts say, into `images`.

Downloader actors fetch and check photos and write them as Parquet parts; the driver commits the parts and
never sees a photo. A photo that cannot be had, or is none, is a row with the reason. Nothing is decoded
here: whether all of a photo can be is found out by those who look at it (`faces.py`).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.downloads import DownloadOptions, WorkerDied, download
from actors.lanes import Traffic
from actors.outcomes import RateLimited, Transient
from actors.paced import Backoff
from raylike import cluster, connections, descriptors, fetching
from raylike.causes import ALL, OK, failure_table
from raylike.commits import Part
from raylike.config import DownloadSettings, SourceSettings
from raylike.descriptors import DescriptorPlan
from raylike.errors import InputDataError, ServiceUnavailable, StageError
from raylike.fetching import FetchLimits, PassingFault, Rejected
from raylike.replacing import Replacement
from raylike.robots import Robots
from raylike.sizing import DOWNLOADER_CPUS, plan_downloaders
from raylike.stage import StageContext, StageReport
from raylike.tables import IMAGES
from raylike.vision import inspection
from raylike.workspace import Workspace

READERS = 2
"""Threads of an actor that read local files and hash large ones, while the event loop runs."""

LARGE_BYTES = 2**20
"""Files from here on are checked in a thread: a millisecond for each; for smaller ones it costs more than
the check itself (0.05 ms for 66 kB)."""

ROWS_AT_ONCE = 10_000
"""Held as Python objects when all photos are gone through."""

LOCAL = "local files"

UNREACHABLE = frozenset(
    {"connection", "timeout", "http_error", "rate_limited", "refused_address", "robots_unreachable"}
)
"""Failures that say something of the network rather than of the photo."""


@dataclass(frozen=True)
class Photo:
    """What to fetch: an address, or for imported posts a path."""

    post_id: str
    place: str
    is_file: bool


class Photos:
    """Photos to fetch, in the columns of an Arrow table: a hundred bytes each, with a million of them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, place: int) -> Photo:
        return Photo(*(column[place].as_py() for column in self._table.columns))

    def __iter__(self) -> Iterator[Photo]:
        for batch in self._table.to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from map(Photo, *(column.to_pylist() for column in batch.columns))

    @property
    def post_ids(self) -> pa.ChunkedArray:
        """Their ids, in order."""
        return self._table["post_id"]

    def take(self, places: npt.NDArray[np.int64]) -> Photos:
        """Those at some places, in that order."""
        return Photos(self._table.take(places).combine_chunks())

    def without(self, post_ids: pa.ChunkedArray) -> Photos:
        """All but those of some posts."""
        return Photos(self._table.filter(pc.invert(pc.is_in(self.post_ids, value_set=post_ids))))


def lane_of(photo: Photo) -> str:
    """The host that a photo is asked of, in one word."""
    if photo.is_file:
        return LOCAL
    try:
        return urlsplit(photo.place).netloc.lower()
    except ValueError:
        return ""


class PhotoJob:
    """What a downloader actor does with photos. Opened inside the actor."""

    def __init__(
        self, workspace: Workspace, settings: DownloadSettings, resolve: dict[str, str], allow_private: bool
    ) -> None:
        self._workspace = workspace
        self._settings = settings
        self._resolve = resolve
        self._allow_private = allow_private
        self._limits = FetchLimits(settings.max_bytes, settings.timeout_s, settings.max_redirects)
        self._accepted = inspection.Limits(settings.max_pixels, settings.min_side_px)

    async def __aenter__(self) -> PhotoJob:
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        room = descriptors.plan(self._settings.in_flight, descriptors.hard_limit())
        descriptors.allow(room.descriptors)
        self._session = fetching.open_session(
            connections.connector(self._resolve, allow_private=self._allow_private, limit=room.in_flight)
        )
        self._robots = Robots(self._session) if self._settings.honour_robots else None
        self._part = self._workspace.open_part("images")
        self._failures: list[dict[str, Any]] = []
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._robots is not None:
            await self._robots.close()
        await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def lane(self, item: Photo) -> str:
        """The host to ask."""
        return lane_of(item)

    async def fetch(self, item: Photo) -> dict[str, Any]:
        """The photo's row of `images`. Raises `PassingFault` or `RateLimited`."""
        loop = asyncio.get_running_loop()
        try:
            if item.is_file:
                data = await loop.run_in_executor(self._threads, _read, item.place, self._limits.max_bytes)
            else:
                data = await fetching.fetch(self._session, item.place, self._limits, self._robots)
        except Rejected as rejected:
            return _row(item, rejected.status, rejected.error)
        if len(data) < LARGE_BYTES:
            found = inspection.inspect(data, self._accepted)
        else:
            found = await loop.run_in_executor(self._threads, inspection.inspect, data, self._accepted)
        header = found.header
        return {
            **_row(item, found.status, found.error),
            "bytes": data if found.status == OK else None,
            "byte_size": len(data),
            "sha256": found.sha256,
            "format": header.format if header else None,
            "width": header.width if header else None,
            "height": header.height if header else None,
        }

    def give_up(self, item: Photo, trouble: Transient | RateLimited) -> dict[str, Any]:
        """The row of a photo for which every try failed."""
        if isinstance(trouble, PassingFault):
            return _row(item, trouble.status, trouble.error)
        return _row(item, "rate_limited", str(trouble))

    def status(self, row: dict[str, Any]) -> str:
        """`ok`, or the kind of failure."""
        return str(row["status"])

    def size(self, row: dict[str, Any]) -> int:
        """Bytes held."""
        return len(row["bytes"] or b"")

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows to the part under way. Failures wait for one of their own, so that trying them again
        rewrites no photo."""
        rows.sort(key=lambda row: str(row["post_id"]))
        self._failures += [row for row in rows if row["status"] != OK]
        if photos := [row for row in rows if row["status"] == OK]:
            self._part.write(_table(photos))

    def finish_part(self) -> list[Part]:
        """Parts of `images`, which count once the driver has committed them."""
        parts = [self._part.close()] if self._part.rows else []
        parts += [self._workspace.write_part("images", _table(self._failures))] if self._failures else []
        self._part, self._failures = self._workspace.open_part("images"), []
        return parts


def run(context: StageContext) -> StageReport:
    """Fetch the photos of the cohort that are not there yet."""
    workspace, settings = context.workspace, context.settings
    wanted = _wanted(workspace)
    if not context.resume or not workspace.exists("images"):  # processes must not race to make it
        workspace.write("images", IMAGES.empty(), context.commit.partial())
    again = _failed(workspace, context.retry) if context.retry else set()
    todo = wanted.without(_done(workspace, again))
    context.progress.expect(len(todo), "photos")
    limit = descriptors.hard_limit()
    room = descriptors.plan(settings.download.in_flight, limit)
    actors = settings.download.actors or plan_downloaders(len(todo), cluster.cpus())
    if todo:
        context.progress.note(_plan(settings.download, actors, room, limit))
    images = Replacement(workspace, "images", again, context.commit.partial())
    try:
        for batch in download(
            _job_factory(workspace, settings.download, settings.source),
            todo,
            _options(settings.download, actors, room),
            lane_of,
        ):
            if batch.stored:
                images.commit(batch.stored, todo.post_ids.take(batch.done), context.commit.partial())
            fetched = sum(batch.counts.values())
            context.progress.advance(fetched, failed=fetched - batch.counts.get(OK, 0))
    except WorkerDied as died:
        name, reason = died.args
        raise StageError(
            f"{name} died too often: {reason}", "download", "run again: what is there is kept"
        ) from None
    report = _report(workspace, wanted)
    _refuse_all_failed(context, report)
    workspace.seal("images", context.commit)
    return report


def _wanted(workspace: Workspace) -> Photos:
    """The photos of the posts that the cohort keeps, in order of their ids."""
    kept = workspace.read("cohort", ["post_id"], where=pc.field("kept"))["post_id"].combine_chunks()
    posts = workspace.read("posts", ["post_id", "provider", "image_url"])
    posts = posts.filter(pc.is_in(posts["post_id"], value_set=kept)).sort_by("post_id")
    # A path is opened only where the user gave it: anybody could post an `image_url` of /etc/passwd.
    is_web = pc.match_substring_regex(posts["image_url"], r"(?i)^\s*https?:")
    is_file = pc.and_(pc.equal(posts["provider"], "files"), pc.invert(is_web))
    return Photos(pa.table({"post_id": posts["post_id"], "place": posts["image_url"], "is_file": is_file}))


def _failed(workspace: Workspace, cause: str) -> set[str]:
    """The photos that could not be had, for this cause."""
    status = pc.field("status")
    where = status != OK if cause == ALL else status == cause
    return set(workspace.read("images", ["post_id"], where=where)["post_id"].to_pylist())


def _done(workspace: Workspace, again: set[str]) -> pa.ChunkedArray:
    """The photos that have a row, but for those to be tried again."""
    there = workspace.read("images", ["post_id"])["post_id"]
    return there.filter(pc.invert(pc.is_in(there, value_set=pa.array(sorted(again), pa.string()))))


def _job_factory(
    workspace: Workspace, settings: DownloadSettings, source: SourceSettings
) -> partial[PhotoJob]:
    """Builds the job in each actor. Takes of the source what is no secret."""
    return partial(PhotoJob, workspace, settings, dict(source.resolve), source.allow_private_addresses)


def _options(settings: DownloadSettings, actors: int, room: DescriptorPlan) -> DownloadOptions:
    return DownloadOptions(
        actors=actors,
        traffic=Traffic(
            in_flight=room.in_flight,
            per_lane=settings.per_host,
            backoff=Backoff(attempts=settings.attempts),
        ),
        part_rows=settings.commit_every,
        cpus=DOWNLOADER_CPUS,
    )


def _plan(settings: DownloadSettings, actors: int, room: DescriptorPlan, limit: int) -> str:
    """What is going to run, in a line; with the limit on descriptors if less fits into it than was wanted."""
    processes = f"{actors} process{'es' if actors > 1 else ''}"
    per_host = min(settings.per_host, room.in_flight)
    text = (
        f"download: {processes}, {room.in_flight} at once in each, {per_host} from one host; at most "
        f"{room.connections} connections and {room.descriptors} descriptors in each"
    )
    if room.in_flight < settings.in_flight:
        text += (
            f" (download.in_flight = {settings.in_flight} does not fit into the limit of {limit}: ulimit -Hn)"
        )
    return text


def _report(workspace: Workspace, wanted: Photos) -> StageReport:
    rows = workspace.read("images", ["post_id", "status", "byte_size"])
    rows = rows.filter(pc.is_in(rows["post_id"], value_set=wanted.post_ids))
    failed = Counter(
        {count["values"]: count["counts"] for count in pc.value_counts(rows["status"]).to_pylist()}
    )
    ok = failed.pop(OK, 0)
    megabytes = (pc.sum(rows["byte_size"]).as_py() or 0) / 1e6
    return StageReport(
        rows_in=len(wanted),
        rows_out=rows.num_rows,
        failed=dict(failed.most_common()),
        notes=(f"{ok} of {len(wanted)} photos, {megabytes:.0f} MB", *failure_table(failed)),
    )


def _refuse_all_failed(context: StageContext, report: StageReport) -> None:
    """Raise if there is not one photo; then the next run shall try them all again."""
    failures = sum(report.failed.values())
    if not report.rows_in or failures < report.rows_in:
        return
    context.workspace.write("images", IMAGES.empty(), context.commit.partial())
    causes = ", ".join(f"{cause} {n}" for cause, n in report.failed.items())
    what = f"none of {report.rows_in} photos can be used: {causes}"
    if set(report.failed) <= UNREACHABLE:
        raise ServiceUnavailable(what, "download", "is the network up? then run again")
    raise InputDataError(what, "download", "are these addresses and paths of photos?")


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    # Column by column: `Table.from_pylist` takes as long for the bytes as fetching and checking them.
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in IMAGES.schema]
    return pa.table(columns, schema=IMAGES.schema)


def _row(photo: Photo, status: str, error: str | None) -> dict[str, Any]:
    """A row of `images` without a photo in it."""
    return {
        "post_id": photo.post_id,
        "bytes": None,
        "byte_size": 0,
        "fetched_at": datetime.now(UTC),
        "status": status,
        "error": error,
    }


def _read(path: str, max_bytes: int) -> bytes:
    """Read an ordinary file. Raises `Rejected`."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise Rejected("not_an_image", "no ordinary file")
            data = stream.read(max_bytes + 1)
    except FileNotFoundError:
        raise Rejected("gone", "no such file") from None
    except (OSError, ValueError) as error:
        raise Rejected("unreadable", str(error)) from None
    if len(data) > max_bytes:
        raise Rejected("too_large", f"more than {max_bytes} bytes")
    return data
