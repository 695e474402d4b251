"""The world in the words of the Instagram API with Facebook Login, version 25.0.

Builds bodies and reads the fields that are asked for; knows no HTTP. Formats after
developers.facebook.com/documentation/instagram-platform (business_discovery, ig-hashtag-search,
ig-hashtag/top-media, error-codes) and recorded answers.

Of an account's kind the world knows nothing: which are professional, which hide their likes, which posts
are albums and which have nothing to do with any tag is drawn here. Accounts that are private or gone are
answered as those that are not professional, as the network does. An album has a picture where it is read
by account, and none where it is read by hashtag.

A cursor is a place in a list. The network's own cursor of a hashtag is the same for every page; here
each page has one, as the server keeps nothing of its readers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.networks.base import Json
from raylike.simulator.networks.instagram_v1.bodies import BANNED_TAGS, EVERYONES_TAG, OTHER_TAGS, username
from raylike.simulator.world import AS_OF, OK, World

DEFAULT_LIMIT, MAX_LIMIT = 25, 50
"""Posts on a page: without `limit`, and at most."""
RECENT = timedelta(hours=24)
"""recent_media shows nothing older."""

PROFESSIONAL_SHARE, HIDDEN_LIKES_SHARE = 0.7, 0.05
"""Of accounts."""
ALBUM_SHARE, UNTAGGED_SHARE = 0.08, 0.1
"""Of posts."""
KEPT_BACK = 3
"""Of so many videos one has no `media_url`, as those with somebody else's music."""

MOST_NESTED = 4
"""Fields within fields, as deep as they are read."""

ACCOUNT_FIELDS = frozenset({"id", "username", "followers_count", "follows_count", "media_count"})
TAG_MEDIA_FIELDS = frozenset(
    ("id", "caption", "media_type", "media_url", "permalink", "timestamp", "like_count", "comments_count")
)
MEDIA_FIELDS = TAG_MEDIA_FIELDS | {"media_product_type"}
TAGS = (EVERYONES_TAG, *OTHER_TAGS)

_FIRST_ACCOUNT_ID = 17_841_400_000_000_000
_FIRST_MEDIA_ID, _MEDIA_ID_STEP = 17_900_000_000_000_000, 7_919_003
_FIRST_TAG_ID, _TAG_ID_STEP = 17_843_800_000_000_000, 1_009
_FIRST_PAGE_ID = 100_000_000_000_000

_CAPTIONS = ("{me} {others}", "{others} {me} and my day", "Hello! {me} {others}", "just {me}.{others}")
_UNTAGGED = ("", "quiet morning", "today: the #menu", "#meandmydog")
_WRITTEN = ("#me", "#me", "#Me", "#ME")

_FIELD = re.compile(r"(\w+)((?:\.\w+\([^(){},]*\))*)")
_ARGUMENT = re.compile(r"\.(\w+)\(([^(){},]*)\)")
_NUMBER_AT_END = re.compile(r"[0-9]{2,9}$")


class Failure(Exception):
    """A request that is answered with an error, HTTP status 400.

    Parameters
    ----------
    body : the answer
    """

    def __init__(self, body: Json) -> None:
        super().__init__(body)
        self.body = body


@dataclass(frozen=True)
class Field:
    """A field as it is asked for: `name.argument(value){fields}`."""

    name: str
    arguments: dict[str, str] = field(default_factory=dict)
    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        arguments = "".join(f".{name}({value})" for name, value in self.arguments.items())
        inner = f"{{{','.join(map(str, self.fields))}}}" if self.fields else ""
        return f"{self.name}{arguments}{inner}"


def error(code: int, message: str, subcode: int | None = None, *, transient: bool = False) -> Json:
    """An error in the usual envelope."""
    told: Json = {"message": message, "type": "OAuthException", "is_transient": transient, "code": code}
    if subcode is not None:
        told["error_subcode"] = subcode
    return {"error": told | {"fbtrace_id": "ASimulatedTrace"}}


def bad_parameter(message: str, subcode: int | None = None) -> Failure:
    """The failure for a request that is not as it should be."""
    return Failure(error(100, f"(#100) {message}", subcode))


