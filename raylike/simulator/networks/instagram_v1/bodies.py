"""The world in the words of Instagram's API v1, as of 2015.

Builds bodies; knows no HTTP. Formats after facebookarchive/python-instagram (fixtures, client.py) and
the developer pages of the time; ids in pagination are milliseconds of tagging, as strings, and counts
of followers appear in `/users/{id}` only.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from raylike.simulator.drawing.spec import SIDE_PX
from raylike.simulator.networks.base import Json
from raylike.simulator.world import GONE, PRIVATE, World

DEFAULT_COUNT, MAX_COUNT = 20, 33
"""Posts on a page: without `count`, and at most."""
EVERYONES_TAG = "me"
OTHER_TAGS = ("selfie", "love", "instagood", "photooftheday", "happy", "summer", "friends", "tbt")
BANNED_TAGS = frozenset({"iphone", "photography"})

_SYLLABLES = (
    "ka",
    "mi",
    "lo",
    "ren",
    "sa",
    "vi",
    "ta",
    "no",
    "el",
    "ju",
    "ri",
    "mar",
    "ada",
    "ben",
    "zo",
    "li",
)
_WORDS = ("sun", "photo", "daily", "real", "just", "the", "hey", "its", "mr", "ms", "snap", "moon")
_FILTERS = ("Normal", "Valencia", "Clarendon", "X-Pro II", "Lo-fi", "Amaro", "Juno", "Ludwig")
_CAPTIONS = (
    "#me",
    "#me and my day",
    "hello! #me",
    "just #me",
    "#me #{0}",
    "feeling good #me #{0}",
    "another one #me #{0}",
)


def error(kind: str, message: str, code: int = 400) -> Json:
    """An error in the usual envelope."""
    return {"meta": {"error_type": kind, "code": code, "error_message": message}}


def oauth_error(message: str) -> Json:
    """An error of the OAuth endpoints: flat, without `meta`."""
    return {"code": 400, "error_type": "OAuthException", "error_message": message}


RATE_LIMITED = error(
    "OAuthRateLimitException", "The maximum number of requests per hour has been exceeded.", 429
)
BAD_TOKEN = error("OAuthAccessTokenException", "The access_token provided is invalid.")
NO_TOKEN = error("OAuthParameterException", "Missing client_id or access_token URL parameter.")
PRIVATE_USER = error("APINotAllowedError", "you cannot view this resource")
UNKNOWN_USER = error("APINotFoundError", "this user does not exist")
UNKNOWN_MEDIA = error("APINotFoundError", "invalid media id")
BANNED_TAG = error("APINotAllowedError", "This tag cannot be viewed")


def bad_parameter(name: str) -> Json:
    """The error for a parameter that is no number."""
    return error("APIInvalidParametersError", f"invalid {name}")


class InstagramV1:
    """One world, told in API v1's bodies.

    Parameters
    ----------
    world : whom and what to tell of
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows_by_tag: dict[str, NDArray[np.int64]] = {EVERYONES_TAG: np.arange(world.posts.user.size)}
        for bit, tag in enumerate(OTHER_TAGS):
            self._rows_by_tag[tag] = np.flatnonzero((world.posts.seed >> 3 * bit) & 7 == 0)

    def recent(self, tag: str, count: int, max_tag_id: int | None, min_tag_id: int | None,
               api: str, photos: str, token: str) -> Json:  # fmt: skip
        """A page of a tag, newest first.

        Parameters
        ----------
        max_tag_id, min_tag_id : only posts tagged before, after; milliseconds
        api, photos : where this client finds the API (".../v1") and the photos
        token : repeated in `next_url`, as the network did
        """
        rows = self._rows_by_tag.get(tag.lower(), np.empty(0, np.int64))
        age = -self._world.posts.tagged_ms[rows]  # ascending
        first = 0 if max_tag_id is None else int(np.searchsorted(age, -max_tag_id, side="right"))
        end = age.size if min_tag_id is None else int(np.searchsorted(age, -min_tag_id, side="left"))
        page = rows[first : min(first + min(max(count, 1), MAX_COUNT), end)]
        pagination: Json = {}
        if page.size:
            newest, oldest = (str(int(self._world.posts.tagged_ms[row])) for row in (page[0], page[-1]))
            pagination["min_tag_id"] = newest
            if first + page.size < end:
                query = urlencode({"access_token": token, "max_tag_id": oldest, "count": count})
                pagination |= {
                    "next_max_tag_id": oldest,
                    "next_max_id": oldest,
                    "next_min_id": newest,
                    "deprecation_warning": "next_max_id and min_id are deprecated for this endpoint; "
                    "use min_tag_id and max_tag_id instead",
                    "next_url": f"{api}/tags/{quote(tag)}/media/recent?{query}",
                }
        return {
            "pagination": pagination,
            "meta": {"code": 200},
            "data": [self._media(int(row), photos) for row in page],
        }

    def user(self, user_id: str, photos: str) -> tuple[int, Json]:
        """HTTP status and body of an account."""
        user = self._world.find_user(user_id)
        if user is None or self._world.users.status[user] == GONE:
            return 400, UNKNOWN_USER
        if self._world.users.status[user] == PRIVATE:
            return 400, PRIVATE_USER
        users = self._world.users
        counts = {
            "media": int(users.media_count[user]),
            "followed_by": int(users.followers[user]),
            "follows": int(users.following[user]),
        }
        return 200, {"meta": {"code": 200}, "data": self.profile(user, photos) | {"counts": counts}}

    def media(self, media_id: str, photos: str) -> tuple[int, Json]:
        """HTTP status and body of a post."""
        row = self._world.find_post(media_id)
        status = GONE if row is None else self._world.users.status[self._world.posts.user[row]]
        if row is None or status == GONE:
            return 400, UNKNOWN_MEDIA
        if status == PRIVATE:
            return 400, PRIVATE_USER
        return 200, {"meta": {"code": 200}, "data": self._media(row, photos)}

    def profile(self, user: int, photos: str) -> Json:
        """An account as it is embedded: no counts."""
        name = _full_name(user)
        return {"username": username(user), "website": "", "bio": "", "full_name": name,
                "profile_picture": f"{photos}/profiles/{self._world.user_id(user)}.jpg",
                "id": self._world.user_id(user)}  # fmt: skip

    def _media(self, row: int, photos: str) -> Json:
        posts = self._world.posts
        media_id = self._world.media_id(row)
        seed, user = int(posts.seed[row]), int(posts.user[row])
        tags = [EVERYONES_TAG] + [tag for bit, tag in enumerate(OTHER_TAGS) if (seed >> 3 * bit) & 7 == 0]
        created = int(posts.created_s[row])
        author = {
            key: value for key, value in self.profile(user, photos).items() if key not in ("website", "bio")
        }
        text = _CAPTIONS[seed % len(_CAPTIONS)].format(tags[-1])
        caption = {
            "created_time": str(created + 1),
            "text": text,
            "from": author,
            "id": str(17_900_000_000 + row),
        }
        url = f"{photos}/photos/{media_id}"
        item: Json = {
            "attribution": None,
            "tags": tags,
            "type": "video" if posts.is_video[row] else "image",
            "location": None,
            "comments": {"count": int(posts.comments[row]), "data": []},
            "filter": _FILTERS[seed // 7 % len(_FILTERS)],
            "created_time": str(created),
            "link": f"https://instagram.com/p/{seed:08x}{row:x}/",
            "likes": {"count": int(posts.likes[row]), "data": []},
            "images": {
                "low_resolution": {"url": f"{url}_6.jpg", "width": 306, "height": 306},
                "thumbnail": {"url": f"{url}_5.jpg", "width": 150, "height": 150},
                "standard_resolution": {"url": f"{url}.jpg", "width": SIDE_PX, "height": SIDE_PX},
            },
            "users_in_photo": [],
            "caption": caption if seed % 29 else None,
            "user_has_liked": False,
            "id": media_id,
            "user": self.profile(user, photos),
        }
        if posts.is_video[row]:
            item["videos"] = {
                "standard_resolution": {"url": f"{url}.mp4", "width": SIDE_PX, "height": SIDE_PX}
            }
        return item


def username(user: int) -> str:
    """An invented handle that no two accounts share."""
    scrambled = user * 2_654_435_761 % 2**32
    word = _WORDS[scrambled % 12] if scrambled >> 9 & 1 else ""
    joint = ("", "_", ".")[scrambled >> 11 & 1] if word else ""
    return f"{word}{joint}{_given_name(scrambled)}{user:02d}"


def _full_name(user: int) -> str:
    scrambled = user * 2_654_435_761 % 2**32
    return f"{_given_name(scrambled).title()} {_given_name(scrambled >> 7).title()}"


def _given_name(number: int) -> str:
    parts = [_SYLLABLES[number >> shift & 15] for shift in (3, 12, 20)[: 2 + (number >> 27 & 1)]]
    return "".join(parts)
