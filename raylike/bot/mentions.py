"""What a mention is, and what the bot asks of a network.

Whatever stands in a mention was written by a stranger: its text is shown to nobody unescaped and followed
nowhere; the addresses of its photos are fetched with the guards of downloads. Knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from actors.outcomes import Credential, Reply

T = TypeVar("T")

MOST_PHOTOS = 4
"""Of a post that are scored: what Mastodon lets people attach."""
MOST_PAGES = 10
"""Of mentions that are read in one round. The rest waits for the next; on Bluesky, which shows the newest
first, those before them are left alone."""


class Ask(Protocol):
    """How a hit is sent: with the account's token, when its budget allows. `PacedToken.call` is one."""

    async def __call__(self, send: Callable[[Credential], Awaitable[Reply[T]]]) -> T:
        """The value of `send(credential)`."""


@dataclass(frozen=True)
class Me:
    """The account that answers; `name` is as others mention it, without @."""

    account_id: str
    name: str


@dataclass(frozen=True)
class Mention:
    """A post that mentions the account.

    Attributes
    ----------
    post_id : as the network knows the post
    place : where to read on after it: the network's own, and in order
    author_id, author_name : who wrote it; the name as it is mentioned, without @
    text : plain, as its author wrote it
    photos : addresses of its own images
    profile : what the author says of themselves: name, description, fields
    is_bot : as the author says
    addressed : whether the post itself names the account
    thread : what an answer has to say of where it belongs
    """

    post_id: str
    place: str
    author_id: str
    author_name: str
    made_at: datetime
    text: str = ""
    photos: tuple[str, ...] = ()
    profile: str = ""
    is_bot: bool = False
    addressed: bool = True
    thread: Mapping[str, Any] = field(default_factory=dict)


class Network(Protocol):
    """One network, as the bot needs it. Hits go through an `Ask`; troubles are those of `actors.outcomes`."""

    most_characters: int
    """Of an answer."""
    repeatable_s: float
    """How long the network knows an answer again that is sent a second time, and then adds none."""

    async def me(self) -> Me:
        """Whose token it is."""

    async def mentions(self, me: Me, since: str) -> Sequence[Mention]:
        """Mentions after a place, the oldest first; with an empty one, the newest page of them."""

    def answer(self, me: Me, mention: Mention, text: str, made_at: datetime) -> dict[str, Any]:
        """An answer as it is sent: plain JSON, and the same again however often it is sent."""

    async def send(self, answer: Mapping[str, Any]) -> str:
        """Send an answer, or find that it was sent; its id."""


def fits(pattern: re.Pattern[str], value: object) -> bool:
    """Whether what a server says is a text that the pattern describes from end to end."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None
