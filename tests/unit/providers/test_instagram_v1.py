from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from aiohttp import web
from pydantic import SecretStr

from actors.budget import Limit, RateReport
from actors.outcomes import ClientError, Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.errors import ServiceUnavailable
from raylike.providers import Connection, Endpoint
from raylike.providers.base import Page, Provider, Query, User, count, moment, text, walk
from tests.unit.providers.v1_server import RATE_ERROR, TOKEN, V1Server, media, meta_error

T = TypeVar("T")
CREDENTIAL = Credential("anna", SecretStr(TOKEN))
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.fixture
def server() -> Iterator[V1Server]:
    with V1Server() as running:
        yield running


def ask(server: V1Server, call: Callable[[Provider], Awaitable[T]], **endpoint: Any) -> T:
    async def main() -> T:
        options = {"base_url": server.base_url, "allow_private": True, **endpoint}
        async with Connection(Endpoint("instagram_v1", **options)) as connection:
            return await call(connection.provider)

    return asyncio.run(main())


def page(server: V1Server, cursor: str | None = None, **endpoint: Any) -> Reply[Page]:
    return ask(server, lambda provider: provider.page(CREDENTIAL, Query("me"), cursor, 33), **endpoint)


def user(server: V1Server, user_id: str = "501", **endpoint: Any) -> User:
    return ask(server, lambda provider: provider.users(CREDENTIAL, [user_id]), **endpoint).value[0]


def always(status: int, body: object, **headers: str) -> Callable[[web.Request], web.Response]:
    if isinstance(body, str):
        return lambda request: web.Response(
            text=body, status=status, content_type="text/html", headers=headers
        )
    return lambda request: web.json_response(body, status=status, headers=headers)


def test_a_post_is_read_as_recorded(server: V1Server) -> None:
    server.posts = [media(990001)]
    reply = page(server)
    (post,) = reply.value.posts
    assert (post.post_id, post.user_id, post.kind) == ("990001_501", "501", "image")
    assert post.created_at == datetime(2015, 10, 1, tzinfo=UTC)
    assert (post.likes, post.comments, post.width, post.height) == (37, 2, 640, 640)
    assert post.image_url == "http://img.test/990001_7.jpg"
    assert post.tags == ("me", "selfie")
    assert post.caption == "#me"
    assert post.permalink == "https://instagram.com/p/AbCdEf/"
    assert reply.value.cursor is None
    assert reply.rate == RateReport(5000, 4999)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"type": "video"}, "kind", "video"),
        ({"caption": None}, "caption", None),
        ({"likes": {}}, "likes", None),
        ({"likes": {"count": -3}}, "likes", None),
        ({"likes": {"count": "12"}}, "likes", 12),
        ({"id": 77}, "post_id", "77"),
        ({"user": {"id": 501}}, "user_id", "501"),
        ({"created_time": 1443657600}, "likes", 37),
        ({"tags": None}, "tags", ()),
    ],
)
def test_what_varies_between_posts(
    server: V1Server, changes: dict[str, Any], field: str, value: object
) -> None:
    server.posts = [media(1, **changes)]
    (post,) = page(server).value.posts
    assert getattr(post, field) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "../../x"},
        {"user": {}},
        {"images": {}},
        {"created_time": "yesterday"},
        {"created_time": "99999999999999999"},
    ],
)
def test_entries_that_are_no_posts_are_counted(server: V1Server, changes: dict[str, Any]) -> None:
    server.posts = [media(1, **changes), media(2)]
    value = page(server).value
    assert value.malformed == 1
    assert [post.post_id for post in value.posts] == ["2_501"]


def test_pages_follow_to_the_end_and_cursors_hold_no_token(server: V1Server) -> None:
    server.posts = [media(i) for i in range(12)]
    cursors: list[str | None] = []

    async def all_pages(provider: Provider) -> list[str]:
        async def fetch(cursor: str | None) -> Page:
            cursors.append(cursor)
            return (await provider.page(CREDENTIAL, Query("me"), cursor, 33)).value

        return [post.post_id async for page in walk(fetch) for post in page.posts]

    assert ask(server, all_pages) == [f"{i}_501" for i in range(12)]
    assert len(cursors) == 3
    assert TOKEN not in str(cursors)


def test_a_page_that_points_to_itself_ends_with_an_error() -> None:
    async def fetch(cursor: str | None) -> Page:
        return Page((), 0, "http://a.test/again")

    async def main() -> int:
        return len([page async for page in walk(fetch)])

    with pytest.raises(Refused, match="never end"):
        asyncio.run(main())


