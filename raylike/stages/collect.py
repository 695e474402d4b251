"""Stage collect: posts of a tag, paged to the end.

Writes posts. Pages follow from one another, so there is one request at a time, sent with whichever
token has budget; a process per token would wait for nothing. Every few pages are committed together
with the place to go on from, so a killed run asks again for one batch of pages at most.

Posts that cannot be used are left out and counted by reason. A post that comes on two pages, as it
does when new posts push the rest down, is taken once, as first seen.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pyarrow as pa

from actors.budget import RateBudget
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from actors.paced import PacedToken
from raylike import tokens
from raylike.errors import CredentialsError, InputDataError, ServiceUnavailable, TryAgainLater
from raylike.providers import Connection
from raylike.providers.base import Page, Post, Query, walk
from raylike.source import endpoint
from raylike.stage import StageContext, StageReport
from raylike.tables import POSTS

T = TypeVar("T")

PAGES_PER_COMMIT = 30
"""About 1000 posts: a commit takes tens of milliseconds, thirty pages take seconds."""

SAY_EVERY_S = 30.0
"""Between two lines about a wait for budget."""

VIDEO = "not an image"
NO_LIKES = "no like count"
TOO_YOUNG = "too young"
DUPLICATE = "seen before"
MALFORMED = "malformed"


def run(context: StageContext) -> StageReport:
    """Write posts; the report's `skipped` counts what was left out, by reason.

    Raises
    ------
    InputDataError : if the tag has no post that can be used
    ServiceUnavailable : if the network refuses the tag, or does not answer as it should
    CredentialsError : if there is no token that it accepts
    TryAgainLater : if all tokens are used up and `collect.wait` is off
    """
    credentials = tokens.load(context.settings.source)
    return _run(_collect(context, credentials))


async def _collect(context: StageContext, credentials: Sequence[Credential]) -> StageReport:
    settings = context.settings
    taken = _Taken.resumed(context) if context.resume else _Taken.afresh(context)
    if not taken.finished:
        async with Connection(endpoint(settings)) as connection:
            fetch = _Fetch(context, credentials, connection)
            try:
                async for page in walk(fetch, taken.cursor):
                    finished = taken.add(page)
                    context.progress.advance(len(page.posts))
                    if finished:
                        break
                    if taken.pages % PAGES_PER_COMMIT == 0:
                        taken.commit()
            except (Transient, Refused) as trouble:
                raise ServiceUnavailable(
                    str(trouble),
                    f"#{settings.source.tag} at {settings.source.base_url or settings.source.name}",
                    "check source.base_url and source.tag; what was read is kept",
                ) from None
            finally:
                if taken.rows:
                    taken.commit()
    if not taken.ids:
        left_out = ", ".join(f"{n} {reason}" for reason, n in taken.skipped.items()) or "it is empty"
        raise InputDataError(
            f"has no post that can be used: {left_out}", f"#{settings.source.tag}", "try another tag"
        )
    context.workspace.seal("posts", context.commit.with_state(taken.state()))
    skipped = dict(sorted(taken.skipped.items()))
    return StageReport(
        rows_in=len(taken.ids) + sum(skipped.values()),
        rows_out=len(taken.ids),
        skipped=skipped,
        notes=(f"{taken.pages} pages of #{settings.source.tag}",),
    )


@dataclass
class _Taken:
    """What has been read so far, and where to go on.

    Attributes
    ----------
    ids : of the posts taken, committed or not
    rows : taken since the last commit
    cursor : of the next page; None at the top and after the last page
    """

    context: StageContext
    as_of: datetime
    ids: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    cursor: str | None = None
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
            state["cursor"],
            state["finished"],
            replaces=False,
        )

    def state(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "skipped": dict(sorted(self.skipped.items())),
            "pages": self.pages,
            "cursor": self.cursor,
            "finished": self.finished,
        }

    def add(self, page: Page) -> bool:
        """Take what can be used of a page; whether it was the last one wanted."""
        settings = self.context.settings
        youngest = self.as_of - timedelta(days=settings.collect.min_age_days)
        collected_at = datetime.now(UTC)
        if page.malformed:
            self.skipped[MALFORMED] += page.malformed
        for post in page.posts:
            if len(self.ids) == settings.collect.max_posts:
                break
            if reason := self._unusable(post, youngest):
                self.skipped[reason] += 1
            else:
                self.ids.add(post.post_id)
                self.rows.append(_row(post, settings.source.name, collected_at))
        self.pages += 1
        self.cursor = page.cursor
        self.finished = page.cursor is None or len(self.ids) == settings.collect.max_posts
        return self.finished

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

    def _unusable(self, post: Post, youngest: datetime) -> str:
        if post.kind != "image":
            return VIDEO
        if post.likes is None:
            return NO_LIKES
        if post.created_at > youngest:
            return TOO_YOUNG
        # Last, so that a post counts the same whether or not a run was interrupted before it.
        return DUPLICATE if post.post_id in self.ids else ""


class _Fetch:
    """Gets a page with the token that has budget, or that has it first."""

    def __init__(
        self, context: StageContext, credentials: Sequence[Credential], connection: Connection
    ) -> None:
        provider = connection.provider
        self._context = context
        self._provider = provider
        self._tokens = [
            PacedToken(credential, RateBudget(provider.page_limits), 1) for credential in credentials
        ]

    async def __call__(self, cursor: str | None) -> Page:
        source, size = self._context.settings.source, self._context.settings.collect.page_size

        async def send(credential: Credential) -> Reply[Page]:
            return await self._provider.page(credential, Query(source.tag), cursor, size)

        while True:
            token = min(self._tokens, key=PacedToken.wait_s)
            await self._rest(token.wait_s())
            try:
                return await token.call(send, patience_s=0.0)
            except RateLimited:
                continue
            except TokenRevoked as revoked:
                self._drop(token, str(revoked))

    async def _rest(self, wait_s: float) -> None:
        if wait_s and not self._context.settings.collect.wait:
            raise TryAgainLater(
                f"all {len(self._tokens)} tokens are used up; the next hit is free in {wait_s:.0f} s",
                self._context.settings.source.name,
                "run the same command again then: it goes on where it was",
            )
        end = time.monotonic() + wait_s
        while (left_s := end - time.monotonic()) > 0:
            if left_s > 1:
                self._context.progress.note(
                    f"all {len(self._tokens)} tokens are used up; next hit in {left_s:.0f} s"
                )
            await asyncio.sleep(min(left_s, SAY_EVERY_S))

    def _drop(self, token: PacedToken, why: str) -> None:
        self._tokens.remove(token)
        line = f"token {token.credential.label} is not accepted: {why}"
        if not self._tokens:
            raise CredentialsError(
                f"no token is left; {line}", self._context.settings.source.name, "renew it"
            )
        self._context.progress.note(line)


def _row(post: Post, provider: str, collected_at: datetime) -> dict[str, Any]:
    return {
        "post_id": post.post_id,
        "provider": provider,
        "user_id": post.user_id,
        "created_at": post.created_at,
        "collected_at": collected_at,
        "image_url": post.image_url,
        "width": post.width,
        "height": post.height,
        "likes": post.likes,
        "comments": post.comments,
        "tags": list(post.tags),
        "caption": post.caption,
        "permalink": post.permalink,
    }


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also from a notebook, whose own event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
