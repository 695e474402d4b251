"""The Instagram API of today, as professional accounts may use it (Instagram API with Facebook Login).

An account is read by its name: one hit brings its followers and up to 50 of its posts, whatever they are
about, so posts without the tag are left out here and counted. Only professional accounts can be read,
and the network does not say whether one is private, personal or not there: each brings nothing.

A hashtag is read as its most popular posts, not its newest: the edge of the newest ends after 24 hours,
when likes have hardly begun. It does not say whose a post is, so there are no followers to set likes
against. Either way the likes of an account that hides them are missing, which is not 0.

An album counts as the picture it begins with, which is what a reader sees before liking it; its likes
are the album's. Where that is a video, or not told, as for hashtags, it is of the kind `carousel`.

The limit is 200 hits an hour for each user of an application, counted by the application; headers tell
the share that is used, in percent. The first page of each token takes one hit more, to learn the
account it belongs to, and the first page of a hashtag another, to learn its id.

Knows requests and bodies. Knows nothing of who asks or how posts are chosen.

Sources: developers.facebook.com/documentation (instagram-platform: business_discovery, ig-hashtag-search,
ig-hashtag/top-media, ig-hashtag/recent-media, error-codes; graph-api: rate-limiting, error-handling);
what business_discovery tells of albums, and error 110, from recorded answers in public repositories.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import takewhile
from typing import Any

import aiohttp
from yarl import URL

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.errors import ConfigError
from raylike.providers.base import (
    Page,
    Post,
    Query,
    Reading,
    User,
    count,
    mapping,
    moment,
    sequence,
    text,
)
from raylike.providers.http import ANOTHER_SHAPE, JsonAnswer, get_json

BASE_URL = "https://graph.facebook.com/v25.0"

OWN_LOOK_UPS = 2
"""Hits that a page may take on top of its own: one for the token's account, one for the hashtag's id."""

ACCOUNT, TAG = "account", "tag"
"""How the cursors of the two kinds of timelines begin."""

MEDIA_FIELDS = "id,caption,media_type,media_url,permalink,timestamp,like_count,comments_count"
ACCOUNT_FIELDS = "id,username,followers_count,follows_count,media_count"

FAILED_FOR_NOW = frozenset({-2, -1, 1, 2})
RATE_ERRORS = frozenset({4, 17, 32, 613, 80002})
"""Too many hits of the application, the user, the page; a limit of its own; Instagram's."""
TOKEN_ERRORS = frozenset({102, 104, 190})
"""The session ended; no token came; it expired, was revoked or is none."""
PERMISSION_ERRORS = frozenset({3, 10, *range(200, 300)})
BAD_PARAMETER, NO_SUCH_ACCOUNT, NO_SUCH_TAG, TOO_MANY_TAGS = 100, 110, 24, 18
NO_SUCH_ACCOUNT_SUBCODE, NO_SUCH_TAG_SUBCODE, TOO_MANY_TAGS_SUBCODE = 2207013, 2207024, 2207034
"""110 is seen in recorded answers; 24, 18 and their subcodes are told by users, not documented."""

HTTP_ERROR = 400
MOST_MESSAGE_CHARS = 200

_NAME = re.compile(r"[a-z0-9._]+")
_ID = re.compile(r"[0-9]+")
_AFTER = re.compile(r"[\w=+/.-]+")
_VIDEO_FILE = re.compile(r"\.(?:mp4|mov)(?:[?#]|$)", re.IGNORECASE)
_OF_A_USER = re.compile(r"\buser(?:name)?\b", re.IGNORECASE)


