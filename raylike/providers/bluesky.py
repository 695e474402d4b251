"""Bluesky: posts that a search for a hashtag finds, read through the server of a signed-in account.

A page of 100 posts names their accounts but not the followers of these, so accounts are looked up, 25 in
a hit; 100,000 of them take 4000 hits, seven minutes at the documented limit. A token is the name of an
account and an app password of it. The limit is a fixed window of 3000 hits in five minutes for each
address that requests come from, not for each account: a second account on one machine adds nothing.

The search does not scroll further back than some 10,000 posts. Where it stops, it is asked again for
what is older than the last post that it gave, until nothing is.

Knows requests and bodies; `bluesky_sessions.py` knows how to sign in. Knows nothing of how posts are
chosen: what speaks against one is passed on.

Sources: bluesky-social/atproto (lexicons/app/bsky, packages/xrpc-server/src/rate-limiter.ts,
packages/pds/src/auth-verifier.ts), bluesky-social/indigo (search/handlers.go, for the depth),
docs.bsky.app (advanced-guides/timestamps, /rate-limits, /moderation; starter-templates/bots),
bsky-docs#296 (signed-out searches are refused), medialab/minet#1018 (windows of time).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from actors.budget import Limit, RateReport
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked
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
from raylike.providers.bluesky_sessions import Login, Session, Sessions, pause_s, reset_after_s
from raylike.providers.http import JsonAnswer, request_json

BASE_URL = "https://bsky.social"
"""The entrance to the servers that Bluesky itself runs; it passes app.bsky.* on to the one that knows."""

MAX_EMPTY_PAGES = 10
"""In a row, before a search is taken for ended although it names a next page. A page is empty where all
of its posts were deleted since the index was made."""

RENEWALS = 2
"""Of a session, for one hit: somebody else's, and then our own."""

RATE_ERRORS = frozenset({"RateLimitExceeded"})
STALE_ERRORS = frozenset({"ExpiredToken", "InvalidToken"})
ACCOUNT_ERRORS = frozenset({"AccountTakedown", "AccountDeactivated", "AccountSuspended"})

IMAGES, GALLERY, VIDEO = (f"app.bsky.embed.{kind}#view" for kind in ("images", "gallery", "video"))
WITH_MEDIA = "app.bsky.embed.recordWithMedia#view"
TAG = "app.bsky.richtext.facet#tag"

SIGNED_IN_ONLY, BOT = "!no-unauthenticated", "bot"
SENSITIVE = frozenset(
    {"!hide", "!warn", "porn", "sexual", "nudity", "graphic-media"}  # in lexicons/com/atproto/label
    | {"gore", "nsfl"}  # as lexicons/com/atproto/label had them before graphic-media
    | {"sexual-figurative", "self-harm", "sensitive", "corpse"}  # of Bluesky's moderation service
    | {"spoiler"}  # of no service, but people write it
)
"""Labels of posts or accounts, whoever put them there. Servers send those of Bluesky's moderation, and
those that people give themselves."""

HTTP_ERROR, HTTP_UNAUTHORIZED, HTTP_FORBIDDEN = 400, 401, 403

