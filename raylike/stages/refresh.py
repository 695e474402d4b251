"""Collecting again: the likes of known posts as they are now, and the history of how they came to be.

Not one of the stages in order; `raylike collect --refresh` asks for it. Every reading of a post becomes a
row of `readings`, the first one included; `posts` then holds the latest. Posts that are gone keep what was
last read of them. What depends on likes is stale afterwards, and the next run does it again.

A refresh that was interrupted goes on with the posts that it has not read yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.outcomes import Credential, Reply
from actors.rotation import Rotation
from raylike import source, tokens
from raylike.commits import Commit
from raylike.errors import ConfigError, InputDataError
from raylike.event_loop import run_to_end
from raylike.forecast import forecast
from raylike.providers import Connection
from raylike.providers.base import Reading
from raylike.stage import StageContext, StageReport
from raylike.tables import POSTS, READINGS

COMMIT_EVERY_S = 5.0
COUNTS = ("likes", "comments")


def run(context: StageContext) -> StageReport:
    """Read the likes of all posts again; the report's `failed` counts posts that are gone.

    Raises
    ------
    InputDataError : if there are no posts
    ConfigError : if the network cannot show known posts
    ServiceUnavailable, CredentialsError, TryAgainLater : as in collect
    """
    workspace, settings = context.workspace, context.settings
    size = source.network(settings).reading_size
    if not size:
        raise ConfigError(
            f"{settings.source.name} cannot show known posts again",
            "",
            "raylike collect --force collect reads all anew",
        )
    posts = workspace.read("posts")
    if not posts.num_rows:
        raise InputDataError("there are no posts to read again", "posts", "first: raylike collect")
    begun_at = _begin(context, posts)
    todo = _unread(context, posts, begun_at)
    context.progress.expect(posts.num_rows, "posts")
    context.progress.advance(posts.num_rows - len(todo))
    if len(todo):
        credentials = tokens.load(settings.source)
        expected = forecast(
            len(todo), size, len(credentials), source.limits(settings), settings.collect.in_flight
        )
        context.progress.note(f"{len(todo):,} posts to read again: {expected}")
        with source.explained(settings):
            run_to_end(_read(context, credentials, todo, begun_at, size))
    return _finish(context, posts, begun_at)


def _begin(context: StageContext, posts: pa.Table) -> datetime:
    """When this refresh began: now, or when the one began that was interrupted."""
    last = context.workspace.last_commit("readings")
    if last is not None and not last.complete and last.stage == context.commit.stage and last.state:
        return datetime.fromisoformat(last.state["begun_at"])
    begun_at = datetime.now(UTC)
    first = _without(posts, context.workspace.read("readings", ["post_id"]))
    rows = first.select(["post_id", "collected_at", *COUNTS]).append_column(
        "status", pa.array(["ok"] * first.num_rows, pa.string())
    )
    context.workspace.append("readings", rows, _partial(context, begun_at))
    return begun_at


def _unread(context: StageContext, posts: pa.Table, begun_at: datetime) -> pa.ChunkedArray:
    """Ids of the posts that this refresh has still to read."""
    read = context.workspace.read("readings", ["post_id"], where=pc.field("collected_at") >= begun_at)
    return _without(posts, read)["post_id"]


def _without(posts: pa.Table, others: pa.Table) -> pa.Table:
    """The posts whose ids are not among others."""
    return posts.filter(pc.invert(pc.is_in(posts["post_id"], value_set=others["post_id"].combine_chunks())))


async def _read(
    context: StageContext,
    credentials: Sequence[Credential],
    post_ids: pa.ChunkedArray,
    begun_at: datetime,
    size: int,
) -> None:
    """Ask for the posts, some a hit, with all tokens at once; write down every few seconds what came."""
    settings = context.settings
    rows: list[dict[str, Any]] = []
    committed_at = time.monotonic()

    def commit() -> None:
        nonlocal rows, committed_at
        if rows:
            context.workspace.append(
                "readings", pa.Table.from_pylist(rows, READINGS.schema), _partial(context, begun_at)
            )
        rows, committed_at = [], time.monotonic()

    async with Connection(source.endpoint(settings)) as connection:
        provider = connection.provider
        rotation = Rotation(
            credentials,
            provider.limits,
            settings.collect.in_flight,
            wait=settings.collect.wait,
            say=context.progress.note,
        )
        batches = _batches(post_ids, size)

        async def read_some() -> None:
            for batch in batches:

                async def send(credential: Credential, batch: list[str] = batch) -> Reply[list[Reading]]:
                    return await provider.readings(credential, batch)

                readings = await rotation.call(send)
                moment = datetime.now(UTC)
                rows.extend(_row(reading, moment) for reading in readings)
                context.progress.advance(len(readings))
                if time.monotonic() - committed_at >= COMMIT_EVERY_S:
                    commit()

        readers = [
            asyncio.create_task(read_some()) for _ in range(len(credentials) * settings.collect.in_flight)
        ]
        try:
            await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()
            commit()


def _finish(context: StageContext, posts: pa.Table, begun_at: datetime) -> StageReport:
    """Put the latest counts into `posts`, whose provenance stays that of collect."""
    workspace = context.workspace
    fresh = workspace.read("readings", where=pc.field("collected_at") >= begun_at)
    shown = fresh.filter(pc.and_(pc.equal(fresh["status"], "ok"), pc.is_valid(fresh["likes"])))
    rows = _updated(posts, shown.combine_chunks())
    changed = pc.sum(pc.not_equal(rows["likes"], posts["likes"])).as_py()
    last = workspace.last_commit("posts")
    assert last is not None  # there are posts
    workspace.write("posts", rows, last.again_in(context.commit.run))
    workspace.seal("readings", context.commit)
    gone = posts.num_rows - shown.num_rows
    return StageReport(
        posts.num_rows,
        shown.num_rows,
        failed={"gone": gone} if gone else {},
        notes=(f"likes of {changed:,} posts have changed; `raylike run-all` takes them into account",),
    )


def _updated(posts: pa.Table, readings: pa.Table) -> pa.Table:
    """Posts with the counts of their reading, where there is one; at most one a post."""
    place = pc.index_in(posts["post_id"], value_set=readings["post_id"])
    for name in ("collected_at", *COUNTS):
        column = pc.if_else(pc.is_valid(place), readings[name].take(place), posts[name])
        posts = posts.set_column(posts.schema.get_field_index(name), POSTS.schema.field(name), column)
    return posts


def _batches(post_ids: pa.ChunkedArray, size: int) -> Iterator[list[str]]:
    for start in range(0, len(post_ids), size):
        yield post_ids.slice(start, size).to_pylist()


def _partial(context: StageContext, begun_at: datetime) -> Commit:
    return context.commit.partial({"begun_at": begun_at.isoformat()})


def _row(reading: Reading, moment: datetime) -> dict[str, Any]:
    return {
        "post_id": reading.post_id,
        "collected_at": moment,
        "likes": reading.likes,
        "comments": reading.comments,
        "status": reading.status,
    }
