"""The Instagram API of 2010-2018, version 1: spoken today by archives and by the simulator.

Posts come by tag, newest first, about 33 a page; they name their account but not its followers, so
every account costs one more hit. The limit is 5000 hits an hour and token, in a sliding window; the
headers say what remains but not when it comes back.

Sources: facebookarchive/python-instagram (client, bind, fixtures); instagram.com/developer/limits and
/endpoints as of 2015, in copies; error bodies from sesser/Instaphp#46 and consumingrestapis.github.io.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp
from yarl import URL

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked
from raylike.providers.base import (
    FAILED,
    GONE,
    OK,
    PRIVATE,
    Page,
    Post,
    Query,
    Reading,
    User,
    count,
    mapping,
    sequence,
    text,
)
from raylike.providers.http import JsonAnswer, next_page
from raylike.providers.wire import Wire

BASE_URL = "https://api.instagram.com/v1"

RATE_ERRORS = {"OAuthRateLimitException"}
TOKEN_ERRORS = {"OAuthAccessTokenException", "OAuthParameterException", "OAuthForbiddenException"}
NOT_ALLOWED = "APINotAllowedError"
NOT_FOUND = "APINotFoundError"

HTTP_ERROR = 400
HTTP_CALM_DOWN = 420
"""Sent by the proxy in front of the API instead of 429."""

_ID = re.compile(r"[\w-]+")
_LAST_SECOND = 253402300799
"""31 December 9999: `datetime` ends here."""


class InstagramV1:
    """The provider. `session` owns timeouts, TLS and which addresses may be reached."""

    name = "instagram_v1"
    page_size = 33
    home = BASE_URL
    batch_size = 1
    followers_embedded = False
    reading_size = 1
    documented_limits = (Limit(5000, 3600.0),)

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str = "", limits: tuple[Limit, ...] | None = None
    ) -> None:
        self._base = URL((base_url or BASE_URL).rstrip("/"))
        self._path = self._base.raw_path.rstrip("/")
        self._wire = Wire(session, self._base)
        self.limits = self.page_limits = limits or self.documented_limits

    def starts(self, query: Query) -> Sequence[str | None]:
        """One timeline: the tag's."""
        return [None]

    async def page(self, credential: Credential, query: Query, cursor: str | None, size: int) -> Reply[Page]:
        """One page of a tag. The cursor is `next_url` without its token."""
        if cursor is None:
            page = f"media/recent?count={min(size, self.page_size)}"
            target = f"{self._path}/tags/{quote(query.tag, safe='')}/{page}"
        else:
            target = next_page(self._base, cursor).raw_path_qs
        answer, error = await self._get(target, credential)
        if error:
            raise Refused(_message(*error))
        posts = [_post(entry) for entry in sequence(answer.as_object().get("data"))]
        kept = tuple(post for post in posts if post is not None)
        next_url = mapping(answer.as_object().get("pagination")).get("next_url")
        cursor = str(next_page(self._base, next_url)) if isinstance(next_url, str) and next_url else None
        return Reply(Page(kept, len(posts) - len(kept), cursor), self.rate(answer.headers))

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up one user: this network takes no more in a hit."""
        (user_id,) = user_ids
        answer, error = await self._get(f"{self._path}/users/{quote(user_id, safe='')}", credential)
        return Reply([_user(user_id, answer, error)], self.rate(answer.headers))

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Read one post again: this network takes no more in a hit."""
        (post_id,) = post_ids
        answer, error = await self._get(f"{self._path}/media/{quote(post_id, safe='')}", credential)
        return Reply([_reading(post_id, answer, error)], self.rate(answer.headers))

    def rate(self, headers: Mapping[str, str]) -> RateReport | None:
        """`X-Ratelimit-Limit` and `X-Ratelimit-Remaining`; this network names no reset."""
        limit = count(headers.get("X-Ratelimit-Limit"))
        remaining = count(headers.get("X-Ratelimit-Remaining"))
        return None if limit is None and remaining is None else RateReport(limit, remaining)

    async def _get(self, target: str, credential: Credential) -> tuple[JsonAnswer, _Error | None]:
        """An answer, and the error that it tells of; those of the token are raised."""
        secret = credential.secret.get_secret_value()
        sign = "&" if "?" in target else "?"
        answer = await self._wire.get_json(f"{target}{sign}access_token={quote(secret, safe='')}")
        error = _error(answer)
        if error is not None:
            kind, message, code = error
            if kind in RATE_ERRORS or code in (HTTP_CALM_DOWN, 429):
                raise RateLimited(None)
            if kind in TOKEN_ERRORS:
                raise TokenRevoked(message.replace(secret, credential.label) or kind)
        return answer, error


_Error = tuple[str, str, int]
"""Kind, message and code of an error."""


def _error(answer: JsonAnswer) -> _Error | None:
    """The error, from a `meta` envelope or a flat body; None if it is none."""
    body = answer.as_object()
    meta = mapping(body.get("meta"), body)
    kind = meta.get("error_type")
    code = count(meta.get("code")) or answer.status
    if kind is None and code < HTTP_ERROR and answer.status < HTTP_ERROR:
        return None
    return str(kind or ""), str(meta.get("error_message") or "")[:200], code


def _message(kind: str, message: str, code: int) -> str:
    return f"{kind or 'error'} ({code}): {message}" if message else f"{kind or 'error'} ({code})"


def _reading(post_id: str, answer: JsonAnswer, error: _Error | None) -> Reading:
    if error:
        kind, message, code = error
        if kind in (NOT_ALLOWED, NOT_FOUND):  # the account has become private, or the post is deleted
            return Reading(post_id, "gone")
        raise Refused(_message(kind, message, code))
    media = mapping(answer.as_object().get("data"))
    likes, comments = (count(mapping(media.get(name)).get("count")) for name in ("likes", "comments"))
    return Reading(post_id, "ok", likes, comments)


def _user(user_id: str, answer: JsonAnswer, error: _Error | None) -> User:
    if error:
        kind, message, code = error
        if kind == NOT_ALLOWED:
            return User(user_id, PRIVATE)
        if kind == NOT_FOUND:
            return User(user_id, GONE)
        raise Refused(_message(kind, message, code))
    counts = mapping(mapping(answer.as_object().get("data")).get("counts"))
    followers = count(counts.get("followed_by"))
    if followers is None:
        return User(user_id, FAILED)
    return User(user_id, OK, followers, count(counts.get("follows")), count(counts.get("media")))


def _post(entry: object) -> Post | None:
    """A post from an entry of `data`; None if it lacks what makes one."""
    media = mapping(entry)
    image = mapping(mapping(media.get("images")).get("standard_resolution"))
    post_id, user_id = _id(media.get("id")), _id(mapping(media.get("user")).get("id"))
    seconds = count(media.get("created_time"))
    if (
        not (post_id and user_id and isinstance(image.get("url"), str))
        or seconds is None
        or seconds > _LAST_SECOND
    ):
        return None
    return Post(
        post_id,
        user_id,
        datetime.fromtimestamp(seconds, UTC),
        kind=str(media.get("type")),
        image_url=image["url"],
        likes=count(mapping(media.get("likes")).get("count")),
        comments=count(mapping(media.get("comments")).get("count")),
        width=count(image.get("width")),
        height=count(image.get("height")),
        tags=tuple(tag for tag in sequence(media.get("tags")) if isinstance(tag, str)),
        caption=text(mapping(media.get("caption")).get("text")),
        permalink=text(media.get("link")),
    )


def _id(value: object) -> str | None:
    """An id, which some answers give as a number."""
    word = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return word if _ID.fullmatch(word) else None
