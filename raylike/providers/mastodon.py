"""Mastodon and Pixelfed: public posts of a hashtag from one server, with their accounts' followers.

A page of 40 posts brings the followers of their accounts, so nothing has to be looked up. Only posts
made on the server itself are asked for: of a post from elsewhere a server knows the favourites that its
own people gave, and replies as far as they reached it, so such counts are too low by an unknown factor.
To learn of another server's people, ask that server.

The limits are fixed windows: 300 hits in five minutes for each token, and on top of them 300 in fifteen
minutes for requests that page, which is 800 posts a minute. The headers speak of the nearest of all that
hold. Error texts come in the user's language, so only the status code has a meaning here.

Knows requests and bodies. Knows nothing of how posts are chosen: what speaks against one is passed on.

Sources: docs.joinmastodon.org (methods/timelines, methods/accounts, methods/statuses, api/rate-limits,
entities/Account, entities/Status), mastodon/mastodon (config/initializers/rack_attack.rb,
api/rate_limit_headers.rb, api/v1/statuses_controller.rb, api/v1/accounts_controller.rb),
pixelfed/pixelfed (Api/ApiV1Controller, Transformer/Api).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, Refused, Reply, TokenRevoked
from raylike.errors import ConfigError
from raylike.providers.base import (
    FAILED,
    GONE,
    OK,
    Objection,
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
from raylike.providers.http import JsonAnswer, next_page, request_json, retry_after_s

PAGING_LIMIT = Limit(300, 900.0, fixed=True)
"""For requests with max_id, min_id, since_id or page; in rack_attack.rb, not in the documentation."""

HTTP_ERROR = 400
HTTP_UNAUTHORIZED, HTTP_FORBIDDEN, HTTP_NOT_FOUND = 401, 403, 404

MAX_CONTENT_CHARS = 20_000
"""Of a post's HTML; the rest is not read. Servers take 500 characters of text, some a few thousand."""

_ID = re.compile(r"[\w-]+")
_NO_TAG = re.compile(r"<(?!/?[a-zA-Z][^<>]*>)")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r'\brel\s*=\s*"?([^",;]*)', re.IGNORECASE)
_LAST_SECOND = 253402300799
"""31 December 9999: `datetime` ends here."""


