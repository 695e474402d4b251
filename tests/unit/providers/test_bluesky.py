"""Bluesky as it answers: what is read from it, how sessions are kept, what comes of every trouble."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import stat
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.budget import Limit, RateReport
from actors.outcomes import ClientError, Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.providers.base import Objection, Page, Post, Query, Reading, User, walk
from raylike.providers.bluesky import MAX_EMPTY_PAGES, Bluesky, Place
from raylike.providers.bluesky_sessions import LONGEST_WINDOW_S, Login, Session

T = TypeVar("T")
PASSWORD = "abcd-efgh-ijkl-mnop"
CREDENTIAL = Credential("anna", SecretStr(f"anna.test:{PASSWORD}"))
DID, OTHER = "did:plc:abc", "did:plc:def"
URI = f"at://{DID}/app.bsky.feed.post/3l7"
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"
CREATE, REFRESH = "com.atproto.server.createSession", "com.atproto.server.refreshSession"
SEARCH, PROFILES = "app.bsky.feed.searchPosts", "app.bsky.actor.getProfiles"

Answer = Callable[[web.Request], web.StreamResponse]


def view(**changes: Any) -> dict[str, Any]:
    """A post as it is shown, after the network's documentation."""
    return {
        "uri": URI, "cid": "bafyrei1", "author": author(), "record": record(), "embed": images(),
        "replyCount": 3, "repostCount": 1, "likeCount": 12, "quoteCount": 0, "bookmarkCount": 0,
        "indexedAt": "2026-10-01T08:00:01.000Z", "labels": [],
    } | changes  # fmt: skip


def author(**changes: Any) -> dict[str, Any]:
    return {
        "did": DID, "handle": "a.bsky.social", "displayName": "A", "labels": [],
        "createdAt": "2024-01-01T00:00:00.000Z",
    } | changes  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {
        "$type": "app.bsky.feed.post", "text": "hi #me", "createdAt": "2026-10-01T08:00:00.000Z",
        "langs": ["en"], "facets": [tag_facet("me")],
    } | changes  # fmt: skip


def tag_facet(tag: str) -> dict[str, Any]:
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": tag}]
    return {"index": {"byteStart": 3, "byteEnd": 6}, "features": features}


def images(*fullsizes: str) -> dict[str, Any]:
    ratio = {"width": 1080, "height": 1350}
    return {
        "$type": "app.bsky.embed.images#view",
        "images": [
            {"thumb": f"{fullsize}-small", "fullsize": fullsize, "alt": "me", "aspectRatio": ratio}
            for fullsize in fullsizes or ("https://cdn.test/full/1@jpeg",)
        ],
    }


def labels(*values: str) -> list[dict[str, Any]]:
    return [{"src": DID, "uri": URI, "val": value, "cts": "2026-10-01T08:00:00.000Z"} for value in values]


