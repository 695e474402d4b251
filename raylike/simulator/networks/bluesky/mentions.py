"""Mentions in Bluesky's words, and the records that answer them.

    GET  xrpc/app.bsky.notification.listNotifications   newest first; records alone, without pictures
    POST xrpc/com.atproto.repo.putRecord                a post at a key of the client's choice

Formats after bluesky-social/atproto (lexicons/app/bsky/notification, lexicons/com/atproto/repo). Knows
mentions and bodies; who asks is the network's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from raylike.simulator.mentions import Mention, Mentions
from raylike.simulator.networks.base import Json, Site
from raylike.simulator.networks.bluesky import bodies
from raylike.simulator.networks.bluesky.problems import Problem

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
NEWEST = 999_999_999
"""A cursor that all mentions are before."""
MOST_CHARACTERS = 300


class Answering:
    """Notifications and records of one server."""

    def __init__(self, site: Site, words: bodies.Bluesky) -> None:
        self._site = site
        self._words = words
        self._mentions = Mentions(site.world, site.clock)
        self._records: dict[str, Json] = {}
        """By address."""

    def notifications(self, reasons: Sequence[str], limit: int, before: int, me: str, photos: str) -> Json:
        """A page of an account's mentions and replies, newest first.

        Parameters
        ----------
        reasons : that are wanted; none: all
        before : the cursor that an earlier page gave
        me : the account's DID
        photos : where this client finds the photos
        """
        there = [mention for mention in self._mentions.there() if mention.number < before]
        found = [mention for mention in there if not reasons or _reason(mention) in reasons]
        page = found[-limit:][::-1]
        told = [self._notification(mention, me, photos) for mention in page]
        more = {"cursor": str(page[-1].number)} if len(found) > len(page) else {}
        return {"notifications": told, "priority": False} | more

    def post(self, uri: str, me: str, photos: str) -> Json | None:
        """A mention as it is shown, by its address; None if there is none there."""
        for mention in self._mentions.there():
            if uri == self._uri(mention):
                return self._view(mention, me, photos)
        return None

    def put(self, body: Mapping[str, Any], me: str) -> Json:
        """Put a record: a new one, or another version of the one that is there.

        Raises
        ------
        Problem : for a record that is none, or of somebody else
        """
        record, key = body.get("record"), body.get("rkey")
        if body.get("repo") != me:
            raise Problem("InvalidRequest", "Invalid repo")
        if body.get("collection") != bodies.COLLECTION or not isinstance(record, dict) or not key:
            raise Problem("InvalidRequest", "Invalid record")
        if not isinstance(record.get("text"), str) or len(record["text"]) > MOST_CHARACTERS:
            raise Problem(
                "InvalidRequest", f"Record/text must not be longer than {MOST_CHARACTERS} graphemes"
            )
        uri = f"at://{me}/{bodies.COLLECTION}/{key}"
        if uri not in self._records:
            parent = record.get("reply", {}).get("parent", {}).get("uri", "")
            self._site.stats.answered[parent] += 1
        self._records[uri] = record
        return {"uri": uri, "cid": _cid(record), "validationStatus": "valid"}

    def _notification(self, mention: Mention, me: str, photos: str) -> Json:
        view = self._view(mention, me, photos)
        author = view["author"] | {"description": _description(mention)}
        return {
            "uri": view["uri"],
            "cid": view["cid"],
            "author": author,
            "reason": _reason(mention),
            "record": view["record"],
            "isRead": False,
            "indexedAt": view["indexedAt"],
            "labels": [],
        }

    def _view(self, mention: Mention, me: str, photos: str) -> Json:
        (like,) = self._words.posts([mention.row], photos)
        made_at, uri = bodies.iso(mention.made_ms), self._uri(mention)
        text = "@bot is this any good?"
        facet = {
            "index": {"byteStart": 0, "byteEnd": 4},
            "features": [{"$type": "app.bsky.richtext.facet#mention", "did": me}],
        }
        record: Json = {
            "$type": bodies.COLLECTION,
            "text": text,
            "createdAt": made_at,
            "langs": ["en"],
            "facets": [] if mention.kind == "reply" else [facet],
        }
        labels = [label for label in like["author"]["labels"] if label["val"] != "bot"]
        if mention.kind == "bot":
            did = like["author"]["did"]
            labels.append(bodies.label(did, f"at://{did}/app.bsky.actor.profile/self", "bot", made_at))
        view = like | {
            "uri": uri,
            "cid": _cid(record),
            "author": like["author"] | {"labels": labels},
            "record": record,
            "indexedAt": made_at,
            "likeCount": 0,
            "labels": [],
        }
        if mention.kind == "no photo":
            del view["embed"]
        return view

    def _uri(self, mention: Mention) -> str:
        did = self._words.did(int(self._site.world.posts.user[mention.row]))
        return f"at://{did}/{bodies.COLLECTION}/{bodies.record_key(mention.made_ms, mention.number)}"


def _reason(mention: Mention) -> str:
    return "reply" if mention.kind == "reply" else "mention"


def _description(mention: Mention) -> str:
    return "No machines, please. #nobot" if mention.kind == "no bots" else ""


def _cid(record: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return f"bafyrei{digest[:52]}"
