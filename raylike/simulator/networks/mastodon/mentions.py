"""Mentions in Mastodon's words, and the statuses that answer them.

    GET  /api/v1/notifications   whom others have mentioned, newest first
    POST /api/v1/statuses        a status; with the key of an earlier one, that one again

Formats and behaviour after docs.joinmastodon.org (methods/notifications, methods/statuses) and
mastodon/mastodon (app/services/post_status_service.rb). Knows mentions and bodies; who asks, and whether
they may, is the network's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from raylike.simulator.mentions import Mention, Mentions
from raylike.simulator.networks.base import Json, Site
from raylike.simulator.networks.mastodon import bodies

DEFAULT_LIMIT, MAX_LIMIT = 40, 80
MOST_CHARACTERS = 500
KEY_LIFE_S = 3600.0
"""Of an `Idempotency-Key`."""
VISIBILITIES = ("public", "unlisted", "private", "direct")

TOO_LONG = {"error": f"Validation failed: Text character limit of {MOST_CHARACTERS} exceeded"}
NO_TEXT = {"error": "Validation failed: Text can't be blank"}
NO_PARENT = {"error": "The post you are trying to reply to does not appear to exist."}
NO_VISIBILITY = {"error": "Validation failed: Visibility is not included in the list"}


class Answering:
    """Notifications and statuses of one server."""

    def __init__(self, site: Site, words: bodies.Mastodon) -> None:
        self._site = site
        self._words = words
        self._mentions = Mentions(site.world, site.clock)
        self._made: dict[tuple[str, str], tuple[float, Json]] = {}
        """By account and key: when a status was made, and what it is."""
        self._n_made = 0

    def notifications(self, query: Mapping[str, str], me: Json, api: str, photos: str) -> list[Json]:
        """A page of an account's mentions, newest first; with `min_id`, those next to it.

        Parameters
        ----------
        me : the account as it is shown
        api, photos : where this client finds the server's root and the photos
        """
        there = self._mentions.there()
        newer_than = bodies.number(query.get("min_id") or query.get("since_id") or "0")
        found = [mention for mention in there if mention.number + 1 > newer_than]
        if query.get("max_id"):
            older_than = bodies.number(query["max_id"])
            found = [mention for mention in found if mention.number + 1 < older_than]
        limit = min(bodies.number(query.get("limit", "")) or DEFAULT_LIMIT, MAX_LIMIT)
        page = found[:limit] if query.get("min_id") else found[-limit:]
        return [self._notification(mention, me, api, photos) for mention in page[::-1]]

    def answer(self, form: Mapping[str, str], key: str, me: Json) -> tuple[Json, int]:
        """Make a status, or find the one that was made with this key; what is answered, and its status."""
        now, account_id = self._site.clock(), str(me["id"])
        made_at, known = self._made.get((account_id, key), (0.0, {}))
        if key and known and now - made_at < KEY_LIFE_S:
            return known, 200
        text, parent = form.get("status", ""), form.get("in_reply_to_id", "")
        if not text:
            return NO_TEXT, 422
        if len(text) > MOST_CHARACTERS:
            return TOO_LONG, 422
        if form.get("visibility", "public") not in VISIBILITIES:
            return NO_VISIBILITY, 422
        if parent and parent not in {self._id(mention) for mention in self._mentions.there()}:
            return NO_PARENT, 404
        self._n_made += 1
        moment = datetime.now(UTC)
        made: Json = {
            "id": str(int(moment.timestamp() * 1000) << 16 | self._n_made),
            "created_at": bodies.iso(moment),
            "in_reply_to_id": parent or None,
            "visibility": form.get("visibility", "public"),
            "content": f"<p>{text}</p>",
            "account": me,
            "media_attachments": [],
        }
        self._made[account_id, key or str(self._n_made)] = now, made
        self._site.stats.answered[parent] += 1
        return made, 200

    def _notification(self, mention: Mention, me: Json, api: str, photos: str) -> Json:
        status = self._status(mention, me, api, photos)
        return {
            "id": str(mention.number + 1),
            "type": "mention",
            "group_key": f"ungrouped-{mention.number + 1}",
            "created_at": status["created_at"],
            "account": status["account"],
            "status": status,
        }

    def _status(self, mention: Mention, me: Json, api: str, photos: str) -> Json:
        world = self._site.world
        like = self._words.status(bodies.post_id(world, mention.row), api, photos)
        assert like is not None  # rows of accounts that are gone have no mentions
        named = {name: me[name] for name in ("id", "username", "acct", "url")}
        account = like["account"] | {"bot": mention.kind == "bot", "note": _note(mention)}
        written: dict[str, Any] = {
            "id": self._id(mention),
            "created_at": bodies.iso(datetime.fromtimestamp(mention.made_ms / 1000, UTC)),
            "visibility": "unlisted" if mention.number % 3 else "public",
            "sensitive": False,
            "account": account,
            "mentions": [] if mention.kind == "reply" else [named],
            "content": f'<p><a href="{me["url"]}">@{me["username"]}</a> is this any good?</p>',
            "favourites_count": 0,
        }
        if mention.kind == "no photo":
            written["media_attachments"] = []
        return like | written

    def _id(self, mention: Mention) -> str:
        return str(mention.made_ms << 16 | mention.number & 0xFFFF)


def _note(mention: Mention) -> str:
    return "<p>No machines, please. #nobot</p>" if mention.kind == "no bots" else ""