def unknown_node(node_id: str) -> Failure:
    """The failure for an id that is nobody's, or not this token's business."""
    message = f"Unsupported get request. Object with ID '{node_id}' does not exist, or cannot be loaded"
    return Failure(error(100, message, 33))


NO_TOKEN = error(104, "An access token is required to request this resource.")
BAD_TOKEN = error(190, "Invalid OAuth access token - Cannot parse access token")
RATE_LIMITED = error(4, "(#4) Application request limit reached", transient=True)
UNKNOWN_ACCOUNT = error(110, "Invalid user id", 2207013)
UNKNOWN_TAG = error(24, "(#24) The requested resource does not exist", 2207024)
BANNED_TAG = error(100, "(#100) The hashtag cannot be searched")
TOO_MANY_TAGS = error(18, "(#18) Max number of unique hashtags searched within 7 days", 2207034)


def read_fields(asked: str) -> tuple[Field, ...]:
    """The fields that a `fields` parameter asks for. Raises `Failure` if it is not well-formed."""
    fields, end = _read_fields(asked, 0, 1)
    if end != len(asked):
        raise _syntax(asked, end)
    return fields


def _read_fields(asked: str, at: int, depth: int) -> tuple[tuple[Field, ...], int]:
    """Fields from a position on, up to what is none, and the position of that."""
    if depth > MOST_NESTED:
        raise _syntax(asked, at)
    fields: list[Field] = []
    while True:
        found = _FIELD.match(asked, at)
        if found is None:
            raise _syntax(asked, at)
        at = found.end()
        inner: tuple[Field, ...] = ()
        if asked[at : at + 1] == "{":
            inner, at = _read_fields(asked, at + 1, depth + 1)
            if asked[at : at + 1] != "}":
                raise _syntax(asked, at)
            at += 1
        fields.append(Field(found[1], dict(_ARGUMENT.findall(found[2])), inner))
        if asked[at : at + 1] != ",":
            return tuple(fields), at
        at += 1


def _syntax(asked: str, at: int) -> Failure:
    return bad_parameter(f"Syntax error at character {at} of fields: {asked[at : at + 20]!r}")