class InstagramGraph:
    """The provider. `session` owns timeouts, TLS and which addresses may be reached."""

    name = "instagram_graph"
    page_size = 50
    home = BASE_URL
    batch_size = 1
    followers_embedded = True
    """Of accounts; of a hashtag nobody tells them."""
    reading_size = 0
    documented_limits = (Limit(200, 3600.0),)

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str = "", limits: tuple[Limit, ...] | None = None
    ) -> None:
        self._session = session
        self._base = URL((base_url or BASE_URL).rstrip("/"))
        self.limits = limits or self.documented_limits
        self.page_limits = tuple(
            replace(limit, hits=max(1, limit.hits - OWN_LOOK_UPS)) for limit in self.limits
        )
        self._looking_up = asyncio.Lock()
        self._own_ids: dict[Credential, str] = {}
        self._tag_ids: dict[str, str] = {}

    def starts(self, query: Query) -> Sequence[str | None]:
        """A timeline for each account; without accounts, the hashtag's.

        Raises
        ------
        ConfigError : if a name is none that Instagram gives, or if there is neither account nor tag
        """
        if not query.accounts and not query.tag:
            raise ConfigError("neither a tag nor an account is named", "source.tag", "name one of them")
        names = dict.fromkeys(name.removeprefix("@").lower() for name in query.accounts)
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} is no name of an Instagram account",
                    "source.accounts",
                    "names have letters, digits, points and underscores only",
                )
        return [f"{ACCOUNT}:{name}" for name in names] or [TAG]

    async def page(self, credential: Credential, query: Query, cursor: str | None, size: int) -> Reply[Page]:
        """One page of an account, newest first, or of the hashtag, most popular first."""
        timeline, _, rest = (cursor or "").partition(":")
        mark, _, after = rest.partition(":")
        if after and not _AFTER.fullmatch(after):
            raise Refused("names a next page that is none")
        size = min(size, self.page_size)
        if timeline == ACCOUNT and _NAME.fullmatch(mark):
            return await self._account_page(credential, query.tag, mark, after, size)
        if timeline == TAG and query.tag:
            return await self._tag_page(credential, query.tag, after, size)
        raise Refused("no page of Instagram's goes by this cursor")

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Not possible. Raises `Refused`."""
        raise Refused("Instagram finds accounts by name only: name them, and posts bring their followers")

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Not possible. Raises `Refused`."""
        raise Refused("Instagram does not show other people's posts by their id")

    def rate(self, headers: Mapping[str, str]) -> RateReport | None:
        """`X-App-Usage` and `X-Business-Use-Case-Usage`: JSON with percents, and minutes to wait.

        The allowance with the least left counts. What cannot be read says nothing.
        """
        cases = mapping(_json(headers.get("X-Business-Use-Case-Usage"))).values()
        usages = [mapping(usage) for case in cases for usage in sequence(case)]
        minutes = max(_numbers(usages, "estimated_time_to_regain_access"), default=0.0)
        usages.append(mapping(_json(headers.get("X-App-Usage"))))
        percents = list(_numbers(usages, "call_count", "total_time", "total_cputime"))
        report = RateReport(
            reset_after_s=60.0 * minutes if minutes else None,
            used_share=min(max(percents) / 100, 1.0) if percents else None,
        )
        return None if report == RateReport() else report

    async def _account_page(
        self, credential: Credential, tag: str, name: str, after: str, size: int
    ) -> Reply[Page]:
        own_id = await self._own_id(credential)
        media = f"media.limit({size})" + (f".after({after})" if after else "")
        fields = f"business_discovery.username({name}){{{ACCOUNT_FIELDS},{media}{{{MEDIA_FIELDS}}}}}"
        answer = await self._get(own_id, credential, fields=fields)
        rate = self.rate(answer.headers)
        if error := _error(answer, credential):
            if error.is_about_an_account:
                return Reply(Page((), unreadable=name), rate)
            raise Refused(error.in_words)
        account = mapping(answer.as_object().get("business_discovery"))
        if not account:  # one with a minimum age, says the documentation
            return Reply(Page((), unreadable=name), rate)
        if _id(account.get("id")) is None:
            raise Refused(ANOTHER_SHAPE)
        edge = mapping(account.get("media"))
        entries = sequence(edge.get("data"))
        posts = [post for entry in entries if (post := _post(mapping(entry), account)) is not None]
        kept = tuple(post for post in posts if not tag or _has_tag(post, tag))
        going_on = _after(edge) if entries else None
        cursor = f"{ACCOUNT}:{name}:{going_on}" if going_on else None
        return Reply(Page(kept, len(entries) - len(posts), cursor, len(posts) - len(kept)), rate)

    async def _tag_page(self, credential: Credential, tag: str, after: str, size: int) -> Reply[Page]:
        own_id = await self._own_id(credential)
        tag_id = await self._tag_id(credential, own_id, tag)
        following = {"after": after} if after else {}
        answer = await self._get(
            f"{tag_id}/top_media",
            credential,
            user_id=own_id,
            fields=MEDIA_FIELDS,
            limit=str(size),
            **following,
        )
        if error := _error(answer, credential):
            raise Refused(error.in_words)
        body = answer.as_object()
        entries = sequence(body.get("data"))
        kept = tuple(post for entry in entries if (post := _post(mapping(entry), {})) is not None)
        going_on = _after(body) if entries and mapping(body.get("paging")).get("next") else None
        cursor = f"{TAG}:{_mark(entries)}:{going_on}" if going_on else None
        return Reply(Page(kept, len(entries) - len(kept), cursor), self.rate(answer.headers))

    async def _own_id(self, credential: Credential) -> str:
        """The id of the account that a token belongs to, which is part of every path; asked for once."""
        async with self._looking_up:
            if credential not in self._own_ids:
                answer = await self._get(
                    "me/accounts", credential, fields="instagram_business_account{id,username}"
                )
                if error := _error(answer, credential):
                    raise Refused(error.in_words)
                pages = [mapping(page) for page in sequence(answer.as_object().get("data"))]
                accounts = [mapping(page.get("instagram_business_account")) for page in pages]
                own_ids = [own_id for account in accounts if (own_id := _id(account.get("id")))]
                if not own_ids:
                    raise TokenRevoked("has no professional Instagram account")
                self._own_ids[credential] = own_ids[0]
            return self._own_ids[credential]

    async def _tag_id(self, credential: Credential, own_id: str, tag: str) -> str:
        """The id of a hashtag, the same for everybody; asked for once, as 30 in seven days are allowed."""
        async with self._looking_up:
            if tag not in self._tag_ids:
                answer = await self._get("ig_hashtag_search", credential, user_id=own_id, q=tag)
                if error := _error(answer, credential):
                    raise Refused(error.in_words)
                found = [_id(mapping(entry).get("id")) for entry in sequence(answer.as_object().get("data"))]
                if not found or found[0] is None:
                    raise Refused("there is no such hashtag")
                self._tag_ids[tag] = found[0]
            return self._tag_ids[tag]

    async def _get(self, path: str, credential: Credential, **query: str) -> JsonAnswer:
        """Get JSON with a token; errors that concern the token, the limit or the moment are raised."""
        secret = credential.secret.get_secret_value()
        url = URL(f"{self._base}/{path}", encoded=True).with_query(query)
        answer = await get_json(self._session, url, {"Authorization": f"Bearer {secret}"})
        error = _error(answer, credential)
        if error is None:
            return answer
        if error.code in RATE_ERRORS:
            rate = self.rate(answer.headers)
            raise RateLimited(rate.reset_after_s if rate else None)
        if error.code in TOKEN_ERRORS:
            raise TokenRevoked(error.in_words)
        if error.code in PERMISSION_ERRORS:
            raise TokenRevoked(f"lacks a permission: {error.in_words}")
        if error.code in FAILED_FOR_NOW or error.is_transient:
            raise Transient(f"error {error.code}")
        return answer