class Mastodon:
    """The provider. `session` owns timeouts, TLS and which addresses may be reached.

    Parameters
    ----------
    base_url : the server's root, such as https://mastodon.social; there is no default
    limits : of one token; None: as documented. The limit on paging holds in either case
    local : only posts made on this server; the counts of others are too low
    """

    name = "mastodon"
    page_size = 40
    home = ""
    batch_size = 40
    followers_embedded = True
    reading_size = 20
    """More are answered with 422: DEFAULT_STATUSES_LIMIT in api/base_controller.rb."""
    documented_limits = (Limit(300, 300.0, fixed=True),)
    """Of one token. That an account has 1500 hits in all its tokens matters from the sixth token on."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str = "",
        limits: tuple[Limit, ...] | None = None,
        local: bool = True,
    ) -> None:
        if not base_url:
            raise ConfigError(
                f"{self.name} is many servers, and none was named",
                "source.base_url",
                "the address of one, such as https://mastodon.social",
            )
        self._session = session
        self._base = URL(base_url.rstrip("/"))
        self._local = local
        self.limits = limits or self.documented_limits
        self.page_limits = (*self.limits, PAGING_LIMIT)

    def starts(self, query: Query) -> Sequence[str | None]:
        """One timeline: the tag's."""
        return [None]

    async def page(self, credential: Credential, query: Query, cursor: str | None, size: int) -> Reply[Page]:
        """One page of a tag. The cursor is the address that the server names as the next page.

        A tag that nobody used is an empty page, whether the server answers [] or 404: most do the one,
        the documentation says the other. A server that shows its tags to nobody answers [] as well.
        """
        url = self._tag(query.tag, size) if cursor is None else next_page(self._base, cursor)
        answer = await self._ask(url, credential)
        rate = self.rate(answer.headers)
        if answer.status == HTTP_NOT_FOUND and "error" in answer.body:
            return Reply(Page(()), rate)
        entries = _entries(answer, credential)
        posts = [_post(mapping(entry), self._local) for entry in entries]
        kept = tuple(post for post in posts if post is not None)
        return Reply(Page(kept, len(posts) - len(kept), self._next(url, answer, entries)), rate)

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up at most 40 accounts. Servers before Mastodon 4.3 cannot, and refuse.

        The answer leaves out accounts that are deleted, and marks those that are suspended: gone, both.
        Accounts that a moderator has limited are hidden from strangers, but their counts are told.
        """
        answer = await self._ask(self._many("accounts", user_ids), credential)
        found = {str(mapping(entry).get("id")): mapping(entry) for entry in _entries(answer, credential)}
        return Reply([_user(user_id, found.get(user_id)) for user_id in user_ids], self.rate(answer.headers))

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Read at most 20 posts again. Servers before Mastodon 4.3 cannot, and refuse.

        The answer leaves out posts that are deleted or no longer public.
        """
        answer = await self._ask(self._many("statuses", post_ids), credential)
        found = {str(mapping(entry).get("id")): mapping(entry) for entry in _entries(answer, credential)}
        return Reply(
            [_reading(post_id, found.get(post_id)) for post_id in post_ids], self.rate(answer.headers)
        )

    def rate(self, headers: Mapping[str, str]) -> RateReport | None:
        """`X-RateLimit-Limit`, `-Remaining` and `-Reset`, a moment: ISO 8601, or as others have it, seconds.

        The moment is the server's, so it is counted from the answer's own `Date`, and only without one from
        this machine's clock. Mastodon adds the fraction of the present second to a moment that is whole;
        `Date` has no fractions, so they are dropped here too. No window lasts longer than those that are
        known, whatever the clocks say.
        """
        limit, remaining = (count(headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining"))
        reset, reset_after_s = _reset(headers.get("X-RateLimit-Reset")), None
        if reset is not None:
            now = _date(headers.get("Date")) or datetime.now(UTC)
            left_s = (reset.replace(microsecond=0) - now).total_seconds()
            meant = [known for known in self.page_limits if known.hits == limit] or self.page_limits
            reset_after_s = min(max(left_s, 0.0), max(known.window_s for known in meant))
        report = RateReport(limit, remaining, reset_after_s)
        return None if report == RateReport() else report

    async def call(
        self,
        credential: Credential,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> JsonAnswer:
        """One hit on anything else below /api/v1, for who does more than collect.

        Raises
        ------
        RateLimited, Transient : as `request_json`
        TokenRevoked : 401 and 403; the latter also where the token lacks a scope
        Refused : any other error that the server answers
        """
        url = self._url(path).with_query(query)
        answer = await self._ask(url, credential, method, form=form, headers=headers)
        if answer.status >= HTTP_ERROR:
            raise Refused(_message(answer, credential))
        return answer

    async def _ask(
        self,
        url: URL,
        credential: Credential,
        method: str = "GET",
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        forbidden_is_item: bool = False,
    ) -> JsonAnswer:
        """Ask with a token. 401 is about the token, and so is 403 unless it is about one item."""
        secret = credential.secret.get_secret_value()
        answer = await request_json(
            self._session,
            method,
            url,
            headers={"Authorization": f"Bearer {secret}", **(headers or {})},
            form=form,
            pause_s=self._pause_s,
        )
        if answer.status == HTTP_UNAUTHORIZED or (answer.status == HTTP_FORBIDDEN and not forbidden_is_item):
            raise TokenRevoked(_message(answer, credential))
        return answer

    def _pause_s(self, headers: Mapping[str, str]) -> float | None:
        """How long a refusal says to wait: Retry-After, which some proxies send, or until the reset."""
        asked_s, rate = retry_after_s(headers), self.rate(headers)
        return asked_s if asked_s is not None or rate is None else rate.reset_after_s

    def _tag(self, tag: str, size: int) -> URL:
        query = {"only_media": "1", "limit": str(min(size, self.page_size))}
        if self._local:
            query["local"] = "1"
        return self._url(f"timelines/tag/{quote(tag, safe='')}").with_query(query)

    def _many(self, path: str, ids: Sequence[str]) -> URL:
        return self._url(path).with_query([("id[]", item) for item in ids])

    def _url(self, path: str) -> URL:
        return URL(f"{self._base}/api/v1/{path}", encoded=True)

    def _next(self, url: URL, answer: JsonAnswer, entries: Sequence[object]) -> str | None:
        """The next page's address, from the Link header; Mastodon names one until a page is empty."""
        address = _linked(answer.headers, "next")
        return None if address is None or not entries else str(next_page(self._base, address))


class Pixelfed(Mastodon):
    """Pixelfed speaks Mastodon's words, with fewer of them.

    Tags are shown to signed-in people only; a page does not name the next one; accounts and posts are
    read one by one; nothing is said of being indexed, and every account is told as discoverable. The
    timeline cannot be asked for the server's own posts alone, so others come with it: their likes are
    left unknown. It ends nine months ago. An account may hide how many followers it has: 0 is told then.

    It had no limit of its own until August 2026 (pixelfed#6874: 512 hits a minute). Mastodon's are kept
    to, out of courtesy.
    """

    name = "pixelfed"
    batch_size = 1
    reading_size = 1

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up one account: this network takes no more in a hit."""
        (user_id,) = user_ids
        answer = await self._ask(self._url(f"accounts/{quote(user_id, safe='')}"), credential)
        account = None if answer.status == HTTP_NOT_FOUND else _single(answer, credential)
        return Reply([_user(user_id, account)], self.rate(answer.headers))

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Read one post again: this network takes no more in a hit. One made private answers 403, or 400."""
        (post_id,) = post_ids
        url = self._url(f"statuses/{quote(post_id, safe='')}")
        answer = await self._ask(url, credential, forbidden_is_item=True)
        gone = answer.status in (HTTP_ERROR, HTTP_FORBIDDEN, HTTP_NOT_FOUND)
        status = None if gone else _single(answer, credential)
        return Reply([_reading(post_id, status)], self.rate(answer.headers))

    def _next(self, url: URL, answer: JsonAnswer, entries: Sequence[object]) -> str | None:
        """The same page with older posts only: older than the last one."""
        named = super()._next(url, answer, entries)
        ids = [post_id for entry in entries if (post_id := _id(mapping(entry).get("id")))]
        return named if named or not ids else str(url.update_query(max_id=ids[-1]))


def _entries(answer: JsonAnswer, credential: Credential) -> list[Any]:
    if answer.status >= HTTP_ERROR:
        raise Refused(_message(answer, credential))
    return answer.as_array()


def _single(answer: JsonAnswer, credential: Credential) -> dict[str, Any]:
    if answer.status >= HTTP_ERROR:
        raise Refused(_message(answer, credential))
    return answer.as_object()


def _message(answer: JsonAnswer, credential: Credential) -> str:
    """An error for people: the server's own words, which may be in any language, without the token."""
    body = mapping(answer.body)
    words = text(body.get("error")) or text(body.get("message")) or ""
    words = words.replace(credential.secret.get_secret_value(), credential.label)[:200]
    return f"HTTP {answer.status}: {words}" if words else f"HTTP {answer.status}"


def _linked(headers: Mapping[str, str], relation: str) -> str | None:
    """The address that the Link headers give for a relation. RFC 8288, as far as it is met."""
    for name, value in headers.items():
        if name.lower() != "link":
            continue
        for address, parameters in _LINK.findall(value):
            found = _REL.search(parameters)
            if found is not None and relation in found[1].lower().split():
                return str(address)
    return None


def _reset(value: str | None) -> datetime | None:
    seconds = count(value)
    if seconds is None:
        return moment(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LAST_SECOND else None


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _user(user_id: str, account: Mapping[str, Any] | None) -> User:
    if account is None or account.get("suspended") is True:
        return User(user_id, GONE)
    followers = count(account.get("followers_count"))
    if followers is None:
        return User(user_id, FAILED)
    return User(
        user_id, OK, followers, count(account.get("following_count")), count(account.get("statuses_count"))
    )


def _reading(post_id: str, status: Mapping[str, Any] | None) -> Reading:
    if status is None:
        return Reading(post_id, "gone")
    return Reading(post_id, "ok", count(status.get("favourites_count")), count(status.get("replies_count")))


def _post(status: Mapping[str, Any], local: bool) -> Post | None:
    """A post from a Status; None if it lacks what makes one.

    Its picture is the first image. A post that boosts another's is of the kind `reblog`: its picture is
    not its account's. With `local`, counts of a post from elsewhere are unknown.
    """
    account = mapping(status.get("account"))
    post_id, user_id = _id(status.get("id")), _id(account.get("id"))
    created_at = moment(status.get("created_at"))
    media = [mapping(item) for item in sequence(status.get("media_attachments"))]
    media = [item for item in media if item.get("type") == "image"] or media
    kind = "reblog" if status.get("reblog") else str(media[0].get("type")) if media else "text"
    picture = media[0] if media else {}
    image_url = text(picture.get("url")) or text(picture.get("remote_url"))
    if not (post_id and user_id and created_at) or (kind == "image" and not image_url):
        return None
    size = mapping(mapping(picture.get("meta")).get("original"))
    from_elsewhere = local and "@" in str(account.get("acct"))
    return Post(
        post_id,
        user_id,
        created_at,
        kind=kind,
        image_url=image_url or "",
        likes=None if from_elsewhere else count(status.get("favourites_count")),
        comments=None if from_elsewhere else count(status.get("replies_count")),
        width=count(size.get("width")),
        height=count(size.get("height")),
        tags=tuple(name for tag in sequence(status.get("tags")) if (name := text(mapping(tag).get("name")))),
        caption=plain_text(text(status.get("content")) or "") or None,
        permalink=text(status.get("url")) or text(status.get("uri")),
        followers=count(account.get("followers_count")),
        following=count(account.get("following_count")),
        media_count=count(account.get("statuses_count")),
        objections=_objections(status, account),
    )


def _objections(status: Mapping[str, Any], account: Mapping[str, Any]) -> frozenset[Objection]:
    """What speaks against a post. Who was asked to agree and has not answered (null) has not agreed."""
    found = {
        Objection.NOT_PUBLIC: status.get("visibility") != "public",
        Objection.SENSITIVE: status.get("sensitive") is True,
        Objection.NO_INDEX: account.get("noindex") is True,
        Objection.NOT_INDEXABLE: account.get("indexable", True) is not True,
        Objection.NOT_DISCOVERABLE: account.get("discoverable", True) is not True,
        Objection.BOT: account.get("bot") is True,
        Objection.LOCKED: account.get("locked") is True,
    }
    return frozenset(objection for objection, holds in found.items() if holds)


def plain_text(content: str) -> str:
    """The text of a post's HTML: a line for each line break and paragraph, without empty ones."""
    parser = _Text()
    # Of tags that never end the parser makes quadratic work, and over odd declarations it stumbles.
    parser.feed(_NO_TAG.sub("&lt;", content[:MAX_CONTENT_CHARS]))
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


class _Text(HTMLParser):
    """Collects text. White space in HTML is one space; only elements make lines."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        self.pieces.append(data.replace("\n", " "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A line break, or the start of a paragraph."""
        if tag in ("br", "p", "li"):
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """The end of a paragraph."""
        if tag in ("p", "li"):
            self.pieces.append("\n")


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
