"""What a network must offer: pages of posts, look-ups of users, and its limit.

A provider turns one hit into one answer. It holds a session and an address, no token: the token
comes with each hit, so that one provider serves many. It raises what `actors.outcomes` names and
nothing else; what concerns one account alone (private, gone) is a value.

Knows nothing of Ray, tables, budgets or of who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, Refused, Reply

OK: UserStatus = "ok"
PRIVATE: UserStatus = "private"
GONE: UserStatus = "gone"
FAILED: UserStatus = "failed"

UserStatus = Literal["ok", "private", "gone", "failed"]


@dataclass(frozen=True)
class Post:
    """A post as its network tells it, before anybody decides whether to use it.

    Attributes
    ----------
    kind : image, video, or whatever else the network calls it
    likes, comments : counts; None where the network gives none, or none that makes sense
    width, height : px of the image at `image_url`; None where not said
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


@dataclass(frozen=True)
class Page:
    """One answer of a tag's timeline.

    Attributes
    ----------
    malformed : entries that lack what makes a post: an id, an account, a time, an image
    cursor : what to ask for next; None after the last page. It holds no token, so it may be stored
    """

    posts: tuple[Post, ...]
    malformed: int = 0
    cursor: str | None = None


@dataclass(frozen=True)
class User:
    """An account as looked up; the counts are there when `status` is ok."""

    user_id: str
    status: UserStatus
    followers: int | None = None
    following: int | None = None
    media_count: int | None = None


class Provider(Protocol):
    """One network."""

    name: str
    limits: tuple[Limit, ...]
    """What the network allows one token, as documented."""
    batch_size: int
    """Users that one hit looks up."""

    async def page(self, credential: Credential, tag: str, cursor: str | None, size: int) -> Reply[Page]:
        """One page of a tag, newest first; from the top if `cursor` is None."""

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up at most `batch_size` users; a row for each, whatever became of it."""

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
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None
