"""The world in the words of Bluesky: views of posts and profiles, and the search.

Builds bodies; knows no HTTP. Formats after bluesky-social/atproto (lexicons/app/bsky) and the
specifications of identifiers at atproto.com. A DID holds the account's row and characters that look
random; a post's key is its microsecond, in base 32, as the network's own keys are.

Accounts that are gone have no profile, and their posts cannot be read again; the search still finds
them, as it does those of accounts that end between a search and a look-up. Private accounts, which this
network does not have, show themselves to signed-in people only. What else an account or a post is
labelled with the world does not know: it is drawn here, from the row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.faults import unit_hash
from raylike.simulator.networks.base import TEST_DOMAIN, Json
from raylike.simulator.networks.instagram_v1.bodies import EVERYONES_TAG, OTHER_TAGS
from raylike.simulator.networks.instagram_v1.bodies import InstagramV1 as People
from raylike.simulator.world import GONE, PRIVATE, World

SIGNED_IN_ONLY_SHARE, BOT_SHARE = 0.03, 0.01
"""Of accounts; those that are private in the world come on top of the first."""
SENSITIVE_SHARE, FUTURE_SHARE = 0.015, 0.01
"""Of posts. The latter claim to be made at a time to come: `createdAt` is what an app says."""
WITH_QUOTE_SHARE, GALLERY_SHARE = 0.03, 0.03
"""Of posts with images: that quote another post besides, and in the form for more than four images."""

SENSITIVE_LABELS = ("porn", "sexual", "nudity", "graphic-media")
MODERATION = "did:plc:" + "moderation".ljust(24, "2")
"""Who labels posts that their own accounts do not label."""

HANDLE_DOMAIN = f".bsky{TEST_DOMAIN}"
COLLECTION = "app.bsky.feed.post"

FUTURE = "2199-01-01T00:00:00.000Z"

_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
_ROW_CHARACTERS, _DID_CHARACTERS, _KEY_CHARACTERS, _CID_CHARACTERS = 6, 24, 13, 52
_HASHTAG = re.compile(r"#(\w+)")
_TEXTS = ("#me", "#me and my day", "hello! #me", "just #me", "#me #{0}", "feeling good \N{SPARKLES} #me #{0}")


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes
    ----------
    words : of the text, or with # in front, hashtags; a post has to have all
    tags : without #; likewise all
    since_ms, until_ms : only posts listed from the one on, and before the other
    top : those with most likes first, not the latest
    """

    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    top: bool = False