_DID = re.compile(r"did:[a-z]+:[\w.:%-]+", re.ASCII)
_POST = re.compile(r"at://did:[a-z]+:[\w.:%-]+/app\.bsky\.feed\.post/([\w.:~-]+)", re.ASCII)
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Moments at or beyond these were made up: docs.bsky.app, timestamps."""
_MILLISECOND = timedelta(milliseconds=1)


class Bluesky:
    """The provider. `session` owns timeouts, TLS and which addresses may be reached.

    Parameters
    ----------
    base_url : of the server that accounts sign in at
    session_folder : where sessions are kept for the next run; None: in memory only
    clock : Unix seconds; tests hand in their own
    """

    name = "bluesky"
    page_size = 100
    home = BASE_URL
    batch_size = 25
    followers_embedded = False
    reading_size = 25
    documented_limits = (Limit(3000, 300.0, fixed=True),)

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str = "",
        limits: tuple[Limit, ...] | None = None,
        *,
        session_folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._xrpc = URL((base_url or BASE_URL).rstrip("/")) / "xrpc"
        self._sessions = Sessions(session, self._xrpc, session_folder, clock)
        self._clock = clock
        self.limits = self.page_limits = limits or self.documented_limits

    def starts(self, query: Query) -> Sequence[str | None]:
        """One timeline: the search's."""
        return [None]

    async def page(self, credential: Credential, query: Query, cursor: str | None, size: int) -> Reply[Page]:
        """One page of a search for a tag. The cursor is a place: a window of time, and the server's own.

        A server that refuses to go on from its own cursor does not scroll that far: the window ends.
        """
        place = Place.parse(cursor)
        limit = str(min(size, self.page_size))
        asked = [("q", f"#{query.tag}"), ("tag", query.tag), ("sort", "latest"), ("limit", limit)]
        answer, session = await self._ask("app.bsky.feed.searchPosts", asked + place.parameters(), credential)
        rate = self.rate(answer.headers)
        if answer.status == HTTP_ERROR and place.cursor is not None:
            return Reply(Page((), 0, _written(place.after(None, None))), rate)
        body = _body(answer, credential, session)
        views = [mapping(entry) for entry in sequence(body.get("posts"))]
        posts = [_post(view) for view in views]
        kept = tuple(post for post in posts if post is not None)
        times = [listed_at for view in views if (listed_at := _listed_at(view)) is not None]
        following = place.after(times[-1] if times else None, _cursor(body))
        return Reply(Page(kept, len(posts) - len(kept), _written(following)), rate)

    async def users(self, credential: Credential, user_ids: Sequence[str]) -> Reply[list[User]]:
        """Look up at most 25 accounts. The answer leaves out who is unknown, deleted or suspended: gone."""
        asked = [("actors", user_id) for user_id in user_ids]
        answer, session = await self._ask("app.bsky.actor.getProfiles", asked, credential)
        profiles = sequence(_body(answer, credential, session).get("profiles"))
        found = {str(mapping(entry).get("did")): mapping(entry) for entry in profiles}
        return Reply([_user(user_id, found.get(user_id)) for user_id in user_ids], self.rate(answer.headers))

    async def readings(self, credential: Credential, post_ids: Sequence[str]) -> Reply[list[Reading]]:
        """Read at most 25 posts again. The answer leaves out those that are not there any more."""
        asked = [("uris", post_id) for post_id in post_ids]
        answer, session = await self._ask("app.bsky.feed.getPosts", asked, credential)
        views = sequence(_body(answer, credential, session).get("posts"))
        found = {str(mapping(view).get("uri")): mapping(view) for view in views}
        return Reply(
            [_reading(post_id, found.get(post_id)) for post_id in post_ids], self.rate(answer.headers)
        )

    def rate(self, headers: Mapping[str, str]) -> RateReport | None:
        """`RateLimit-Limit`, `-Remaining`, and `-Reset`, a moment."""
        limit, remaining = (count(headers.get(f"RateLimit-{name}")) for name in ("Limit", "Remaining"))
        report = RateReport(limit, remaining, reset_after_s(headers, self._clock()))
        return None if report == RateReport() else report

    async def call(
        self,
        credential: Credential,
        method: str,
        parameters: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> Reply[dict[str, Any]]:
        """One hit on any other method, for who does more than collect: a query, or with a body a procedure.

        Raises
        ------
        RateLimited, Transient : as `request_json`
        TokenRevoked : if the server does not let the account in
        Refused : any other error that it answers
        """
        answer, session = await self._ask(method, parameters, credential, body)
        return Reply(_body(answer, credential, session), self.rate(answer.headers))

    async def _ask(
        self,
        method: str,
        parameters: Sequence[tuple[str, str]],
        credential: Credential,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[JsonAnswer, Session]:
        """Ask with a session, and with another one where the server no longer takes the first.

        That may be one that another process has renewed, and which has ended as well. What a token is
        refused for is raised here; other errors are answers.
        """
        login = Login.of(credential)
        url = (self._xrpc / method).with_query(parameters)
        session = await self._sessions.current(login)
        answer = await self._send(url, session, body)
        for _ in range(RENEWALS):
            if _is_stale(answer):
                session = await self._sessions.renewed(login, session)
                answer = await self._send(url, session, body)
        if _kind(answer) in ACCOUNT_ERRORS or answer.status == HTTP_FORBIDDEN or _is_stale(answer):
            raise TokenRevoked(_message(answer, credential, session))
        return answer, session

    async def _send(self, url: URL, session: Session, body: Mapping[str, Any] | None) -> JsonAnswer:
        answer = await request_json(
            self._session,
            "GET" if body is None else "POST",
            url,
            headers={"Authorization": f"Bearer {session.access}"},
            json_body=body,
            pause_s=lambda told: pause_s(told, self._clock()),
        )
        if answer.status >= HTTP_ERROR and _kind(answer) in RATE_ERRORS:
            raise RateLimited(pause_s(answer.headers, self._clock()))
        return answer


@dataclass(frozen=True)
class Place:
    """How far a search has been read: the window of time, and the place in it.

    Attributes
    ----------
    until : only posts that are listed before; None for the first window
    cursor : the server's own; None at the window's top
    last : when the last post that was read of this window is listed
    empty : pages without posts, since the last one with some
    """

    until: datetime | None = None
    cursor: str | None = None
    last: datetime | None = None
    empty: int = 0

    @classmethod
    def parse(cls, written: str | None) -> Place:
        """Read what `written` wrote; None is the top. Raises `Refused` for anything else."""
        try:
            told = json.loads(written or "{}")
            place = cls(_moment(told.get("until")), text(told.get("cursor")),
                        _moment(told.get("last")), int(told.get("empty", 0)))  # fmt: skip
        except (ValueError, TypeError, AttributeError, RecursionError):
            place = None
        if place is None or (written is not None and place.written() != written):
            raise Refused("goes on from a place that is none of Bluesky's")
        return place

    def written(self) -> str:
        """One line of text, which no other place of the search has."""
        told = {
            "until": self.until and _iso(self.until, "microseconds"),
            "cursor": self.cursor,
            "last": self.last and _iso(self.last, "microseconds"),
            "empty": self.empty,
        }
        return json.dumps({name: value for name, value in told.items() if value})

    def parameters(self) -> list[tuple[str, str]]:
        """What to ask the server for."""
        until = [] if self.until is None else [("until", _iso(self.until, "milliseconds"))]
        return until if self.cursor is None else [*until, ("cursor", self.cursor)]

    def after(self, last: datetime | None, cursor: str | None) -> Place | None:
        """The place after a page; None at the end of everything.

        A window ends where the server names no next page, or the same again, or goes on naming pages
        without posts. The next one begins with all posts of the last post's millisecond, some of which may
        have been left behind: they come twice, none is lost. It has to reach further back than this one
        did, so that there is an end. The last post is gone by, not the oldest: they are the same if the
        server sorts as documented, and if not, one post with a wrong date would skip years.

        Parameters
        ----------
        last : when the page's last post is listed; None if the page was empty
        cursor : the server's, of the next page
        """
        empty = 0 if last is not None else self.empty + 1
        last = last or self.last
        if cursor not in (None, self.cursor) and empty < MAX_EMPTY_PAGES:
            return Place(self.until, cursor, last, empty)
        if last is None:
            return None
        until = last.replace(microsecond=last.microsecond // 1000 * 1000) + _MILLISECOND
        return Place(until) if self.until is None or until < self.until else None


def _written(place: Place | None) -> str | None:
    return None if place is None else place.written()


def _kind(answer: JsonAnswer) -> str:
    return str(mapping(answer.body).get("error") or "")


def _is_stale(answer: JsonAnswer) -> bool:
    """Whether the session was refused, be it by the name of the error or, as by other servers, the status."""
    kind = _kind(answer)
    refused = answer.status == HTTP_UNAUTHORIZED or (answer.status >= HTTP_ERROR and kind in STALE_ERRORS)
    return refused and kind not in ACCOUNT_ERRORS


def _body(answer: JsonAnswer, credential: Credential, session: Session) -> dict[str, Any]:
    if answer.status >= HTTP_ERROR:
        raise Refused(_message(answer, credential, session))
    return answer.as_object()


def _message(answer: JsonAnswer, credential: Credential, session: Session) -> str:
    """An error for people, without what was secret in the request."""
    body = mapping(answer.body)
    words = f"{text(body.get('error')) or 'error'} ({answer.status}): {text(body.get('message')) or ''}"
    secrets = credential.secret.get_secret_value(), Login.of(credential).password
    for secret in (session.access, session.refresh, *secrets):
        words = words.replace(secret, credential.label)
    return words[:200].removesuffix(": ")


def _cursor(body: Mapping[str, Any]) -> str | None:
    """The server's cursor; None where there is none, or none that can be written into an address."""
    cursor = body.get("cursor")
    return cursor if isinstance(cursor, str) and cursor and cursor.isprintable() else None


def _user(user_id: str, profile: Mapping[str, Any] | None) -> User:
    if profile is None:
        return User(user_id, GONE)
    followers = count(profile.get("followersCount"))
    if followers is None:
        return User(user_id, FAILED)
    return User(user_id, OK, followers, count(profile.get("followsCount")), count(profile.get("postsCount")))


def _reading(post_id: str, view: Mapping[str, Any] | None) -> Reading:
    if view is None:
        return Reading(post_id, "gone")
    return Reading(post_id, "ok", count(view.get("likeCount")), count(view.get("replyCount")))


def _post(view: Mapping[str, Any]) -> Post | None:
    """A post from a post view; None if it lacks what makes one.

    Its picture is the first image. What the network tells of its size is a ratio, at times 1:1 for any
    picture and never in pixels of the file at that address, so the size is left unknown.
    """
    author, record = mapping(view.get("author")), mapping(view.get("record"))
    uri, did = text(view.get("uri")) or "", text(author.get("did")) or ""
    address, created_at = _POST.fullmatch(uri), _listed_at(view)
    kind, image_url = _media(mapping(view.get("embed")))
    if not (address and _DID.fullmatch(did) and created_at) or (kind == "image" and not image_url):
        return None
    return Post(
        uri,
        did,
        created_at,
        kind=kind,
        image_url=image_url,
        likes=count(view.get("likeCount")),
        comments=count(view.get("replyCount")),
        tags=_tags(record),
        caption=text(record.get("text")),
        permalink=f"https://bsky.app/profile/{did}/post/{address[1]}",
        objections=_objections(view, author, record),
    )


def _media(embed: Mapping[str, Any]) -> tuple[str, str]:
    """What a post shows, and where its first picture is; of a video, the one that stands for it."""
    if embed.get("$type") == WITH_MEDIA:
        embed = mapping(embed.get("media"))
    match embed.get("$type"):
        case kind if kind in (IMAGES, GALLERY):
            images = sequence(embed.get("images" if kind == IMAGES else "items"))
            return "image", text(mapping(images[0]).get("fullsize")) or "" if images else ""
        case kind if kind == VIDEO:
            return "video", text(embed.get("thumbnail")) or ""
    return "text", ""


def _tags(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Those in the text, as its author's app has marked them, and those beside it."""
    features = (
        mapping(feature)
        for facet in sequence(record.get("facets"))
        for feature in sequence(mapping(facet).get("features"))
    )
    marked = [feature.get("tag") for feature in features if feature.get("$type") == TAG]
    return tuple(dict.fromkeys(_texts([*marked, *sequence(record.get("tags"))])))


def _objections(
    view: Mapping[str, Any], author: Mapping[str, Any], record: Mapping[str, Any]
) -> frozenset[Objection]:
    own_labels = sequence(mapping(record.get("labels")).get("values"))
    labels = _labels([*sequence(author.get("labels")), *sequence(view.get("labels")), *own_labels])
    found = {
        Objection.SIGNED_IN_ONLY: SIGNED_IN_ONLY in labels,
        Objection.BOT: BOT in labels,
        Objection.SENSITIVE: not SENSITIVE.isdisjoint(labels),
        Objection.NOT_PUBLIC: mapping(author.get("viewer")).get("blockedBy") is True,
    }
    return frozenset(objection for objection, holds in found.items() if holds)


def _labels(entries: Iterable[object]) -> set[str]:
    """The values of labels; one that takes another back is none."""
    labels = [mapping(entry) for entry in entries]
    return set(_texts(label.get("val") for label in labels if label.get("neg") is not True))


def _texts(values: Iterable[object]) -> list[str]:
    return [value for value in values if isinstance(value, str) and value]


def _listed_at(view: Mapping[str, Any]) -> datetime | None:
    """When a post was made, for all that is known: the network's `sortAt`.

    `createdAt` is what the author's app says, and may be anything; `indexedAt` is when the network first
    saw the post. The earlier of the two holds, unless the former was made up.
    """
    created_at, indexed_at = (
        _moment(mapping(view.get("record")).get("createdAt")),
        _moment(view.get("indexedAt")),
    )
    return min((told for told in (created_at, indexed_at) if told is not None), default=None)


def _moment(value: object) -> datetime | None:
    """A moment that can be true; None where there is none."""
    try:
        told = moment(value)
    except OverflowError:  # in the year 1 or 9999, east or west of Greenwich
        return None
    return told if told is not None and _FIRST < told < _LAST else None


def _iso(when: datetime, precision: str) -> str:
    return when.isoformat(timespec=precision).replace("+00:00", "Z")
