"""Mentions on Mastodon: read from the notifications, answered by a status.

An answer has a key, in the header `Idempotency-Key`: within an hour the server answers the same key with
the status that it made the first time. Knows requests and bodies.

Sources: docs.joinmastodon.org (methods/notifications, methods/statuses, entities/Notification),
mastodon/mastodon (app/services/post_status_service.rb, app/lib/rate_limiter.rb: 300 statuses in 3 hours).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from actors.outcomes import Credential, Refused, Reply
from raylike.bot.mentions import MOST_PAGES, MOST_PHOTOS, Ask, Me, Mention, fits
from raylike.providers.base import mapping, moment, sequence, text
from raylike.providers.http import ANOTHER_SHAPE, JsonAnswer
from raylike.providers.mastodon import Mastodon, plain_text

PAGE = 40
VISIBILITIES = ("public", "unlisted", "private", "direct")

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_NAME = re.compile(r"[\w.-]{1,100}(?:@[\w.:-]{1,255})?", re.ASCII)


class MastodonMentions:
    """The network. `provider` knows the server, `ask` the token and its budget."""

    most_characters = 500
    repeatable_s = 3300.0
    """Five minutes less than the hour that the server remembers a key."""

    def __init__(self, provider: Mastodon, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask

    async def me(self) -> Me:
        """Whose token it is."""
        account = (await self._hit("GET", "accounts/verify_credentials")).as_object()
        account_id, name = account.get("id"), account.get("acct")
        if not fits(_ID, account_id) or not fits(_NAME, name):
            raise Refused(ANOTHER_SHAPE)
        return Me(str(account_id), str(name))

    async def mentions(self, me: Me, since: str) -> Sequence[Mention]:
        """Mentions after a notification, the oldest first; without one, the newest page."""
        found: list[Mention] = []
        for _ in range(MOST_PAGES):
            query = [("types[]", "mention"), ("limit", str(PAGE)), *([("min_id", since)] if since else [])]
            answer = await self._hit("GET", "notifications", query=query)
            page = [mapping(entry) for entry in answer.as_array()][::-1]
            mentions = [mention for entry in page if (mention := _mention(entry, me)) is not None]
            found += mentions
            places = [str(entry["id"]) for entry in page if fits(_ID, entry.get("id"))]
            if not since or len(page) < PAGE or not places or places[-1] == since:
                return found
            since = places[-1]
        return found

    def answer(self, me: Me, mention: Mention, text: str, made_at: datetime) -> dict[str, Any]:
        """A status in reply; it names its reader, or it would not reach them.

        Who reads a mention can read the answer, but timelines are spared it.
        """
        seen_by = mention.thread["visibility"]
        return {
            "key": hashlib.sha256(f"{me.account_id} {mention.post_id}".encode()).hexdigest(),
            "form": {
                "status": f"@{mention.author_name} {text}",
                "in_reply_to_id": mention.post_id,
                "visibility": "unlisted" if seen_by == "public" else seen_by,
                "language": "en",
            },
        }

    async def send(self, answer: Mapping[str, Any]) -> str:
        """Send a status, or find the one that was made of it; its id."""
        headers = {"Idempotency-Key": answer["key"]}
        made = await self._hit("POST", "statuses", form=answer["form"], headers=headers)
        return text(made.as_object().get("id")) or ""

    async def _hit(self, method: str, path: str, **more: Any) -> JsonAnswer:
        async def send(credential: Credential) -> Reply[JsonAnswer]:
            answer = await self._provider.call(credential, method, path, **more)
            return Reply(answer, self._provider.rate(answer.headers))

        return await self._ask(send)


def _mention(notification: Mapping[str, Any], me: Me) -> Mention | None:
    """A mention from a Notification; None if it is none, or lacks what an answer needs."""
    status, place = mapping(notification.get("status")), notification.get("id")
    account = mapping(status.get("account"))
    post_id, author_id, name = status.get("id"), account.get("id"), account.get("acct")
    made_at, visibility = moment(status.get("created_at")), status.get("visibility")
    right = fits(_ID, place) and fits(_ID, post_id) and fits(_ID, author_id) and fits(_NAME, name)
    if not right or made_at is None or visibility not in VISIBILITIES:
        return None
    named = [mapping(entry).get("id") for entry in sequence(status.get("mentions"))]
    return Mention(
        str(post_id),
        str(place),
        str(author_id),
        str(name),
        made_at,
        text=plain_text(text(status.get("content")) or ""),
        photos=_photos(status),
        profile=_profile(account),
        is_bot=account.get("bot") is True,
        addressed=notification.get("type") == "mention" and me.account_id in named,
        thread={"visibility": visibility},
    )


def _photos(status: Mapping[str, Any]) -> tuple[str, ...]:
    media = (mapping(entry) for entry in sequence(status.get("media_attachments")))
    images = [entry for entry in media if entry.get("type") == "image"]
    found = [text(entry.get("url")) or text(entry.get("remote_url")) for entry in images]
    return tuple(address for address in found if address)[:MOST_PHOTOS]


def _profile(account: Mapping[str, Any]) -> str:
    """What an account says of itself, as plain text."""
    fields = [mapping(entry) for entry in sequence(account.get("fields"))]
    said = [account.get("display_name"), account.get("note")]
    said += [entry.get(part) for entry in fields for part in ("name", "value")]
    return "\n".join(plain_text(text(part) or "") for part in said)
