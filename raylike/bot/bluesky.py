"""Mentions on Bluesky: read from the notifications, answered by a post.

An answer's record key follows from the mention, and it is put, not created: where it is there already, the
server finds nothing to change. `createRecord` would answer such a key with an error 500, as a server in
trouble does (atproto#3718). Notifications show records alone, so photos are looked up by `getPosts`.

Knows methods and bodies. Sources: bluesky-social/atproto (lexicons/app/bsky/notification,
lexicons/com/atproto/repo, packages/pds/src/api/com/atproto/repo/putRecord.ts), atproto.com (specs/tid).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.outcomes import Credential, Refused, Reply
from raylike.bot.mentions import MOST_PAGES, MOST_PHOTOS, Ask, Me, Mention, fits
from raylike.providers.base import mapping, moment, sequence, text
from raylike.providers.bluesky import BOT, GALLERY, IMAGES, WITH_MEDIA, Bluesky
from raylike.providers.http import ANOTHER_SHAPE

PAGE = 50
LOOKED_UP = 25
"""Posts that one hit shows."""
POST = "app.bsky.feed.post"
MENTION = "app.bsky.richtext.facet#mention"

_DID = re.compile(r"did:[a-z]+:[\w.:%-]{1,200}", re.ASCII)
_HANDLE = re.compile(r"[A-Za-z0-9.-]{1,253}", re.ASCII)
_URI = re.compile(rf"at://did:[a-z]+:[\w.:%-]{{1,200}}/{re.escape(POST)}/[\w.:~-]{{1,512}}", re.ASCII)
_CID = re.compile(r"[A-Za-z0-9]{1,200}", re.ASCII)
_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"


class BlueskyMentions:
    """The network. `provider` knows the server and its sessions, `ask` the login and its budget."""

    most_characters = 300
    repeatable_s = float("inf")

    def __init__(self, provider: Bluesky, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask

    async def me(self) -> Me:
        """Whose login it is."""
        told = await self._hit("com.atproto.server.getSession")
        did, handle = told.get("did"), told.get("handle")
        if not fits(_DID, did) or not fits(_HANDLE, handle):
            raise Refused(ANOTHER_SHAPE)
        return Me(str(did), str(handle))

    async def mentions(self, me: Me, since: str) -> Sequence[Mention]:
        """Mentions from a moment on, the oldest first; without one, the newest page.

        The network pages from the newest to the oldest only. Those of the moment itself come again.
        """
        found: dict[str, dict[str, Any]] = {}
        oldest, cursor = moment(since), ""
        for _ in range(MOST_PAGES):
            asked = [("reasons", "mention"), ("reasons", "reply"), ("limit", str(PAGE))]
            told = await self._hit(
                "app.bsky.notification.listNotifications", [*asked, *([("cursor", cursor)] if cursor else [])]
            )
            page = [mapping(entry) for entry in sequence(told.get("notifications"))]
            new = [entry for entry in page if oldest is None or _seen_at(entry) >= oldest]
            found |= {str(entry["uri"]): entry for entry in new if fits(_URI, entry.get("uri"))}
            cursor = text(told.get("cursor")) or ""
            if oldest is None or not new or len(new) < len(page) or not cursor:
                break
        entries = sorted(found.values(), key=_seen_at)
        addressed = [
            entry["uri"] for entry in entries if me.account_id in _named(mapping(entry.get("record")))
        ]
        views = await self._views(addressed)
        mentions = (_mention(entry, views.get(entry["uri"]), me) for entry in entries)
        return [mention for mention in mentions if mention is not None]

    def answer(self, me: Me, mention: Mention, text: str, made_at: datetime) -> dict[str, Any]:
        """A post in reply, below the first post of the thread."""
        return {
            "repo": me.account_id,
            "collection": POST,
            "rkey": record_key(mention.post_id, mention.made_at),
            "record": {
                "$type": POST,
                "text": text,
                "createdAt": _iso(made_at),
                "langs": ["en"],
                "reply": dict(mention.thread),
            },
        }

    async def send(self, answer: Mapping[str, Any]) -> str:
        """Put a post, or find that it is there; its address."""
        return text((await self._hit("com.atproto.repo.putRecord", body=answer)).get("uri")) or ""

    async def _views(self, uris: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Posts as they are shown, by address."""
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(uris), LOOKED_UP):
            asked = [("uris", uri) for uri in uris[first : first + LOOKED_UP]]
            told = await self._hit("app.bsky.feed.getPosts", asked)
            views = [mapping(entry) for entry in sequence(told.get("posts"))]
            found |= {str(view.get("uri")): view for view in views}
        return found

    async def _hit(
        self, method: str, asked: Sequence[tuple[str, str]] = (), body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        async def send(credential: Credential) -> Reply[dict[str, Any]]:
            return await self._provider.call(credential, method, asked, body)

        return await self._ask(send)


def record_key(uri: str, made_at: datetime) -> str:
    """The key of the answer to a post: a TID of the post's millisecond, the rest from its address."""
    digest = int.from_bytes(hashlib.sha256(uri.encode()).digest()[:8], "big")
    microsecond = max(0, int(made_at.timestamp() * 1000)) * 1000 + digest % 1000
    number = (microsecond & (1 << 53) - 1) << 10 | digest >> 32 & 1023
    return "".join(_SORTABLE[number >> 5 * place & 31] for place in reversed(range(13)))


def _mention(entry: Mapping[str, Any], view: Mapping[str, Any] | None, me: Me) -> Mention | None:
    """A mention from a notification and its post's view; None if it lacks what an answer needs."""
    author, record = mapping(entry.get("author")), mapping(entry.get("record"))
    did, handle, cid = author.get("did"), author.get("handle"), entry.get("cid")
    if not (fits(_DID, did) and fits(_HANDLE, handle) and fits(_CID, cid)):
        return None
    parent = {"uri": entry["uri"], "cid": cid}
    labels = [mapping(label) for label in sequence(author.get("labels"))]
    return Mention(
        entry["uri"],
        _iso(_seen_at(entry)),
        str(did),
        str(handle),
        _seen_at(entry),
        text=text(record.get("text")) or "",
        photos=_photos(mapping((view or {}).get("embed"))),
        profile="\n".join(text(author.get(part)) or "" for part in ("displayName", "description")),
        is_bot=any(label.get("val") == BOT and label.get("neg") is not True for label in labels),
        addressed=me.account_id in _named(record),
        thread={"root": _root(record) or parent, "parent": parent},
    )


def _named(record: Mapping[str, Any]) -> set[str]:
    """Accounts that a post mentions, as its author's app has marked them."""
    features = (
        mapping(feature)
        for facet in sequence(record.get("facets"))
        for feature in sequence(mapping(facet).get("features"))
    )
    return {str(feature.get("did")) for feature in features if feature.get("$type") == MENTION}


def _root(record: Mapping[str, Any]) -> dict[str, str] | None:
    """The first post of the thread that a post says it belongs to."""
    told = mapping(mapping(record.get("reply")).get("root"))
    uri, cid = told.get("uri"), told.get("cid")
    return {"uri": str(uri), "cid": str(cid)} if fits(_URI, uri) and fits(_CID, cid) else None


def _photos(embed: Mapping[str, Any]) -> tuple[str, ...]:
    if embed.get("$type") == WITH_MEDIA:
        embed = mapping(embed.get("media"))
    if embed.get("$type") not in (IMAGES, GALLERY):
        return ()
    images = sequence(embed.get("images" if embed["$type"] == IMAGES else "items"))
    found = [text(mapping(image).get("fullsize")) for image in images]
    return tuple(address for address in found if address)[:MOST_PHOTOS]


def _seen_at(entry: Mapping[str, Any]) -> datetime:
    """When the network saw a post: `createdAt` is what its author's app says."""
    return moment(entry.get("indexedAt")) or datetime(1970, 1, 1, tzinfo=UTC)


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
