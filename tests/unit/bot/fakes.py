"""A network in memory that answers are sent to, and mentions to answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from raylike.bot.mentions import Me, Mention

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ME = Me("1", "bot")


def mention(number: int, **changes: Any) -> Mention:
    """A mention that deserves an answer."""
    told: dict[str, Any] = {
        "post_id": f"post{number}",
        "place": f"{number:06d}",
        "author_id": f"author{number}",
        "author_name": f"anna{number}",
        "made_at": NOW - timedelta(minutes=1),
        "photos": (f"https://photos.test/{number}.jpg",),
    }
    return Mention(**{**told, **changes})


class MemoryNetwork:
    """Knows an answer again by its key, and calls `before` and `after` around each sending.

    With `inclusive`, the mention at a place comes again, as on a network that pages by moments.
    """

    most_characters = 300
    repeatable_s = 3600.0

    def __init__(self, mentions: Sequence[Mention] = (), *, inclusive: bool = False) -> None:
        self.waiting = list(mentions)
        self.statuses: dict[str, str] = {}
        self.sent: Counter[str] = Counter()
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self._inclusive = inclusive

    async def me(self) -> Me:
        return ME

    async def mentions(self, me: Me, since: str) -> Sequence[Mention]:
        return [one for one in self.waiting if one.place > since or (self._inclusive and one.place == since)]

    def answer(self, me: Me, mention: Mention, text: str, made_at: datetime) -> dict[str, Any]:
        return {"key": mention.post_id, "text": f"{text} {made_at.isoformat()}"}

    async def send(self, answer: Mapping[str, Any]) -> str:
        self.before()
        self.sent[answer["key"]] += 1
        known = self.statuses.setdefault(answer["key"], answer["text"])
        assert known == answer["text"], "the same answer, however often it is sent"
        self.after()
        return str(answer["key"])
