"""Stage collect: the posts of a tag, or of some accounts, paged to the end.

Writes posts. The pages of one timeline follow from one another, so there is no work for a process per
token: requests are sent from here, each with whichever token has budget. Every few pages are committed
together with the places to go on from, so a killed run asks again for one batch of pages at most.

Posts that cannot be used, or that somebody has objected to, are left out and counted by reason. A post
that comes on two pages, as it does when new posts push the rest down, is taken once, as first seen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from actors.outcomes import Credential, Reply
from actors.rotation import Rotation
from raylike import source, tokens
from raylike.config import SourceSettings
from raylike.errors import InputDataError
from raylike.event_loop import run_to_end
from raylike.forecast import TYPICAL_LATENCY_S, forecast, items_per_hour
from raylike.providers import Connection
from raylike.providers.base import ALWAYS_HONOURED, Objection, Page, Post, Provider, walk
from raylike.stage import StageContext, StageReport
from raylike.tables import POSTS

PAGES_PER_COMMIT = 30
"""About 1000 posts: a commit takes tens of milliseconds, thirty pages take seconds."""

MOST_TIMELINES = 64
"""Read at the same time, whatever the number of tokens."""

NAMES_SHOWN = 10
"""Of accounts that could not be read."""

VIDEO = "not an image"
NO_LIKES = "no like count"
TOO_YOUNG = "too young"
DUPLICATE = "seen before"
MALFORMED = "malformed"
OFF_TOPIC = "without the tag"


def run(context: StageContext) -> StageReport:
    """Write posts; the report's `skipped` counts what was left out, by reason.

    Raises
    ------
    InputDataError : if there is no post that can be used
    ServiceUnavailable : if the network refuses the question, or does not answer as it should
    CredentialsError : if there is no token that it accepts
    TryAgainLater : if all tokens are used up and `collect.wait` is off
    """
    credentials = tokens.load(context.settings.source)
    return run_to_end(_collect(context, credentials))


async def _collect(context: StageContext, credentials: Sequence[Credential]) -> StageReport:
    settings = context.settings
    taken = _Taken.resumed(context) if context.resume else _Taken.afresh(context)
    if not taken.finished:
        async with Connection(source.endpoint(settings)) as connection:
            try:
                with source.explained(settings):
                    await _read_all(context, credentials, connection.provider, taken)
            finally:
                if taken.rows:
                    taken.commit()
    asked_for = _asked_for(settings.source)
    if not taken.ids:
        left_out = ", ".join(f"{n} {reason}" for reason, n in taken.skipped.items()) or "it is empty"
        raise InputDataError(f"has no post that can be used: {left_out}", asked_for, "try another tag")
    context.workspace.seal("posts", context.commit.with_state(taken.state()))
    skipped = dict(sorted(taken.skipped.items()))
    return StageReport(
        rows_in=len(taken.ids) + sum(skipped.values()),
        rows_out=len(taken.ids),
        skipped=skipped,
        notes=(f"{taken.pages} pages of {asked_for}", *_unreadable(sorted(taken.unreadable))),
    )


def _asked_for(source: SourceSettings) -> str:
    """What the network was asked for, in words."""
    n = len(source.accounts)
    by = f" by {n} account{'s' if n > 1 else ''}" if n else ""
    return f"#{source.tag}{by}"


def _unreadable(names: Sequence[str]) -> Iterator[str]:
    """Say which accounts brought nothing because the network does not show them, or does not know them."""
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        yield f"not found, or not shown: {', '.join(names[:NAMES_SHOWN])}{more}"


async def _read_all(
    context: StageContext, credentials: Sequence[Credential], provider: Provider, taken: _Taken
) -> None:
    """Read every timeline to its end, several at a time where there are several."""
    settings = context.settings
    query = source.query(settings)
    size = settings.collect.page_size or provider.page_size
    rotation = Rotation(
        credentials,
        provider.page_limits,
        settings.collect.in_flight,
        wait=settings.collect.wait,
        say=context.progress.note,
    )
    timelines = _Timelines(provider.starts(query), taken)

    at_once = min(len(timelines.starts), len(credentials) * settings.collect.in_flight, MOST_TIMELINES)
    context.progress.note(_expected(context, provider, len(credentials), size, at_once))

    async def fetch(cursor: str | None) -> Page:
        async def send(credential: Credential) -> Reply[Page]:
            return await provider.page(credential, query, cursor, size)

        return await rotation.call(send)

    async def read_some() -> None:
        while (timeline := timelines.take()) is not None:
            index, cursor = timeline
            async for page in walk(fetch, cursor):
                taken.add(page, index)
                context.progress.advance(len(page.posts))
                if taken.is_full:
                    return
                if taken.pages % PAGES_PER_COMMIT == 0:
                    taken.commit()

    readers = [asyncio.create_task(read_some()) for _ in range(at_once)]
    try:
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
    taken.finished = True


def _expected(context: StageContext, provider: Provider, n_tokens: int, size: int, at_once: int) -> str:
    """What the pages will take, as far as it can be known before they are read."""
    settings = context.settings
    limits, in_flight = provider.page_limits, settings.collect.in_flight
    asked_for = _asked_for(settings.source)
    if n_accounts := len(settings.source.accounts):
        expected = forecast(n_accounts, 1, n_tokens, limits, in_flight, at_once)
        return f"{asked_for}: {expected}, more if they have older posts"
    if most := settings.collect.max_posts:
        expected = forecast(most, size, n_tokens, limits, in_flight, at_once)
        return f"{asked_for}, {most:,} posts: {expected}, more if some cannot be used"
    per_hour = items_per_hour(size, n_tokens, limits, at_once)
    return f"{asked_for}: {size} posts a hit, {per_hour:,} an hour at {TYPICAL_LATENCY_S:g} s a hit at most"


class _Timelines:
    """Which timeline is read next: first those that an earlier run left open, then the untouched."""

    def __init__(self, starts: Sequence[str | None], taken: _Taken) -> None:
        self.starts = starts
        self._taken = taken
        self._left_open = list(taken.open.items())

    def take(self) -> tuple[int, str | None] | None:
        """The number of a timeline and the cursor to read it from; None if there is none left."""
        if self._left_open:
            return self._left_open.pop(0)
        index = self._taken.begun
        if index >= len(self.starts):
            return None
        self._taken.begun += 1
        self._taken.open[index] = self.starts[index]
        return index, self.starts[index]


@dataclass
class _Taken:
    """What has been read so far, and where to go on.

    Attributes
    ----------
    ids : of the posts taken, committed or not
    begun : timelines of which at least the first page was asked for
    open : of these, those not read to the end: number -> cursor of the next page
    unreadable : names of accounts that the network does not show
    rows : taken since the last commit
    """

    context: StageContext
    as_of: datetime
    ids: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    begun: int = 0
    open: dict[int, str | None] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    finished: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    replaces: bool = True

    @classmethod
    def afresh(cls, context: StageContext) -> _Taken:
        return cls(context, context.settings.collect.as_of or datetime.now(UTC))

    @classmethod
    def resumed(cls, context: StageContext) -> _Taken:
        """Go on from the last commit; ages are counted from the same moment as before."""
        last = context.workspace.last_commit("posts")
        state: Mapping[str, Any] = last.state if last is not None else {}
        if not state:
            return cls.afresh(context)
        return cls(
            context,
            datetime.fromisoformat(state["as_of"]),
            context.workspace.keys("posts"),
            Counter(state["skipped"]),
            state["pages"],
            state["begun"],
            {int(index): cursor for index, cursor in state["open"].items()},
            state["unreadable"],
            state["finished"],
            replaces=False,
        )

    @property
    def is_full(self) -> bool:
        """Whether there are as many posts as are wanted."""
        return len(self.ids) == self.context.settings.collect.max_posts

    def state(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "skipped": dict(sorted(self.skipped.items())),
            "pages": self.pages,
            "begun": self.begun,
            "open": {str(index): cursor for index, cursor in self.open.items()},
            "unreadable": self.unreadable,
            "finished": self.finished,
        }

    def add(self, page: Page, timeline: int) -> None:
        """Take what can be used of a page of a timeline, and note where that goes on."""
        settings = self.context.settings.collect
        youngest = self.as_of - timedelta(days=settings.min_age_days)
        honoured = ALWAYS_HONOURED | {Objection[name.upper()] for name in settings.also_honour}
        collected_at = datetime.now(UTC)
        self.skipped += Counter({MALFORMED: page.malformed, OFF_TOPIC: page.off_topic})
        if page.unreadable is not None:
            self.unreadable.append(page.unreadable)
        for post in page.posts:
            if self.is_full:
                break
            if reason := self._unusable(post, youngest, honoured):
                self.skipped[reason] += 1
            else:
                self.ids.add(post.post_id)
                self.rows.append(_row(post, self.context.settings.source.name, collected_at))
        self.pages += 1
        if page.cursor is None:
            del self.open[timeline]
        else:
            self.open[timeline] = page.cursor

    def commit(self) -> None:
        """Write what was taken since the last time."""
        commit = self.context.commit.partial(self.state())
        rows = pa.Table.from_pylist(self.rows, POSTS.schema)
        if self.replaces:
            self.context.workspace.write("posts", rows, commit)
        else:
            self.context.workspace.append("posts", rows, commit)
        self.replaces = False
        self.rows = []

    def _unusable(self, post: Post, youngest: datetime, honoured: frozenset[Objection]) -> str:
        if objections := post.objections & honoured:
            return min(objections)  # one reason a post: the first in the alphabet
        if post.kind != "image":
            return VIDEO
        if post.likes is None:
            return NO_LIKES
        if post.created_at > youngest:
            return TOO_YOUNG
        # Last, so that a post counts the same whether or not a run was interrupted before it.
        return DUPLICATE if post.post_id in self.ids else ""


def _row(post: Post, provider: str, collected_at: datetime) -> dict[str, Any]:
    told = {name: value for name, value in asdict(post).items() if name in POSTS.schema.names}
    return {**told, "tags": list(post.tags), "provider": provider, "collected_at": collected_at}
