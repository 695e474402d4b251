"""The world in the words of Mastodon 4.3, and of Pixelfed.

Builds bodies; knows no HTTP. Formats after docs.joinmastodon.org (entities/Status, entities/Account,
entities/MediaAttachment) and pixelfed/pixelfed (Transformer/Api). Ids of posts are snowflakes: the
milliseconds of tagging, shifted by 16 bits, and 16 bits that look random. So they sort by time; they are
told as strings, as they do not fit into a float. Ids of accounts are the world's.

Accounts that are gone, and their posts, are not there. Of an account's wishes the world knows none: they
are drawn here, from its row. Mastodon keeps unlisted posts out of its timelines; here they come through,
as from servers that are less careful, so that a reader who does not look at `visibility` is found out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.drawing.spec import SIDE_PX
from raylike.simulator.faults import unit_hash
from raylike.simulator.networks.base import Json
from raylike.simulator.networks.instagram_v1.bodies import EVERYONES_TAG, OTHER_TAGS
from raylike.simulator.networks.instagram_v1.bodies import InstagramV1 as People
from raylike.simulator.world import AS_OF, GONE, PRIVATE, World

DEFAULT_LIMIT, MAX_LIMIT = 20, 40
"""Posts on a page: without `limit`, and at most."""
MAX_ACCOUNTS, MAX_STATUSES = 40, 20
"""That one request may name: DEFAULT_ACCOUNTS_LIMIT and DEFAULT_STATUSES_LIMIT in api/base_controller.rb."""
SMALL_PX = 306
PIXELFED_LOOKS_BACK = timedelta(days=274)
"""Nine months: Pixelfed pages no further."""

BOT_SHARE, LOCKED_SHARE = 0.02, 0.03
NOINDEX_SHARE, NOT_INDEXABLE_SHARE, NOT_DISCOVERABLE_SHARE = 0.04, 0.08, 0.05
HIDDEN_FOLLOWERS_SHARE = 0.03
"""Of accounts; the last one on Pixelfed only. Accounts that are private in the world are locked too."""
SENSITIVE_SHARE, UNLISTED_SHARE = 0.02, 0.01
"""Of posts."""

_SEQUENCE_BITS = 16
_SEQUENCE_MASK = (1 << _SEQUENCE_BITS) - 1
_CAPTIONS = (
    "<p>{me}</p>",
    "<p>{me} and my day</p>",
    "<p>hello!<br />{me}</p>",
    "<p>just {me}</p><p>{other}</p>",
    "<p>feeling good &amp; rested {me} {other}</p>",
)


class Mastodon:
    """One world, told in Mastodon's bodies.

    Parameters
    ----------
    world : whom and what to tell of
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._people = People(world)
        posts = world.posts
        there = world.users.status[posts.user] != GONE
        self._rows_by_tag: dict[str, NDArray[np.int64]] = {EVERYONES_TAG: np.flatnonzero(there)}
        for bit, tag in enumerate(OTHER_TAGS):
            self._rows_by_tag[tag] = np.flatnonzero(there & ((posts.seed >> 3 * bit) & 7 == 0))
        self._ids = posts.tagged_ms << _SEQUENCE_BITS | posts.seed & _SEQUENCE_MASK

    def timeline(self, tag: str, limit: int, max_id: int | None, since_id: int | None, min_id: int | None,
                 api: str, photos: str) -> list[Json]:  # fmt: skip
        """A page of a tag, newest first.

        Parameters
        ----------
        limit : posts, from 0; more than 40 are 40
        max_id, since_id : only posts with smaller ids, with larger ids
        min_id : likewise larger ids, but those next to it instead of the newest
        api, photos : where this client finds the server's root and the photos
        """
        rows = self._rows_by_tag.get(tag.lower(), np.empty(0, np.int64))
        age = -self._ids[rows]  # ascending
        first = 0 if max_id is None else int(np.searchsorted(age, -max_id, side="right"))
        newer_than = max((bound for bound in (since_id, min_id) if bound is not None), default=0)
        end = int(np.searchsorted(age, -newer_than, side="left"))
        size = min(limit, MAX_LIMIT, max(end - first, 0))
        page = rows[end - size : end] if min_id is not None else rows[first : first + size]
        return [self._status(int(row), api, photos) for row in page]

    def account(self, account_id: str, api: str, photos: str) -> Json | None:
        """An account; None if it is not there."""
        user = self._world.find_user(account_id)
        if user is None or self._world.users.status[user] == GONE:
            return None
        return self._account(user, api, photos)

    def status(self, status_id: str, api: str, photos: str) -> Json | None:
        """A post; None if it is not there."""
        row = post_row(self._world, status_id)
        if row is None or self._world.users.status[self._world.posts.user[row]] == GONE:
            return None
        return self._status(row, api, photos)

    def _account(self, user: int, api: str, photos: str) -> Json:
        users = self._world.users
        person = self._people.profile(user, photos)
        name, account_id = person["username"].replace(".", "_"), person["id"]
        avatar = person["profile_picture"]
        return {
            "id": account_id,
            "username": name,
            "acct": name,
            "display_name": person["full_name"],
            "locked": bool(users.status[user] == PRIVATE) or self._holds("locked", user, LOCKED_SHARE),
            "bot": self._holds("bot", user, BOT_SHARE),
            "discoverable": not self._holds("not discoverable", user, NOT_DISCOVERABLE_SHARE),
            "indexable": not self._holds("not indexable", user, NOT_INDEXABLE_SHARE),
            "group": False,
            "created_at": "2014-01-01T00:00:00.000Z",
            "note": "",
            "url": f"{api}/@{name}",
            "uri": f"{api}/users/{name}",
            "avatar": avatar,
            "avatar_static": avatar,
            "header": f"{api}/headers/original/missing.png",
            "header_static": f"{api}/headers/original/missing.png",
            "followers_count": int(users.followers[user]),
            "following_count": int(users.following[user]),
            "statuses_count": int(users.media_count[user]),
            "last_status_at": AS_OF.date().isoformat(),
            "hide_collections": None,
            "noindex": self._holds("noindex", user, NOINDEX_SHARE),
            "emojis": [],
            "roles": [],
            "fields": [],
        }

    def _status(self, row: int, api: str, photos: str) -> Json:
        posts = self._world.posts
        status_id, seed = str(self._ids[row]), int(posts.seed[row])
        tags = [EVERYONES_TAG] + [tag for bit, tag in enumerate(OTHER_TAGS) if (seed >> 3 * bit) & 7 == 0]
        account = self._account(int(posts.user[row]), api, photos)
        return {
            "id": status_id,
            "created_at": iso(datetime.fromtimestamp(int(posts.created_s[row]), UTC)),
            "in_reply_to_id": None,
            "in_reply_to_account_id": None,
            "sensitive": self._holds("sensitive", row, SENSITIVE_SHARE),
            "spoiler_text": "",
            "visibility": "unlisted" if self._holds("unlisted", row, UNLISTED_SHARE) else "public",
            "language": "en",
            "uri": f"{account['uri']}/statuses/{status_id}",
            "url": f"{account['url']}/{status_id}",
            "replies_count": int(posts.comments[row]),
            "reblogs_count": int(posts.likes[row]) // 8,
            "favourites_count": int(posts.likes[row]),
            "edited_at": None,
            "favourited": False,
            "reblogged": False,
            "muted": False,
            "bookmarked": False,
            "content": _CAPTIONS[seed % len(_CAPTIONS)].format(
                me=_mention(api, EVERYONES_TAG), other=_mention(api, tags[-1])
            ),
            "filtered": [],
            "reblog": None,
            "application": None,
            "account": account,
            "media_attachments": [self._attachment(row, photos)],
            "mentions": [],
            "tags": [{"name": tag, "url": f"{api}/tags/{tag}"} for tag in tags],
            "emojis": [],
            "card": None,
            "poll": None,
        }

    def _attachment(self, row: int, photos: str) -> Json:
        url = f"{photos}/photos/{self._world.media_id(row)}"
        is_video = bool(self._world.posts.is_video[row])
        return {
            "id": str(self._ids[row] + 1),
            "type": "video" if is_video else "image",
            "url": f"{url}.mp4" if is_video else f"{url}.jpg",
            "preview_url": f"{url}_6.jpg",
            "remote_url": None,
            "preview_remote_url": None,
            "text_url": None,
            "meta": {"original": _size(SIDE_PX), "small": _size(SMALL_PX)},
            "description": None,
            "blurhash": "UFBWY:8_0Jxv4mx]t8t64.%M-:IUWGWAt6M}",
        }

    def _holds(self, what: str, row: int, share: float) -> bool:
        """Whether something holds for this row, as it does for the given share of rows."""
        return unit_hash(self._world.seed, "mastodon", what, row) < share