@dataclass(frozen=True)
class _Error:
    """What an error's body says.

    Attributes
    ----------
    message : without the token
    """

    code: int
    subcode: int
    message: str
    is_transient: bool

    @property
    def is_about_an_account(self) -> bool:
        """Whether the account that was asked for is not there, or not professional."""
        return (
            self.code == NO_SUCH_ACCOUNT
            or self.subcode == NO_SUCH_ACCOUNT_SUBCODE
            or (self.code == BAD_PARAMETER and _OF_A_USER.search(self.message) is not None)
        )

    @property
    def in_words(self) -> str:
        """For people."""
        if self.code == TOO_MANY_TAGS or self.subcode == TOO_MANY_TAGS_SUBCODE:
            return "Instagram allows 30 different hashtags in seven days, and this account has had them"
        if self.code == NO_SUCH_TAG or self.subcode == NO_SUCH_TAG_SUBCODE:
            return "there is no such hashtag"
        return f"error {self.code}: {self.message}" if self.message else f"error {self.code}"


def _error(answer: JsonAnswer, credential: Credential) -> _Error | None:
    """The error that an answer is; None if it is none."""
    body = answer.as_object()
    if answer.status < HTTP_ERROR and not body.get("error"):
        return None
    error = mapping(body.get("error"), {"message": f"HTTP {answer.status}"})
    message = (text(error.get("message")) or "").replace(
        credential.secret.get_secret_value(), credential.label
    )
    code, subcode = (_whole(error.get(name)) for name in ("code", "error_subcode"))
    return _Error(code, subcode, message[:MOST_MESSAGE_CHARS], error.get("is_transient") is True)