class Bluesky:
    """One world, told in Bluesky's bodies.

    Parameters
    ----------
    world : whom and what to tell of
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._people = People(world)
        posts = world.posts
        self._made_ms = posts.created_s * 1000
        self._indexed_ms = self._made_ms + 500 + posts.seed % 5000
        self._is_future = posts.seed * 2_654_435_761 % 2**32 < FUTURE_SHARE * 2**32
        self._listed_ms = np.where(self._is_future, self._indexed_ms, self._made_ms)
        self._latest = np.argsort(-self._listed_ms, kind="stable")

    def search(self, search: Search) -> NDArray[np.int64]:
        """Rows of posts that are found, in order, as far as there are any."""
        rows = self._latest
        listed = -self._listed_ms[rows]  # ascending
        first = 0 if search.until_ms is None else int(np.searchsorted(listed, -search.until_ms, side="right"))
        end = (
            rows.size if search.since_ms is None else int(np.searchsorted(listed, -search.since_ms, "right"))
        )
        rows = rows[first:end]
        tags = {word[1:].lower() for word in search.words if word.startswith("#")}
        for tag in tags | {tag.lower() for tag in search.tags}:
            if tag in OTHER_TAGS:
                rows = rows[(self._world.posts.seed[rows] >> 3 * OTHER_TAGS.index(tag)) & 7 == 0]
            elif tag != EVERYONES_TAG:
                rows = rows[:0]
        words = {word.lower() for word in search.words if not word.startswith("#")}
        if words:
            rows = rows[[words <= set(self._text(int(row)).lower().split()) for row in rows]]
        return rows[np.argsort(-self._world.posts.likes[rows], kind="stable")] if search.top else rows

    def posts(self, rows: Sequence[int], photos: str) -> list[Json]:
        """Posts as they are shown. `photos` : where this client finds the photos"""
        return [self._post(row, photos) for row in rows]

    def post(self, uri: str, photos: str) -> Json | None:
        """A post, by its address; None if it is not there."""
        row = self._find_post(uri)
        if row is None or self._is_gone(int(self._world.posts.user[row])):
            return None
        return self._post(row, photos)

    def profile(self, actor: str, photos: str) -> Json | None:
        """An account with its counts, by DID or handle; None if it is not there."""
        user = self.find(actor)
        if user is None or self._is_gone(user):
            return None
        users = self._world.users
        return self._author(user, photos) | {
            "description": "",
            "followersCount": int(users.followers[user]),
            "followsCount": int(users.following[user]),
            "postsCount": int(users.media_count[user]),
            "indexedAt": "2014-01-01T00:00:00.000Z",
        }

    def find(self, actor: str) -> int | None:
        """The row of an account, by its DID or handle."""
        if actor.startswith("did:"):
            row = _number(actor.removeprefix("did:plc:")[:_ROW_CHARACTERS])
            name = self.did
        else:
            digits = actor.lower().removesuffix(HANDLE_DOMAIN).rpartition("-")[2]
            row = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
            name = self.handle
        if row is None or row >= self._world.n_users or name(row) != actor.lower():
            return None
        return row

    def did(self, user: int) -> str:
        """The DID of an account, by its row."""
        row = _base32(user, _ROW_CHARACTERS)
        return "did:plc:" + row + self._noise("did", user, _DID_CHARACTERS - _ROW_CHARACTERS)

    def handle(self, user: int) -> str:
        """The handle of an account, by its row."""
        name = self._people.profile(user, "")["full_name"].partition(" ")[0].lower()
        return f"{name}-{user}{HANDLE_DOMAIN}"

    def uri(self, row: int) -> str:
        """The address of a post, by its row."""
        posts = self._world.posts
        key = record_key(int(posts.tagged_ms[row]), int(posts.seed[row]))
        return f"at://{self.did(int(posts.user[row]))}/{COLLECTION}/{key}"

    def _find_post(self, uri: str) -> int | None:
        number = _number(uri.rpartition("/")[2])
        if number is None:
            return None
        tagged_ms = self._world.posts.tagged_ms
        row = int(np.searchsorted(-tagged_ms, -((number >> 10) // 1000)))
        return row if row < tagged_ms.size and self.uri(row) == uri else None

    def _post(self, row: int, photos: str) -> Json:
        posts = self._world.posts
        uri, user = self.uri(row), int(posts.user[row])
        indexed_at = iso(int(self._indexed_ms[row]))
        record, labels = self._record(row), []
        if self._holds("sensitive", row, SENSITIVE_SHARE):
            value = SENSITIVE_LABELS[int(posts.seed[row]) % len(SENSITIVE_LABELS)]
            source = MODERATION
            if posts.seed[row] >> 4 & 1:
                source = self.did(user)
                record["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": value}]}
            labels.append(label(source, uri, value, indexed_at))
        return {
            "uri": uri,
            "cid": self._cid(f"record {row}"),
            "author": self._author(user, photos),
            "record": record,
            "embed": self._embed(row, photos),
            "bookmarkCount": 0,
            "replyCount": int(posts.comments[row]),
            "repostCount": int(posts.likes[row]) // 8,
            "likeCount": int(posts.likes[row]),
            "quoteCount": 0,
            "indexedAt": indexed_at,
            "viewer": {"bookmarked": False, "threadMuted": False, "embeddingDisabled": False},
            "labels": labels,
        }

    def _author(self, user: int, photos: str) -> Json:
        person, did = self._people.profile(user, photos), self.did(user)
        made_at = "2014-01-01T00:00:00.000Z"
        holds = {
            "!no-unauthenticated": self._world.users.status[user] == PRIVATE
            or self._holds("signed in only", user, SIGNED_IN_ONLY_SHARE),
            "bot": self._holds("bot", user, BOT_SHARE),
        }
        about = f"at://{did}/app.bsky.actor.profile/self"
        return {
            "did": did,
            "handle": self.handle(user),
            "displayName": person["full_name"],
            "avatar": person["profile_picture"],
            "viewer": {"muted": False, "blockedBy": False},
            "labels": [label(did, about, value, made_at) for value, is_there in holds.items() if is_there],
            "createdAt": made_at,
        }

    def _record(self, row: int) -> Json:
        text = self._text(row)
        marked = {match[1] for match in _HASHTAG.finditer(text)}
        record: Json = {
            "$type": COLLECTION,
            "text": text,
            "createdAt": FUTURE if self._is_future[row] else iso(int(self._made_ms[row])),
            "langs": ["en"],
            "facets": list(_facets(text)),
        }
        if beside := [tag for tag in self._tags(row) if tag not in marked]:
            record["tags"] = beside
        return record

    def _embed(self, row: int, photos: str) -> Json:
        url = f"{photos}/photos/{self._world.media_id(row)}"
        if self._world.posts.is_video[row]:
            return {
                "$type": "app.bsky.embed.video#view",
                "cid": self._cid(f"video {row}"),
                "playlist": f"{url}.m3u8",
                "thumbnail": f"{url}_6.jpg",
                "aspectRatio": {"width": 1, "height": 1},
            }
        image: Json = {"fullsize": f"{url}.jpg", "alt": "", "aspectRatio": {"width": 1, "height": 1}}
        if self._holds("gallery", row, GALLERY_SHARE):
            item = {"$type": "app.bsky.embed.gallery#viewImage", "thumbnail": f"{url}_6.jpg"} | image
            return {"$type": "app.bsky.embed.gallery#view", "items": [item]}
        images: Json = {"$type": "app.bsky.embed.images#view", "images": [{"thumb": f"{url}_6.jpg"} | image]}
        if not self._holds("with quote", row, WITH_QUOTE_SHARE):
            return images
        deleted = {
            "$type": "app.bsky.embed.record#viewNotFound",
            "uri": f"at://{MODERATION}/{COLLECTION}/{_base32(row, _KEY_CHARACTERS)}",
            "notFound": True,
        }
        quoted = {"$type": "app.bsky.embed.record#view", "record": deleted}
        return {"$type": "app.bsky.embed.recordWithMedia#view", "record": quoted, "media": images}

    def _text(self, row: int) -> str:
        seed = int(self._world.posts.seed[row])
        return _TEXTS[seed % len(_TEXTS)].format(self._tags(row)[-1])

    def _tags(self, row: int) -> list[str]:
        seed = int(self._world.posts.seed[row])
        return [EVERYONES_TAG] + [tag for bit, tag in enumerate(OTHER_TAGS) if (seed >> 3 * bit) & 7 == 0]

    def _is_gone(self, user: int) -> bool:
        return bool(self._world.users.status[user] == GONE)

    def _cid(self, what: str) -> str:
        return "bafyrei" + self._noise("cid", what, _CID_CHARACTERS)

    def _noise(self, what: str, of: object, characters: int) -> str:
        """Characters that look random and follow from what they belong to."""
        digest = hashlib.blake2b(repr((self._world.seed, what, of)).encode(), digest_size=40).digest()
        return _base32(int.from_bytes(digest, "big"), characters)

    def _holds(self, what: str, row: int, share: float) -> bool:
        """Whether something holds for this row, as it does for the given share of rows."""
        return unit_hash(self._world.seed, "bluesky", what, row) < share


def record_key(ms: int, number: int) -> str:
    """A post's key: 53 bits of microseconds and 10 of a clock's number (atproto.com, specs/tid)."""
    return _base32(ms * 1000 << 10 | number & 1023, _KEY_CHARACTERS)


def parse_moment(text: str) -> int | None:
    """Unix milliseconds, rounded up, of a moment with its time zone, or of a day; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2015-10-01"):
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is None:
            return None
        return -((datetime(1970, 1, 1, tzinfo=UTC) - moment) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        return None


def _facets(text: str) -> Iterator[Json]:
    """Where hashtags stand in a text, in bytes of UTF-8."""
    for match in _HASHTAG.finditer(text):
        start, end = (len(text[:place].encode()) for place in match.span())
        yield {
            "index": {"byteStart": start, "byteEnd": end},
            "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": match[1]}],
        }


def label(source: str, uri: str, value: str, made_at: str) -> Json:
    """A label that `source` has put on an account or a post."""
    return {"ver": 1, "src": source, "uri": uri, "val": value, "cts": made_at}


def _base32(number: int, characters: int) -> str:
    """The lowest bits of a number, in digits that sort as the number does."""
    return "".join(_SORTABLE[number >> 5 * place & 31] for place in reversed(range(characters)))


def _number(digits: str) -> int | None:
    number = 0
    for digit in digits[:_KEY_CHARACTERS]:
        value = _SORTABLE.find(digit)
        if value < 0:
            return None
        number = number << 5 | value
    return number


def iso(ms: int) -> str:
    """A moment in Unix milliseconds, as the network writes it."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