class InstagramGraph:
    """One world, told in the Graph API's bodies.

    Parameters
    ----------
    world : whom and what to tell of
    """

    def __init__(self, world: World) -> None:
        self._world = world
        posts, users = world.posts, world.users
        rng = np.random.default_rng((world.seed, world.n_users, 25))
        self._is_readable = (rng.random(world.n_users) < PROFESSIONAL_SHARE) & (users.status == OK)
        self._hides_likes = rng.random(world.n_users) < HIDDEN_LIKES_SHARE
        self._is_album = (rng.random(posts.user.size) < ALBUM_SHARE) & ~posts.is_video
        self._is_tagged = rng.random(posts.user.size) >= UNTAGGED_SHARE
        self._by_account = np.lexsort((-posts.created_s, posts.user))
        self._starts = np.searchsorted(posts.user[self._by_account], np.arange(world.n_users + 1))

    def account_of(self, user_id: str) -> str | None:
        """The Instagram account of who signed in, by the world's id; None if the world has no such."""
        return None if self._world.find_user(user_id) is None else account_id(user_id)

    def own_pages(self, user_id: str, fields: Sequence[Field]) -> Json:
        """The Facebook pages of who signed in: one, with an account that is professional in any case."""
        user = self._world.find_user(user_id)
        if user is None:
            return {"data": []}
        page: Json = {"id": str(_FIRST_PAGE_ID + user), "name": username(user)}
        told = _chosen(page, frozenset(page), "Page", _without(fields, "instagram_business_account"))
        for asked in fields:
            if asked.name == "instagram_business_account":
                told[asked.name] = _chosen(self._account(user), ACCOUNT_FIELDS, "IGUser", asked.fields)
        return {"data": [told]}

    def own_account(self, user_id: str, fields: Sequence[Field], photos: str) -> Json:
        """The account of who signed in, and what it asks of another by `business_discovery`."""
        user = self._world.find_user(user_id)
        assert user is not None  # whoever has an account is in the world
        plain = _without(fields, "business_discovery")
        told = _chosen(self._account(user), ACCOUNT_FIELDS, "IGUser", plain)
        for asked in fields:
            if asked.name == "business_discovery":
                told[asked.name] = self._discovered(asked, photos)
        return told

    def tag_id(self, tag: str) -> str:
        """The id of a hashtag. Raises `Failure` for one that nobody used, or that is not shown."""
        if tag.lower() in BANNED_TAGS:
            raise Failure(BANNED_TAG)
        if tag.lower() not in TAGS:
            raise Failure(UNKNOWN_TAG)
        return str(_FIRST_TAG_ID + _TAG_ID_STEP * TAGS.index(tag.lower()))

    def tag_media(
        self, tag_id: str, edge: str, fields: Sequence[Field], limit: str, after: str, photos: str
    ) -> Json:
        """A page of the posts of a hashtag.

        Parameters
        ----------
        edge : top_media, most liked first, or recent_media, newest first
        limit, after : as asked for; may be empty
        photos : where this client finds the photos
        """
        number, rest = divmod(int(tag_id) - _FIRST_TAG_ID, _TAG_ID_STEP)
        if rest or not 0 <= number < len(TAGS):
            raise unknown_node(tag_id)
        rows = self._tagged(number)
        posts = self._world.posts
        if edge == "recent_media":
            rows = rows[posts.created_s[rows] > (AS_OF - RECENT).timestamp()]
            rows = rows[np.argsort(-posts.created_s[rows], kind="stable")]
        else:
            rows = rows[np.argsort(-posts.likes[rows], kind="stable")]
        first, end = _span(limit, after, f"{tag_id}/{edge}")
        told = [
            _chosen(self._tag_media(int(row), photos), TAG_MEDIA_FIELDS, "IGMedia", fields)
            for row in rows[first:end]
        ]
        paging: Json = {"cursors": {"after": _cursor(f"{tag_id}/{edge}", end)}} if end < rows.size else {}
        return {"data": told, "paging": paging}

    def _discovered(self, asked: Field, photos: str) -> Json:
        """Somebody else's account, by its name."""
        if set(asked.arguments) != {"username"}:
            raise bad_parameter("The parameter username is required")
        user = find_username(self._world, asked.arguments["username"])
        if user is None or not self._is_readable[user]:
            raise Failure(UNKNOWN_ACCOUNT)
        told = _chosen(self._account(user), ACCOUNT_FIELDS, "IGUser", _without(asked.fields, "media"))
        for inner in asked.fields:
            if inner.name == "media":
                told["media"] = self._account_media(user, inner, photos)
        return told

    def _account_media(self, user: int, asked: Field, photos: str) -> Json:
        """A page of an account's posts, newest first."""
        if unknown := set(asked.arguments) - {"limit", "after"}:
            raise bad_parameter(f"Unknown argument {min(unknown)} of media")
        rows = self._by_account[self._starts[user] : self._starts[user + 1]]
        place = f"{account_id(self._world.user_id(user))}/media"
        first, end = _span(asked.arguments.get("limit", ""), asked.arguments.get("after", ""), place)
        told = [
            _chosen(self._media(int(row), photos), MEDIA_FIELDS, "IGMedia", asked.fields)
            for row in rows[first:end]
        ]
        cursors = {"before": _cursor(place, first)} if first else {}
        if end < rows.size:
            cursors["after"] = _cursor(place, end)
        return {"data": told} | ({"paging": {"cursors": cursors}} if cursors else {})

    def _tagged(self, number: int) -> NDArray[np.int64]:
        """The rows of posts that show a hashtag, of accounts that everybody may see."""
        posts = self._world.posts
        shown = self._is_tagged & (self._world.users.status[posts.user] == OK)
        if number:
            shown &= (posts.seed >> 3 * (number - 1)) & 7 == 0
        return np.flatnonzero(shown)

    def _account(self, user: int) -> Json:
        users = self._world.users
        return {
            "id": account_id(self._world.user_id(user)),
            "username": username(user),
            "followers_count": int(users.followers[user]),
            "follows_count": int(users.following[user]),
            "media_count": int(users.media_count[user]),
        }

    def _media(self, row: int, photos: str) -> Json:
        posts = self._world.posts
        url = f"{photos}/photos/{self._world.media_id(row)}"
        is_video = bool(posts.is_video[row])
        created_at = datetime.fromtimestamp(int(posts.created_s[row]), UTC)
        told: Json = {
            "id": post_id(row),
            "media_type": "VIDEO" if is_video else "CAROUSEL_ALBUM" if self._is_album[row] else "IMAGE",
            "media_product_type": "REELS" if is_video else "FEED",
            "permalink": f"https://www.instagram.com/p/{int(posts.seed[row]):08x}{row:x}/",
            "timestamp": created_at.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "comments_count": int(posts.comments[row]),
        }
        if not self._hides_likes[posts.user[row]]:
            told["like_count"] = int(posts.likes[row])
        if not is_video or row % KEPT_BACK:
            told["media_url"] = f"{url}.mp4" if is_video else f"{url}.jpg"
        if caption := self._caption(row):
            told["caption"] = caption
        return told

    def _tag_media(self, row: int, photos: str) -> Json:
        told = self._media(row, photos)
        if told["media_type"] == "CAROUSEL_ALBUM":
            del told["media_url"]
        return told

    def _caption(self, row: int) -> str:
        seed = int(self._world.posts.seed[row])
        if not self._is_tagged[row]:
            return _UNTAGGED[seed % len(_UNTAGGED)]
        others = " ".join(f"#{tag}" for bit, tag in enumerate(OTHER_TAGS) if (seed >> 3 * bit) & 7 == 0)
        me = _WRITTEN[seed // 5 % len(_WRITTEN)]
        return _CAPTIONS[seed % len(_CAPTIONS)].format(me=me, others=others).strip()


def account_id(user_id: str) -> str:
    """The id of an Instagram account, by the world's id of it."""
    return str(_FIRST_ACCOUNT_ID + int(user_id))


def post_id(row: int) -> str:
    """The id of a post, by its row."""
    return str(_FIRST_MEDIA_ID + _MEDIA_ID_STEP * row)


def post_row(world: World, media_id: str) -> int | None:
    """The row of a post, by its id; None if there is none."""
    if not (media_id.isascii() and media_id.isdigit() and len(media_id) < 20):
        return None
    row, rest = divmod(int(media_id) - _FIRST_MEDIA_ID, _MEDIA_ID_STEP)
    return row if rest == 0 and 0 <= row < world.posts.user.size else None


def find_username(world: World, name: str) -> int | None:
    """The row of an account, by its name, which ends with it; None if there is none."""
    found = _NUMBER_AT_END.search(name)
    user = world.n_users if found is None else int(found[0])
    return user if user < world.n_users and username(user) == name.lower() else None


def _chosen(told: Json, known: frozenset[str], node: str, fields: Iterable[Field]) -> Json:
    """Of what there is to tell, the fields that are asked for, and the id."""
    names = [asked.name for asked in fields if not (asked.arguments or asked.fields)]
    strange = [asked.name for asked in fields if asked.name not in known or asked.name not in names]
    if strange:
        raise bad_parameter(f"Tried accessing nonexisting field ({strange[0]}) on node type ({node})")
    return {name: told[name] for name in (*names, "id") if name in told}


def _without(fields: Iterable[Field], name: str) -> list[Field]:
    return [asked for asked in fields if asked.name != name]


def _span(limit: str, after: str, place: str) -> tuple[int, int]:
    """Where a page begins and ends in its list. Raises `Failure` for what is no limit, or no cursor of it."""
    if limit and not (limit.isascii() and limit.isdigit() and 0 < len(limit) < 10 and int(limit)):
        raise bad_parameter("Param limit must be a number greater than 0")
    first = 0
    if after:
        first = _position(after, place)
    return first, first + min(int(limit or DEFAULT_LIMIT), MAX_LIMIT)


def _cursor(place: str, position: int) -> str:
    return base64.urlsafe_b64encode(f"{place}:{position}".encode()).decode()


def _position(cursor: str, place: str) -> int:
    """The position that a cursor of a list names. Raises `Failure` if it is none of this list."""
    try:
        found, _, position = base64.urlsafe_b64decode(cursor.encode()).decode().rpartition(":")
    except ValueError:
        raise bad_parameter("Invalid cursor") from None
    if found != place or not (position.isascii() and position.isdigit() and len(position) < 10):
        raise bad_parameter("Invalid cursor")
    return int(position)