def always(body: object, code: int = 200, **headers: str) -> Answer:
    """The same answer to everything; text is HTML."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: web.Response(text=text, status=code, content_type=kind, headers=named)


def error(name: str, code: int = 400, message: str = "it is so") -> Answer:
    return always({"error": name, "message": message}, code)


def token(number: int, life_s: int | None) -> str:
    """A JSON Web Token as servers make them, unsigned."""
    claims = {} if life_s is None else {"iat": 1_000_000, "exp": 1_000_000 + life_s}
    parts = [json.dumps(part).encode() for part in ({"typ": "JWT"}, claims | {"jti": str(number)})]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "sig"])


class Pds:
    """An account's server: it keeps sessions as the network does, and answers the rest as a test says.

    `answer` is sent to whoever has a session; `instead` has answers for single methods, sent first.
    """

    def __init__(self, answer: Answer | None = None, life_s: int | None = 7200) -> None:
        self.answer = answer or always({"posts": [], "profiles": []})
        self.instead: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.queries: list[list[tuple[str, str]]] = []
        self.life_s = life_s
        self.access: set[str] = set()
        self.refresh: set[str] = set()
        self.sessions = 0
        self.open = asyncio.Event()
        self.open.set()
        self.url = ""

    def expire(self) -> None:
        """All sessions come to their end."""
        self.access.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = request.path.rpartition("/")[2]
        self.asked[method] += 1
        body = await request.json() if method == CREATE else {}
        await asyncio.sleep(0)  # so that others are asked meanwhile
        await self.open.wait()
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if method in self.instead:
            return self.instead[method](request)
        if method == CREATE:
            right = body["password"] == PASSWORD
            return self._session() if right else error("AuthenticationRequired", 401)(request)
        if secret not in (self.refresh if method == REFRESH else self.access):
            return error("ExpiredToken")(request)
        if method == REFRESH:
            self.refresh.remove(secret)
            return self._session()
        self.queries.append(list(request.query.items()))
        return self.answer(request)

    def _session(self) -> web.Response:
        self.sessions += 1
        access, refresh = token(self.sessions, self.life_s), token(-self.sessions, 90 * 86_400)
        self.access.add(access)
        self.refresh.add(refresh)
        return web.json_response(
            {"did": DID, "handle": "anna.test", "accessJwt": access, "refreshJwt": refresh}
        )


@asynccontextmanager
async def serving(pds: Pds) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_route("*", "/xrpc/{method}", pds.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        pds.url = str(server.make_url("/"))
        yield http


def ask(pds: Pds, call: Callable[[Bluesky], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        async with serving(pds) as http:
            return await call(Bluesky(http, pds.url, **options))

    return asyncio.run(main())


def page(answer: Answer, cursor: str | None = None, size: int = 100) -> Reply[Page]:
    return ask(Pds(answer), lambda provider: provider.page(CREDENTIAL, Query("me"), cursor, size))


def one(changes: dict[str, Any]) -> Post:
    (post,) = page(always({"posts": [view(**changes)]})).value.posts
    return post


def users(answer: Answer, *user_ids: str) -> list[User]:
    return ask(Pds(answer), lambda provider: provider.users(CREDENTIAL, user_ids)).value


def look_up(provider: Bluesky, credential: Credential = CREDENTIAL) -> Awaitable[Reply[list[User]]]:
    return provider.users(credential, [DID])


def test_a_post_is_read_as_documented() -> None:
    assert one({}) == Post(
        URI,
        DID,
        datetime(2026, 10, 1, 8, tzinfo=UTC),
        kind="image",
        image_url="https://cdn.test/full/1@jpeg",
        likes=12,
        comments=3,
        tags=("me",),
        caption="hi #me",
        permalink=f"https://bsky.app/profile/{DID}/post/3l7",
    )


GALLERY = {
    "$type": "app.bsky.embed.gallery#view",
    "items": [{"$type": "app.bsky.embed.gallery#viewImage", "fullsize": "https://cdn.test/g"}],
}
VIDEO = {"$type": "app.bsky.embed.video#view", "playlist": "p", "thumbnail": "https://cdn.test/t"}


def quoting(media: dict[str, Any]) -> dict[str, Any]:
    return {"$type": "app.bsky.embed.recordWithMedia#view", "record": {"record": {}}, "media": media}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"embed": images("https://cdn.test/a", "https://cdn.test/b")}, "image_url", "https://cdn.test/a"),
        ({"embed": GALLERY}, "image_url", "https://cdn.test/g"),
        ({"embed": GALLERY}, "kind", "image"),
        ({"embed": quoting(images("https://cdn.test/q"))}, "image_url", "https://cdn.test/q"),
        ({"embed": quoting(images())}, "kind", "image"),
        ({"embed": VIDEO}, "kind", "video"),
        ({"embed": VIDEO}, "image_url", "https://cdn.test/t"),
        ({"embed": quoting(VIDEO)}, "kind", "video"),
        ({"embed": {"$type": "app.bsky.embed.external#view"}}, "kind", "text"),
        ({"embed": {"$type": ["odd"]}}, "kind", "text"),
        ({"embed": None}, "kind", "text"),
        ({"likeCount": None}, "likes", None),
        ({"likeCount": 0}, "likes", 0),
        ({"replyCount": -1}, "comments", None),
        ({"record": record(text="")}, "caption", None),
        ({"record": record(tags=["me", "you"])}, "tags", ("me", "you")),
        ({"record": record(facets=[tag_facet("one"), tag_facet("two")])}, "tags", ("one", "two")),
        ({"record": record(facets=[{"features": [{"$type": "app.bsky.richtext.facet#link", "tag": "no"}]}])},
         "tags", ()),
        ({"record": record(facets=[None, {"features": [3]}, {}], tags="x")}, "tags", ()),
    ],
)  # fmt: skip
def test_what_varies_between_posts(changes: dict[str, Any], field: str, value: object) -> None:
    assert getattr(one(changes), field) == value


def test_a_ratio_is_taken_for_no_size() -> None:
    assert (one({}).width, one({}).height) == (None, None)


@pytest.mark.parametrize(
    ("created_at", "indexed_at", "expected"),
    [
        ("2026-09-30T00:00:00Z", "2026-10-01T00:00:00Z", "2026-09-30"),
        ("2199-01-01T00:00:00Z", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("0000-01-01T00:00:00Z", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("0001-01-01T00:00:00+14:00", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("9999-12-31T23:59:59-14:00", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("1970-01-01T00:00:00Z", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("2026-09-30T00:00:00", "2026-10-01T00:00:00Z", "2026-10-01"),
        ("yesterday", "2026-10-01T00:00:00Z", "2026-10-01"),
        (None, "2026-10-01T00:00:00Z", "2026-10-01"),
        ("2026-09-30T00:00:00Z", None, "2026-09-30"),
        ("2026-09-30T02:00:00+02:00", "2026-10-01T00:00:00Z", "2026-09-30"),
    ],
)
def test_the_earlier_time_holds_unless_it_was_made_up(
    created_at: str | None, indexed_at: str | None, expected: str
) -> None:
    post = one({"record": record(createdAt=created_at), "indexedAt": indexed_at})
    assert post.created_at == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "objections"),
    [
        ({}, set()),
        ({"author": author(labels=labels("!no-unauthenticated"))}, {Objection.SIGNED_IN_ONLY}),
        ({"author": author(labels=labels("bot"))}, {Objection.BOT}),
        ({"author": author(labels=labels("sexual"))}, {Objection.SENSITIVE}),
        *(({"labels": labels(value)}, {Objection.SENSITIVE})
          for value in ("porn", "sexual", "nudity", "graphic-media", "gore", "!hide", "!warn", "spoiler")),
        ({"record": record(labels={"values": [{"val": "nudity"}]})}, {Objection.SENSITIVE}),
        ({"author": author(viewer={"blockedBy": True})}, {Objection.NOT_PUBLIC}),
        ({"author": author(viewer={"blockedBy": False, "muted": True})}, set()),
        ({"labels": labels("spam", "rude")}, set()),
        ({"labels": [{"val": "porn", "neg": True}]}, set()),
        ({"labels": [None, {"val": 3}, {"val": ["porn"]}], "author": author(labels="porn")}, set()),
        ({"labels": labels("porn"), "author": author(labels=labels("bot", "!no-unauthenticated"))},
         {Objection.SENSITIVE, Objection.BOT, Objection.SIGNED_IN_ONLY}),
    ],
)  # fmt: skip
def test_what_people_have_said_against_it_is_passed_on(
    changes: dict[str, Any], objections: set[Objection]
) -> None:
    assert one(changes).objections == objections


@pytest.mark.parametrize(
    "entry",
    [
        view(uri=None),
        view(uri="at://did:plc:abc/app.bsky.feed.post/../../x"),
        view(uri="https://bsky.app/x"),
        view(author={}),
        view(author=author(did="did:plc:a/b?c")),
        view(record=record(createdAt=None), indexedAt=None),
        view(embed={"$type": "app.bsky.embed.images#view", "images": []}),
        view(embed={"$type": "app.bsky.embed.images#view", "images": [{"fullsize": 7}]}),
        None,
        "post",
    ],
)
def test_entries_that_are_no_posts_are_counted(entry: object) -> None:
    value = page(always({"posts": [entry, view()]})).value
    assert value.malformed == 1
    assert [post.post_id for post in value.posts] == [URI]


def test_a_search_asks_for_the_latest_posts_of_a_tag() -> None:
    pds = Pds(always({"posts": [view()], "cursor": "100"}))
    reply = ask(pds, lambda provider: provider.page(CREDENTIAL, Query("café+#1"), None, 1000))
    assert pds.queries[0] == [("q", "#café+#1"), ("tag", "café+#1"), ("sort", "latest"), ("limit", "100")]
    cursor = reply.value.cursor
    ask(pds, lambda provider: provider.page(CREDENTIAL, Query("me"), cursor, 30))
    assert pds.queries[1][2:] == [("sort", "latest"), ("limit", "30"), ("cursor", "100")]


def test_where_scrolling_ends_the_search_goes_on_before_the_last_post() -> None:
    pds = Pds(always({"posts": [view(), view(indexedAt="2026-09-01T00:00:00.1234Z")]}))

    async def twice(provider: Bluesky) -> list[Page]:
        first = (await provider.page(CREDENTIAL, Query("me"), None, 100)).value
        return [first, (await provider.page(CREDENTIAL, Query("me"), first.cursor, 100)).value]

    first, second = ask(pds, twice)
    assert pds.queries[1][4:] == [("until", "2026-09-01T00:00:00.124Z")]
    assert first.cursor is not None
    assert second.cursor is None, "it brought nothing older"


def test_a_server_that_goes_no_deeper_ends_a_window_not_the_search() -> None:
    pds = Pds(always({"posts": [view()], "cursor": "10000"}))

    async def deep(provider: Bluesky) -> list[Page]:
        first = (await provider.page(CREDENTIAL, Query("me"), None, 100)).value
        pds.answer = error("InvalidRequest", message="can't paginate so deep")
        return [first, (await provider.page(CREDENTIAL, Query("me"), first.cursor, 100)).value]

    _, second = ask(pds, deep)
    assert second.posts == ()
    assert Place.parse(second.cursor).parameters() == [("until", "2026-10-01T08:00:00.001Z")]


def test_a_window_that_is_refused_at_its_top_is_an_error() -> None:
    with pytest.raises(Refused, match=r"BadQueryString \(400\): it is so"):
        page(error("BadQueryString"))


@pytest.mark.parametrize("cursor", ["same", "7\ud800"])
def test_a_cursor_that_leads_nowhere_ends_the_window(cursor: str) -> None:
    start = Place(cursor="same").written()
    value = page(always({"posts": [view()], "cursor": cursor}), start).value
    assert Place.parse(value.cursor).cursor is None


def test_pages_without_posts_come_to_an_end() -> None:
    def answer(request: web.Request) -> web.Response:
        return web.json_response({"posts": [], "cursor": str(int(request.query.get("cursor", 0)) + 100)})

    async def all_pages(provider: Bluesky) -> int:
        async def fetch(cursor: str | None) -> Page:
            return (await provider.page(CREDENTIAL, Query("me"), cursor, 100)).value

        return len([page async for page in walk(fetch)])

    assert ask(Pds(answer), all_pages) == MAX_EMPTY_PAGES


@pytest.mark.parametrize(
    "cursor", ["100", "", "[]", "{", '{"until": "x"}', '{"empty": "x"}', '{"a": 1}', "[" * 10**5]
)
def test_a_place_that_was_never_written_is_refused(cursor: str) -> None:
    with pytest.raises(Refused, match="none of Bluesky's"):
        page(always({"posts": []}), cursor)


@given(
    times=st.lists(st.integers(0, 10**6), min_size=0, max_size=80),
    size=st.integers(1, 12),
    depth=st.integers(1, 30),
    refuses=st.booleans(),
)
def test_a_walk_in_windows_meets_every_post_and_ends(
    times: list[int], size: int, depth: int, refuses: bool
) -> None:
    """Against a search as documented, with a depth that no millisecond has more posts than."""
    depth = max([depth, *(count + 1 for count in Counter(ms // 1000 for ms in times).values())])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    listed = sorted((start + timedelta(microseconds=time) for time in times), reverse=True)
    met: set[int] = set()
    written: list[str] = []
    place: Place | None = Place()
    while place is not None:
        written.append(place.written())
        place = Place.parse(written[-1])
        asked = dict(place.parameters())
        until = datetime.fromisoformat(asked.get("until", "9000-01-01T00:00:00Z"))
        window = [index for index, when in enumerate(listed) if when < until]
        first = int(asked.get("cursor", 0))
        if refuses and first >= depth:
            place = place.after(None, None)
            continue
        rows = window[:depth][first : first + size]
        met.update(rows)
        more = first + size < (len(window) if refuses else min(len(window), depth))
        place = place.after(listed[rows[-1]] if rows else None, str(first + size) if more else None)
    assert met == set(range(len(listed)))
    assert len(written) == len(set(written))


def test_accounts_that_the_answer_leaves_out_are_gone() -> None:
    profiles = [
        {"did": OTHER, "handle": "b.test", "followersCount": 0, "followsCount": 5, "postsCount": 6},
        {"did": DID, "handle": "a.test", "followersCount": 431},
        {"did": "did:plc:odd", "followersCount": "many"},
        None,
    ]
    assert users(always({"profiles": profiles}), DID, "did:plc:no", OTHER, "did:plc:odd") == [
        User(DID, "ok", 431),
        User("did:plc:no", "gone"),
        User(OTHER, "ok", 0, 5, 6),
        User("did:plc:odd", "failed"),
    ]


def test_many_accounts_and_posts_are_one_hit() -> None:
    pds = Pds()
    dids = [f"did:plc:{n}" for n in range(25)]

    async def both(provider: Bluesky) -> None:
        await provider.users(CREDENTIAL, dids)
        await provider.readings(CREDENTIAL, [URI, URI + "x"])

    ask(pds, both)
    assert pds.queries == [[("actors", did) for did in dids], [("uris", URI), ("uris", URI + "x")]]


def test_posts_that_the_answer_leaves_out_are_gone() -> None:
    pds = Pds(always({"posts": [view(likeCount=9)]}))
    reply = ask(pds, lambda provider: provider.readings(CREDENTIAL, [URI + "x", URI]))
    assert reply.value == [Reading(URI + "x", "gone"), Reading(URI, "ok", 9, 3)]


@pytest.mark.parametrize(
    ("answer", "trouble", "text"),
    [
        (error("RateLimitExceeded", 429), RateLimited, "rate limit"),
        (error("RateLimitExceeded", 400), RateLimited, "rate limit"),
        (always(HTML, 429), RateLimited, "rate limit"),
        (always(HTML, 503, Retry_After="7"), RateLimited, "7 s"),
        (error("UpstreamFailure", 502), Transient, "HTTP 502"),
        (error("InternalServerError", 500), Transient, "HTTP 500"),
        (error("AuthMissing", 401), TokenRevoked, "AuthMissing"),
        (error("AuthenticationRequired", 401), TokenRevoked, "AuthenticationRequired"),
        (error("InvalidToken"), TokenRevoked, "InvalidToken"),
        (error("ExpiredToken"), TokenRevoked, "ExpiredToken"),
        (error("AccountTakedown", 401), TokenRevoked, "AccountTakedown"),
        (error("AccountDeactivated"), TokenRevoked, "AccountDeactivated"),
        (error("Forbidden", 403), TokenRevoked, "Forbidden"),
        (error("InvalidRequest"), Refused, "it is so"),
        (always({"message": "odd"}, 404), Refused, r"error \(404\): odd"),
        (always([1], 400), Refused, r"error \(400\)"),
        (always([1]), Refused, "another shape"),
        (always(HTML), Refused, "HTML"),
        (always(HTML, 403), Refused, "HTML"),
        (always(HTML, 302, Location="http://elsewhere.test/"), Refused, "redirects"),
    ],
)
def test_errors_have_one_meaning(answer: Answer, trouble: type[ClientError], text: str) -> None:
    with pytest.raises(trouble, match=text):
        page(answer)
    with pytest.raises(trouble, match=text):
        users(answer, DID)
    with pytest.raises(trouble, match=text):
        ask(Pds(answer), lambda provider: provider.readings(CREDENTIAL, [URI]))


def test_the_headers_of_an_answer_are_reported() -> None:
    now = datetime(2026, 11, 23, 18, tzinfo=UTC)
    headers = {
        "RateLimit_Limit": "3000", "RateLimit_Remaining": "2998", "RateLimit_Policy": "3000;w=300",
        "RateLimit_Reset": str(int(now.timestamp()) + 120), "Date": format_datetime(now, usegmt=True),
    }  # fmt: skip
    answer = always({"posts": [], "profiles": []}, **headers)
    expected = RateReport(3000, 2998, 121.0)
    assert page(answer).rate == expected
    assert ask(Pds(answer), look_up).rate == expected
    assert ask(Pds(answer), lambda provider: provider.readings(CREDENTIAL, [URI])).rate == expected


@pytest.mark.parametrize("method", [CREATE, PROFILES, REFRESH])
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"RateLimit_Reset": "86000"}, 85_001.0),
        ({"RateLimit_Reset": "86000", "Retry_After": "9"}, 9.0),
        ({}, None),
    ],
)
def test_a_refusal_says_how_long_to_wait(method: str, headers: dict[str, str], wait_s: float | None) -> None:
    pds = Pds()
    date = "Thu, 01 Jan 1970 00:16:40 GMT"
    pds.instead[method] = always({"error": "RateLimitExceeded"}, 429, Date=date, **headers)

    async def refused(provider: Bluesky) -> None:
        if method == REFRESH:
            await look_up(provider)
            pds.expire()
        await look_up(provider)

    with pytest.raises(RateLimited) as caught:
        ask(pds, refused)
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"RateLimit-Limit": "3000"}, RateReport(3000)),
        ({"RateLimit-Remaining": "x"}, None),
        ({"RateLimit-Reset": "1060"}, RateReport(reset_after_s=61.0)),
        (
            {"RateLimit-Reset": "1060", "Date": "Thu, 01 Jan 1970 00:17:00 GMT"},
            RateReport(reset_after_s=41.0),
        ),
        ({"RateLimit-Reset": "1060", "Date": "noon"}, RateReport(reset_after_s=61.0)),
        ({"RateLimit-Reset": "900"}, RateReport(reset_after_s=0.0)),
        ({"RateLimit-Reset": "9" * 15}, RateReport(reset_after_s=LONGEST_WINDOW_S)),
        ({"RateLimit-Reset": "9" * 400}, None),
    ],
)
def test_a_reset_counts_from_the_answer_s_date(headers: dict[str, str], expected: RateReport | None) -> None:
    async def rate(provider: Bluesky) -> RateReport | None:
        return provider.rate(headers)

    assert ask(Pds(), rate, clock=lambda: 1000.0) == expected


def test_limits_may_be_set() -> None:
    async def limits(provider: Bluesky) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
        return provider.limits, provider.page_limits

    documented, other = (Limit(3000, 300.0, fixed=True),), (Limit(10, 5.0),)
    assert ask(Pds(), limits) == (documented, documented)
    assert ask(Pds(), limits, limits=other) == (other, other)


# Sessions


def test_many_hits_take_one_sign_in() -> None:
    pds = Pds()

    async def many(provider: Bluesky) -> None:
        await asyncio.gather(*(look_up(provider) for _ in range(20)))

    ask(pds, many)
    assert pds.asked == {CREATE: 1, PROFILES: 20}


def test_a_session_outlives_the_process_that_opened_it(tmp_path: Path) -> None:
    pds, folder = Pds(), tmp_path / "state" / "bluesky"

    async def main() -> None:
        async with serving(pds) as http:
            for _ in range(3):
                await look_up(Bluesky(http, pds.url, session_folder=folder))

    asyncio.run(main())
    assert pds.asked == {CREATE: 1, PROFILES: 3}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert sorted(file.suffix for file in files) == [".json", ".lock"]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "anna" not in file.name
        assert PASSWORD not in file.read_text()


def test_accounts_and_servers_have_sessions_of_their_own(tmp_path: Path) -> None:
    first, second = Pds(), Pds()
    berta = Credential("berta", SecretStr(f"did:plc:berta:{PASSWORD}"))

    async def main() -> None:
        async with serving(first) as http, serving(second):
            for pds in (first, second):
                provider = Bluesky(http, pds.url, session_folder=tmp_path / "s")
                await asyncio.gather(look_up(provider), look_up(provider, berta))

    asyncio.run(main())
    assert first.asked[CREATE] == second.asked[CREATE] == 2
    assert len(list((tmp_path / "s").glob("*.json"))) == 4


@pytest.mark.parametrize("kept", [True, False])
def test_a_session_that_has_ended_is_renewed_once_for_all_who_wait(kept: bool, tmp_path: Path) -> None:
    """Two providers stand for two processes: the lock on a file holds between descriptors."""
    pds = Pds()

    async def main() -> None:
        async with serving(pds) as http:
            folder = tmp_path / "s" if kept else None
            providers = [Bluesky(http, pds.url, session_folder=folder) for _ in range(3)]
            for provider in providers:
                await look_up(provider)
            for _ in range(2):
                pds.expire()
                await asyncio.gather(*(look_up(provider) for provider in providers * 5))

    asyncio.run(main())
    assert pds.asked[CREATE] == (1 if kept else 3)
    assert pds.asked[REFRESH] == (2 if kept else 6)


def test_a_session_is_renewed_before_its_end() -> None:
    pds, now = Pds(life_s=7200), [0.0]

    async def hours(provider: Bluesky) -> None:
        for moment in (0.0, 7100.0, 7141.0, 14_000.0, 14_282.0):
            now[0] = moment
            await look_up(provider)

    ask(pds, hours, clock=lambda: now[0])
    assert pds.asked == {CREATE: 1, REFRESH: 2, PROFILES: 5}, "and nothing was asked in vain"


@pytest.mark.parametrize("life_s", [None, 0, -5])
def test_a_token_that_does_not_tell_its_end_is_used_until_it_is_refused(life_s: int | None) -> None:
    pds, now = Pds(life_s=life_s), [0.0]

    async def later(provider: Bluesky) -> None:
        await look_up(provider)
        now[0] = 10**9
        await look_up(provider)
        pds.expire()
        await look_up(provider)

    ask(pds, later, clock=lambda: now[0])
    assert pds.asked == {CREATE: 1, REFRESH: 1, PROFILES: 4}


@pytest.mark.parametrize("access", ["opaque", "a.b.c", "..", ".bnVsbA.", ".%%%%.", ".WzFd."])
def test_a_token_may_be_of_any_form(access: str) -> None:
    pds = Pds()
    pds.instead[CREATE] = always({"accessJwt": access, "refreshJwt": "r"})
    pds.access.add(access)
    assert ask(pds, look_up).value == [User(DID, "gone")]


def test_who_can_no_longer_renew_signs_in_again(tmp_path: Path) -> None:
    pds = Pds()

    async def main() -> None:
        async with serving(pds) as http:
            await look_up(Bluesky(http, pds.url, session_folder=tmp_path / "s"))
            pds.expire()
            pds.refresh.clear()
            provider = Bluesky(http, pds.url, session_folder=tmp_path / "s")
            await asyncio.gather(*(look_up(provider) for _ in range(5)))

    asyncio.run(main())
    assert (pds.asked[CREATE], pds.asked[REFRESH]) == (2, 1)


def test_a_server_that_refuses_new_sessions_too_is_soon_left_alone() -> None:
    pds = Pds(error("InvalidToken"))
    with pytest.raises(TokenRevoked, match="InvalidToken"):
        ask(pds, look_up)
    assert pds.asked == {CREATE: 1, REFRESH: 2, PROFILES: 3}


@pytest.mark.parametrize(
    ("answer", "trouble", "text"),
    [
        (error("AuthenticationRequired", 401), TokenRevoked, "name or the app password is not accepted"),
        (error("AccountTakedown", 401), TokenRevoked, "has been taken down"),
        (error("AuthFactorTokenRequired", 401), TokenRevoked, "use an app password"),
        (error("InvalidRequest", 400), TokenRevoked, "cannot sign in: InvalidRequest"),
        (error("<b>", 403), TokenRevoked, "cannot sign in: error"),
        (error("XRPCNotSupported", 404), Refused, r"cannot sign in: XRPCNotSupported \(404\)"),
        (error("RateLimitExceeded", 429), RateLimited, "rate limit"),
        (error("InternalServerError", 500), Transient, "HTTP 500"),
        (always(HTML, 403), Refused, "HTML"),
        (always({}), Refused, "another shape"),
        (always({"accessJwt": 1, "refreshJwt": "x"}), Refused, "another shape"),
        (always([]), Refused, "another shape"),
    ],
)
def test_what_speaks_against_signing_in_is_said_plainly(
    answer: Answer, trouble: type[ClientError], text: str
) -> None:
    pds = Pds()
    pds.instead[CREATE] = answer
    with pytest.raises(trouble, match=text):
        ask(pds, look_up)
    assert pds.asked == {CREATE: 1}


def test_a_password_that_was_refused_is_not_tried_again() -> None:
    pds = Pds()
    wrong = Credential("anna", SecretStr("anna.test:wrong"))

    async def insist(provider: Bluesky) -> list[object]:
        asked = (look_up(provider, wrong) for _ in range(10))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert {type(outcome) for outcome in ask(pds, insist)} == {TokenRevoked}
    assert pds.asked == {CREATE: 1}


@pytest.mark.parametrize("answer", [error("RateLimitExceeded", 429), error("InternalServerError", 500)])
def test_a_renewal_that_fails_for_now_costs_no_sign_in(answer: Answer) -> None:
    pds = Pds()

    async def fail(provider: Bluesky) -> None:
        await look_up(provider)
        pds.expire()
        pds.instead[REFRESH] = answer
        with pytest.raises((RateLimited, Transient)):
            await look_up(provider)
        del pds.instead[REFRESH]
        await look_up(provider)

    ask(pds, fail)
    assert (pds.asked[CREATE], pds.asked[REFRESH]) == (1, 2)


@pytest.mark.parametrize(
    ("secret", "identifier", "password"),
    [
        ("anna.test:abcd-efgh", "anna.test", "abcd-efgh"),
        ("did:plc:abc:abcd-efgh", "did:plc:abc", "abcd-efgh"),
        ("@anna.test:abcd", "anna.test", "abcd"),
        ("anna@mail.test:abcd", "anna@mail.test", "abcd"),
    ],
)
def test_a_token_is_a_name_and_a_password(secret: str, identifier: str, password: str) -> None:
    assert Login.of(Credential("a", SecretStr(secret))) == Login(identifier, password)


@pytest.mark.parametrize("secret", ["zyxw-vuts-rqpo-nmlk", ":zyxw", "berta.test:", "@:zyxw", ":"])
def test_a_token_of_another_form_is_never_sent(secret: str) -> None:
    pds = Pds()
    with pytest.raises(TokenRevoked, match="NAME:APP-PASSWORD") as caught:
        ask(pds, lambda provider: look_up(provider, Credential("anna", SecretStr(secret))))
    assert not pds.asked
    assert not any(part in str(caught.value) for part in secret.split(":") if len(part) > 1)


def test_no_secret_comes_into_a_message_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def tell_all(request: web.Request) -> web.Response:
        secret = request.headers["Authorization"].removeprefix("Bearer ")
        assert secret in pds.access
        message = f"{secret} {PASSWORD} {CREDENTIAL.secret.get_secret_value()}"
        return web.json_response({"error": "InvalidRequest", "message": message}, status=400)

    pds = Pds(tell_all)
    with pytest.raises(Refused) as caught:
        ask(pds, look_up)
    (access,), told = pds.access, repr(caught.value) + caplog.text
    for secret in (access, PASSWORD, *pds.refresh):
        assert secret not in told
    assert "anna (...mnop)" in str(caught.value)
    shown = repr([Session(access, access, 3.0), Login("anna.test", PASSWORD)])
    assert access not in shown
    assert PASSWORD not in shown


def sign_ins(tmp_path: Path, spoil: Callable[[Path], object]) -> int:
    """How often two processes sign in, if something happens to the folder between them."""
    pds, folder = Pds(), tmp_path / "s"

    async def main() -> None:
        async with serving(pds) as http:
            await look_up(Bluesky(http, pds.url, session_folder=folder))
            spoil(folder)
            await look_up(Bluesky(http, pds.url, session_folder=folder))

    asyncio.run(main())
    return pds.asked[CREATE]


def the_file(folder: Path) -> Path:
    (file,) = folder.glob("*.json")
    return file


def moved_behind_a_link(folder: Path) -> None:
    file = the_file(folder)
    file.rename(folder / "elsewhere")
    file.symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: None, 1),
        (lambda folder: the_file(folder).unlink(), 2),
        (lambda folder: the_file(folder).write_text(""), 2),
        (lambda folder: the_file(folder).write_text("[1]"), 2),
        (lambda folder: the_file(folder).write_text('{"access": 1, "refresh": "x"}'), 2),
        (lambda folder: the_file(folder).write_bytes(b"\xff\xfe"), 2),
        (lambda folder: the_file(folder).chmod(0o640), 2),
        (moved_behind_a_link, 2),
    ],
    ids=["whole", "deleted", "empty", "no object", "no token", "no text", "open to a group", "a link"],
)
def test_a_file_that_cannot_be_trusted_is_replaced(
    spoil: Callable[[Path], object], expected: int, tmp_path: Path
) -> None:
    assert sign_ins(tmp_path, spoil) == expected
    file = the_file(tmp_path / "s")
    assert stat.S_IMODE(file.lstat().st_mode) == 0o600
    assert json.loads(file.read_text())["access"]
    assert not list((tmp_path / "s").glob(".*")), "no half-written file stays"


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged of sessions, whatever level the command line has set for the rest."""
    caplog.set_level("WARNING", logger="raylike.providers.bluesky_sessions")
    return caplog