@pytest.mark.parametrize(
    "address", ["http://elsewhere.test/v1/x", "https://127.0.0.1:1/v1/x", "nonsense", "//x"]
)
def test_a_next_page_elsewhere_is_never_asked_for(server: V1Server, address: str) -> None:
    server.answer = always(200, {"meta": {"code": 200}, "data": [], "pagination": {"next_url": address}})
    with pytest.raises(Refused, match="next page"):
        page(server)
    with pytest.raises(Refused, match="next page"):
        page(server, cursor=address)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (431, User("501", "ok", 431, 280, 120)),
        (0, User("501", "ok", 0, 280, 120)),
        ("private", User("501", "private")),
        ("gone", User("501", "gone")),
        (None, User("501", "failed")),
        (-1, User("501", "failed")),
    ],
)
def test_users(server: V1Server, known: Any, expected: User) -> None:
    server.users = {"501": known}
    assert user(server) == expected


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (always(429, RATE_ERROR), RateLimited, "rate limit"),
        (always(400, RATE_ERROR["meta"]), RateLimited, "rate limit"),
        (always(420, {"code": 420, "error_type": "OAuthRateLimitException"}), RateLimited, "rate limit"),
        (always(429, HTML), RateLimited, "rate limit"),
        (always(503, HTML, **{"Retry-After": "7"}), RateLimited, "7 s"),
        (always(503, HTML), Transient, "HTTP 503"),
        (always(502, HTML), Transient, "HTTP 502"),
        (always(500, {"meta": {"code": 500}}), Transient, "HTTP 500"),
        (always(400, meta_error("OAuthAccessTokenException", "invalid")), TokenRevoked, "invalid"),
        (always(400, meta_error("OAuthParameterException", "invalid")), TokenRevoked, "invalid"),
        (always(400, {"code": 400, "error_type": "OAuthAccessTokenException"}), TokenRevoked, "OAuth"),
        (always(400, meta_error("APIInvalidParametersError", "odd")), Refused, "odd"),
        (always(200, HTML), Refused, "HTML"),
        (always(404, HTML), Refused, "HTML"),
        (always(200, "plain"), Refused, "no JSON"),
        (always(200, [1]), Refused, "another shape"),
        (always(302, HTML, Location="http://elsewhere.test/"), Refused, "redirects"),
    ],
)
def test_errors_have_one_meaning(
    server: V1Server, answer: Callable[[web.Request], web.Response], error: type[ClientError], text: str
) -> None:
    server.answer = answer
    with pytest.raises(error, match=text):
        user(server)
    with pytest.raises(error, match=text):
        page(server)


def test_truncated_json_is_worth_another_try(server: V1Server) -> None:
    server.answer = lambda request: web.Response(text='{"meta": {"co', content_type="application/json")
    with pytest.raises(Transient, match="truncated"):
        user(server)


def test_a_banned_tag_is_refused_where_a_private_user_is_not(server: V1Server) -> None:
    server.answer = always(400, meta_error("APINotAllowedError", "This tag cannot be viewed"))
    with pytest.raises(Refused, match="This tag cannot be viewed"):
        page(server)
    assert user(server).status == "private"


def test_no_error_holds_the_token(server: V1Server) -> None:
    server.answer = lambda request: web.json_response(
        meta_error("OAuthAccessTokenException", f"The access_token {request.query['access_token']} is bad"),
        status=400,
    )
    with pytest.raises(TokenRevoked) as caught:
        user(server)
    assert TOKEN not in repr(caught.value)
    assert "anna" in str(caught.value)


def test_nobody_there_a_timeout_and_a_certificate(server: V1Server) -> None:
    with pytest.raises(Transient, match="no connection"):
        user(server, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(Refused, match=r"TLS|certificate"):
        user(server, base_url=server.base_url.replace("http:", "https:"))
    server.latency_s = 1.0
    with pytest.raises(Transient, match="timeout"):
        user(server, timeout_s=0.1)


def test_a_broken_connection_is_one_hit(server: V1Server) -> None:
    def abort(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = abort
    with pytest.raises(Transient, match="connection broke"):
        user(server)
    assert server.hits == {"/v1/users/501": 1}


def test_private_addresses_are_refused_unless_allowed(server: V1Server) -> None:
    with pytest.raises(ServiceUnavailable):
        user(server, allow_private=False)


def test_a_host_name_may_be_pinned(server: V1Server) -> None:
    server.users = {"501": 7}
    pinned = {"instagram.simulator.test": f"127.0.0.1:{server.port}"}
    url = "http://instagram.simulator.test/v1"
    assert user(server, base_url=url, resolve=pinned, allow_private=False).followers == 7


def test_an_odd_user_id_stays_below_users(server: V1Server) -> None:
    server.users = {"a/b": 3}
    assert user(server, "a/b").followers == 3
    assert list(server.hits) == ["/v1/users/a/b"] or list(server.hits) == ["/v1/users/a%2Fb"]


def test_limits_may_be_set() -> None:
    async def limits(given: tuple[Limit, ...] | None) -> tuple[Limit, ...]:
        async with Connection(Endpoint("simulator", limits=given)) as connection:
            return connection.limits

    assert asyncio.run(limits(None)) == (Limit(5000, 3600.0),)
    assert asyncio.run(limits((Limit(300, 10.0),))) == (Limit(300, 10.0),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), ("3", 3), (0, 0), (-1, None), (True, None), (1.5, None), ("x", None), (None, None)],
)
def test_counts(value: object, expected: int | None) -> None:
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, 7),
        ("7", 7),
        (-1, None),
        (True, None),
        (2**63, None),
        ("9" * 5000, None),
        (None, None),
        (1.5, None),
    ],
)
def test_counts_are_whole_and_fit_a_table(value: object, read: int | None) -> None:
    assert count(value) == read


def test_odd_dates_and_halves_of_characters_do_no_harm() -> None:
    assert moment("0001-01-01T00:00:00+14:00") is None
    assert moment("2015-10-01T08:00:00") is None, "without a time zone it could be any"
    assert text("half \ud83d") == "half ?"
