"""Collecting again: the likes of known posts as they are now, and the history of how they came to be.

Not one of the stages in order; `raylike collect --refresh` asks for it. Every reading of a post becomes a
row of `readings`, the first one included; `posts` then holds the latest. Posts that are gone keep what was
last read of them. What depends on likes is stale afterwards, and the next run does it again.

A refresh that was interrupted goes on with the posts that it has not read yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.outcomes import Credential, Reply
from actors.rotation import Rotation
from raylike import source, tokens
from raylike.errors import ConfigError, InputDataError
from raylike.event_loop import run_to_end
from raylike.forecast import forecast
from raylike.providers import Connection
from raylike.providers.base import Reading
from raylike.stage import StageContext, StageReport
from raylike.tables import POSTS, READINGS
from raylike.workspace import Commit

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
    if todo:
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
    known = context.workspace.keys("readings")
    first = posts.filter(
        pc.invert(pc.is_in(posts["post_id"], value_set=pa.array(sorted(known), pa.string())))
    )
    rows = first.select(["post_id", "collected_at", *COUNTS]).append_column(
        "status", pa.array(["ok"] * first.num_rows, pa.string())
    )
    context.workspace.append("readings", rows, _partial(context, begun_at))
    return begun_at


def _unread(context: StageContext, posts: pa.Table, begun_at: datetime) -> list[str]:
    read = context.workspace.read("readings", ["post_id"], where=pc.field("collected_at") >= begun_at)
    unread = posts.filter(pc.invert(pc.is_in(posts["post_id"], value_set=read["post_id"].combine_chunks())))
    ids: list[str] = unread["post_id"].to_pylist()
    return ids


async def _read(
    context: StageContext,
    credentials: Sequence[Credential],
    post_ids: Iterable[str],
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
    ok = fresh.filter(pc.and_(pc.equal(fresh["status"], "ok"), pc.is_valid(fresh["likes"])))
    columns = {name: ok[name].to_pylist() for name in ("post_id", "collected_at", *COUNTS)}
    latest = {
        post_id: {"collected_at": moment, "likes": likes, "comments": comments}
        for post_id, moment, likes, comments in zip(*columns.values(), strict=True)
    }
    before = posts.to_pylist()
    changed = sum(latest.get(row["post_id"], row)["likes"] != row["likes"] for row in before)
    rows = pa.Table.from_pylist([{**row, **latest.get(row["post_id"], {})} for row in before], POSTS.schema)
    last = workspace.last_commit("posts")
    assert last is not None  # there are posts
    workspace.write("posts", rows, last.again_in(context.commit.run))
    workspace.seal("readings", context.commit)
    gone = posts.num_rows - len(latest)
    return StageReport(
        posts.num_rows,
        len(latest),
        failed={"gone": gone} if gone else {},
        notes=(f"likes of {changed:,} posts have changed; `raylike run-all` takes them into account",),
    )


def _batches(post_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(post_ids)
    while batch := list(islice(rest, size)):
        yield batch


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
