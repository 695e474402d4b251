"""What a network must offer: pages of posts, look-ups of users, and its limits.

A provider turns one hit into one answer. It holds a session and an address, no token: the token
comes with each hit, so that one provider serves many. It raises what `actors.outcomes` names and
nothing else; what concerns one account or one post alone (private, gone) is a value.

Knows nothing of Ray, tables, budgets or of who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, Refused, Reply

OK: UserStatus = "ok"
PRIVATE: UserStatus = "private"
GONE: UserStatus = "gone"
FAILED: UserStatus = "failed"

MAX_COUNT, MAX_DIGITS = 2**63 - 1, 19
"""What a table can hold; a server may say anything."""

UserStatus = Literal["ok", "private", "gone", "failed"]


class Objection(StrEnum):
    """What people or servers have said against a post being collected.

    Values are words for the user: they are the reasons in the report.
    """

    NOT_PUBLIC = "not public"
    NO_INDEX = "account asks not to be indexed"
    NOT_INDEXABLE = "account has not agreed to be searched"
    SIGNED_IN_ONLY = "account shows itself to signed-in people only"
    BOT = "account is a bot"
    SENSITIVE = "marked sensitive"
    NOT_DISCOVERABLE = "account has not agreed to be recommended"
    LOCKED = "account approves its followers"


ALWAYS_HONOURED = frozenset(Objection) - {Objection.NOT_DISCOVERABLE, Objection.LOCKED}
"""The rest is honoured where `collect.also_honour` names it: settings only add."""


@dataclass(frozen=True)
class Query:
    """What is collected.

    Attributes
    ----------
    tag : without #
    accounts : names of accounts whose posts are wanted, for networks that are read account by account
    """

    tag: str
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Post:
    """A post as its network tells it, before anybody decides whether to use it.

    Attributes
    ----------
    user_id : empty where the network does not say who posted it
    kind : image, video, or whatever else the network calls it
    likes, comments : counts; None where the network gives none, or none that makes sense
    width, height : px of the image at `image_url`; None where not said
    followers, following, media_count : of the account, where they come with the post; else None
    objections : what speaks against collecting it
    """

    post_id: str
    user_id: str
    created_at: datetime
    kind: str
    image_url: str
    likes: int | None
    comments: int | None = None
    width: int | None = None
    height: int | None = None
    tags: tuple[str, ...] = ()
    caption: str | None = None
    permalink: str | None = None
    followers: int | None = None
    following: int | None = None
    media_count: int | None = None
    objections: frozenset[Objection] = frozenset()


@dataclass(frozen=True)
class Page:
    """One answer of a timeline.

    Attributes
    ----------
    malformed : entries that lack what makes a post: an id, an account, a time, an image
    off_topic : posts without the tag, where a network is read account by account
    cursor : what to ask for next; None after the last page. It holds no token, so it may be stored
    unreadable : name of the account that was to be read, and cannot be: it is not there, or not shown
    """

    posts: tuple[Post, ...]
    malformed: int = 0
    cursor: str | None = None
    off_topic: int = 0
    unreadable: str | None = None


@dataclass(frozen=True)
class User:
    """An account as looked up; the counts are there when `status` is ok."""

    user_id: str
    status: UserStatus
    followers: int | None = None
    following: int | None = None
    media_count: int | None = None


@dataclass(frozen=True)
class Reading:
    """A known post's counts, read again; the counts are there when `status` is ok."""

    post_id: str
    status: Literal["ok", "gone"]
    likes: int | None = None
    comments: int | None = None


class Provider(Protocol):
    """One network."""

    name: str
    limits: tuple[Limit, ...]
    """What one token is held to: what the network documents, or what the settings say."""
    page_limits: tuple[Limit, ...]
    """The same for pages of posts, which some networks limit further."""
    page_size: int
    """Posts on a page, at most."""
    batch_size: int
    """Users that one hit looks up."""
    followers_embedded: bool
    """Whether posts bring their account's followers with them, so that no look-up is needed."""
    reading_size: int
    """Known posts that one hit reads again; 0 where the network cannot."""

    def starts(self, query: Query) -> Sequence[str | None]:
        """Cursors of the first page of each timeline that the query needs; None is the tag's own top."""

    async def page(self, credential: Credential, query: Query, cursor: str | None, size: int) -> Reply[Page]:
        """One page, newest first, from one of `starts` or from an earlier page's cursor."""

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up at most `batch_size` users; a row for each, whatever became of it."""

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Read at most `reading_size` known posts again; a row for each, whatever became of it."""

    def rate(self, headers: Mapping[str, str]) -> RateReport | None:
        """What an answer's headers say about the allowance; None if they say nothing."""


async def walk(
    fetch: Callable[[str | None], Awaitable[Page]], cursor: str | None = None
) -> AsyncIterator[Page]:
    """Yield page after page from `cursor` on, each fetched when it is reached.

    Raises
    ------
    Refused : if a page names itself, or one seen before, as the next: it would never end
    """
    seen = {cursor}
    while True:
        page = await fetch(cursor)
        yield page
        cursor = page.cursor
        if cursor is None:
            return
        if cursor in seen:
            raise Refused("a page names one that was read before as the next: it would never end")
        seen.add(cursor)


def count(value: object) -> int | None:
    """A count from JSON: a number or digits in a text, not negative. Anything else is None, never 0."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else None


def mapping(value: object, otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON object; `otherwise`, or an empty one, where there is something else."""
    return value if isinstance(value, dict) else (otherwise or {})


def sequence(value: object) -> list[Any]:
    """A JSON array; an empty one where there is something else."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A JSON string; None where there is something else or nothing in it. Halves of characters become ?."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and value else None


def moment(value: object) -> datetime | None:
    """A moment from ISO 8601 text with a time zone, in UTC; None where there is something else."""
    try:
        parsed = datetime.fromisoformat(str(value))
        return None if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # no date, or one that is in no year of UTC
        return None