def test_a_folder_that_others_can_read_keeps_nothing(
    tmp_path: Path, warned: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    assert sign_ins(tmp_path, lambda folder: None) == 2
    assert not list((tmp_path / "s").iterdir())
    assert warned.text.count("others can read it; chmod 700 would close it") == 2


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path, warned: pytest.LogCaptureFixture) -> None:
    (tmp_path / "s").write_text("a file is in the way")
    assert sign_ins(tmp_path, lambda folder: None) == 2
    assert warned.text.count("Bluesky sessions are not kept in") == 2


def test_a_folder_that_vanishes_stops_nothing(tmp_path: Path, warned: pytest.LogCaptureFixture) -> None:
    pds, folder = Pds(), tmp_path / "s"

    async def vanish(provider: Bluesky) -> None:
        await look_up(provider)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        pds.expire()
        await look_up(provider)

    ask(pds, vanish, session_folder=folder)
    assert (pds.asked[CREATE], pds.asked[REFRESH]) == (1, 1)
    assert "No such file or directory" in warned.text


def test_who_stops_waiting_for_a_session_leaves_it_to_the_others(tmp_path: Path) -> None:
    pds = Pds()

    async def main() -> None:
        async with serving(pds) as http:
            provider = Bluesky(http, pds.url, session_folder=tmp_path / "s")
            pds.open.clear()
            tasks = [asyncio.ensure_future(look_up(provider)) for _ in range(3)]
            while not pds.asked:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
            pds.open.set()
            other = Bluesky(http, pds.url, session_folder=tmp_path / "s")
            await asyncio.gather(look_up(provider), look_up(other))

    asyncio.run(main())
    assert pds.asked == {CREATE: 2, PROFILES: 2}