def _post(media: Mapping[str, Any], account: Mapping[str, Any]) -> Post | None:
    """A post from an entry of an edge; None if it lacks what makes one. Of a hashtag there is no account."""
    post_id, created_at = _id(media.get("id")), moment(media.get("timestamp"))
    url = text(media.get("media_url")) or ""
    kind = _kind(media.get("media_type"), url)
    if post_id is None or created_at is None or (kind == "image" and not url):
        return None
    caption = text(media.get("caption"))
    return Post(
        post_id,
        _id(account.get("id")) or "",
        created_at,
        kind=kind,
        image_url=url,
        likes=count(media.get("like_count")),
        comments=count(media.get("comments_count")),
        tags=hashtags(caption or ""),
        caption=caption,
        permalink=text(media.get("permalink")),
        followers=count(account.get("followers_count")),
        following=count(account.get("follows_count")),
        media_count=count(account.get("media_count")),
    )


def _kind(media_type: object, url: str) -> str:
    if media_type == "CAROUSEL_ALBUM":
        return "image" if url and not _VIDEO_FILE.search(url) else "carousel"
    return str(media_type).lower()


def hashtags(caption: str) -> tuple[str, ...]:
    """The hashtags of a caption, in order and as written: letters of any script, digits and underscores."""
    pieces = re.split("[#\N{FULLWIDTH NUMBER SIGN}]", caption)[1:]
    found = ("".join(takewhile(_is_of_a_tag, piece)) for piece in pieces)
    return tuple(dict.fromkeys(tag for tag in found if tag))


def _is_of_a_tag(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LMN"


def _has_tag(post: Post, tag: str) -> bool:
    return _folded(tag) in {_folded(own) for own in post.tags}


def _folded(tag: str) -> str:
    return unicodedata.normalize("NFC", tag).casefold()


def _after(edge: Mapping[str, Any]) -> str | None:
    """The cursor that an edge goes on with."""
    return text(mapping(mapping(edge.get("paging")).get("cursors")).get("after"))


def _mark(entries: Sequence[object]) -> str:
    """A mark of a page, made of the ids on it.

    Of a hashtag the network's own cursor is the same for every page, and each time brings the next one.
    With the mark cursors differ as pages do; and a page that comes again has the cursor it had before,
    by which the reader sees that it would never end.
    """
    ids = ",".join(str(mapping(entry).get("id")) for entry in entries)
    return blake2b(ids.encode(), digest_size=8).hexdigest()


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _whole(value: object) -> int:
    """An error's code, which may be negative; 0 where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _json(header: str | None) -> object:
    """What a header holds; None if it is not there or no JSON."""
    try:
        return json.loads(header or "null")
    except (ValueError, RecursionError):
        return None


def _numbers(usages: Iterable[Mapping[str, Any]], *names: str) -> Iterable[float]:
    """The numbers by these names, of those that are numbers and not negative."""
    for value in (usage.get(name) for usage in usages for name in names):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            yield float(value)