class Pixelfed(Mastodon):
    """The same world in Pixelfed's bodies: fewer wishes, no sizes, hidden followers, nine months."""

    def timeline(self, tag: str, limit: int, max_id: int | None, since_id: int | None, min_id: int | None,
                 api: str, photos: str) -> list[Json]:  # fmt: skip
        """A page of a tag, newest first; empty where it would begin more than nine months ago."""
        oldest_ms = int((AS_OF - PIXELFED_LOOKS_BACK).timestamp() * 1000)
        if any(bound is not None and bound < oldest_ms << _SEQUENCE_BITS for bound in (max_id, min_id)):
            return []
        return super().timeline(tag, limit, max_id, since_id, min_id, api, photos)

    def _account(self, user: int, api: str, photos: str) -> Json:
        told = super()._account(user, api, photos) | {"discoverable": True, "bot": False, "local": True}
        for unknown in ("indexable", "noindex", "group", "roles", "hide_collections"):
            del told[unknown]
        if self._holds("hidden followers", user, HIDDEN_FOLLOWERS_SHARE):
            told["followers_count"] = 0
        return told

    def _attachment(self, row: int, photos: str) -> Json:
        return super()._attachment(row, photos) | {"meta": None}


def post_id(world: World, row: int) -> str:
    """The id of a post, by its row."""
    posts = world.posts
    return str(int(posts.tagged_ms[row]) << _SEQUENCE_BITS | int(posts.seed[row]) & _SEQUENCE_MASK)


def post_row(world: World, status_id: str) -> int | None:
    """The row of a post, by its id; None if there is none."""
    if not (status_id.isascii() and status_id.isdigit() and len(status_id) < 20):
        return None
    tagged_ms = int(status_id) >> _SEQUENCE_BITS
    row = int(np.searchsorted(-world.posts.tagged_ms, -tagged_ms))
    return row if row < world.posts.user.size and post_id(world, row) == status_id else None


def number(text: str) -> int:
    """A number as Ruby reads one: what is none is 0."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _mention(api: str, tag: str) -> str:
    return f'<a href="{api}/tags/{tag}" class="mention hashtag" rel="tag">#<span>{tag}</span></a>'


def _size(side_px: int) -> Json:
    return {"width": side_px, "height": side_px, "size": f"{side_px}x{side_px}", "aspect": 1.0}


def iso(moment: datetime) -> str:
    """A moment as the network writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