def test_kept_sessions_are_renewed_with_the_token_that_is_kept(tmp_path: Path) -> None:
    """A process that slept through two renewals of another does not come with a token that is used up."""
    pds = Pds()

    async def main() -> None:
        async with serving(pds) as http:
            sleeper, worker = (Bluesky(http, pds.url, session_folder=tmp_path / "s") for _ in range(2))
            await look_up(sleeper)
            for _ in range(2):
                pds.expire()
                await look_up(worker)
            pds.expire()
            await look_up(sleeper)

    asyncio.run(main())
    assert pds.asked[CREATE] == 1
    assert pds.asked[REFRESH] == 3


def test_of_two_tokens_that_have_ended_the_kept_one_renews(tmp_path: Path) -> None:
    pds, now = Pds(life_s=7200), [0.0]

    async def main() -> None:
        async with serving(pds) as http:
            sleeper, worker = (
                Bluesky(http, pds.url, session_folder=tmp_path / "s", clock=lambda: now[0]) for _ in range(2)
            )
            for moment, provider in ((0.0, sleeper), (7200.0, worker), (14_400.0, sleeper)):
                now[0] = moment
                await look_up(provider)

    asyncio.run(main())
    assert pds.asked == {CREATE: 1, REFRESH: 2, PROFILES: 3}


def test_an_account_that_was_taken_down_is_not_signed_in_again() -> None:
    pds = Pds(error("AccountTakedown", 401))
    with pytest.raises(TokenRevoked, match="AccountTakedown"):
        ask(pds, look_up)
    assert pds.asked == {CREATE: 1, PROFILES: 1}


def test_names_are_kept_in_the_order_asked() -> None:
    def echo(request: web.Request) -> web.Response:
        actors: Sequence[str] = request.query.getall("actors")
        return web.json_response(
            {"profiles": [{"did": did, "followersCount": 1} for did in reversed(actors)]}
        )

    dids = [f"did:plc:{n}" for n in range(25)]
    assert [user.user_id for user in users(echo, *dids)] == dids
