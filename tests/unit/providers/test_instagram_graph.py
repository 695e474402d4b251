"""The Instagram Graph provider: against recorded answers, against errors, and against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.budget import Limit, RateBudget, RateReport
from actors.outcomes import ClientError, Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.errors import ConfigError
from raylike.providers.base import Page, Query, walk
from raylike.providers.instagram_graph import InstagramGraph, hashtags
from raylike.simulator.networks.instagram_graph import bodies
from raylike.simulator.networks.instagram_v1.bodies import username
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.simulator.world import OK, World

T = TypeVar("T")
TOKEN = "EAABsbCS1iHgBA0f0f0f0f0f0f0f0f0f0f0f1f0c"
CREDENTIAL = Credential("anna", SecretStr(TOKEN))
BEN = Credential("ben", SecretStr(TOKEN[::-1]))
OWN_ID, TAG_ID = "17841405309211844", "17843857450040591"
ACCOUNTS, SEARCH, OWN, TOP = "me/accounts", "ig_hashtag_search", OWN_ID, f"{TAG_ID}/top_media"
BUC = "X-Business-Use-Case-Usage"


def media(number: int = 1, **changes: Any) -> dict[str, Any]:
    """An entry of an account's media, as recorded."""
    entry = {
        "id": f"1799001470289{number:04d}",
        "like_count": 50,
        "comments_count": 4,
        "media_type": "IMAGE",
        "media_url": f"https://scontent.test/{number}.jpg?_nc_cat=1",
        "permalink": "https://www.instagram.com/p/AbC/",
        "timestamp": "2026-10-01T09:00:00+0000",
        "caption": "hi #me and #Coffee_Time",
    }
    return {name: value for name, value in (entry | changes).items() if value is not None}


def discovered(*posts: dict[str, Any], after: str = "", **changes: Any) -> dict[str, Any]:
    """An account's answer."""
    edge: dict[str, Any] = {"data": list(posts)}
    if after:
        edge["paging"] = {"cursors": {"after": after}}
    account = {
        "id": "17841401441775531",
        "username": "bluebottle",
        "followers_count": 267793,
        "follows_count": 151,
        "media_count": 1205,
        "media": edge,
    }
    return {"business_discovery": account | changes, "id": OWN_ID}


def hashtag(*posts: dict[str, Any], after: str = "", following: bool = True) -> dict[str, Any]:
    """A hashtag's answer."""
    paging: dict[str, Any] = {"cursors": {"after": after}} if after else {}
    if after and following:
        paging["next"] = f"https://graph.facebook.com/v25.0/x?access_token={TOKEN}&after={after}"
    return {"data": list(posts), "paging": paging}


def failure(code: int, subcode: int | None = None, message: str = "no", **more: Any) -> dict[str, Any]:
    told = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A6LJ"} | more
    return {"error": told | ({"error_subcode": subcode} if subcode else {})}


def usage(minutes: float) -> str:
    told = {"type": "instagram", "call_count": 100, "estimated_time_to_regain_access": minutes}
    return json.dumps({OWN_ID: [told]})


class Graph:
    """Stands in for the Graph API: each path has its answers, the last of which is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[web.Response | dict[str, Any]]] = {
            ACCOUNTS: [{"data": [{"id": "1"}, {"instagram_business_account": {"id": OWN_ID}, "id": "2"}]}],
            SEARCH: [{"data": [{"id": TAG_ID}]}],
            OWN: [discovered(media())],
            TOP: [hashtag(media())],
        }
        self.asked: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.urls: list[str] = []
        self.tokens: list[str] = []

    def fails(self, path: str, status: int, body: dict[str, Any], **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = [web.json_response(body, status=status, headers=named)]

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/v25.0/")
        self.asked.append(path)
        self.queries.append(dict(request.query))
        self.urls.append(str(request.url))
        self.tokens.append(request.headers.get("Authorization", ""))
        answers = self.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, web.Response):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        return web.json_response(answer)


def ask(graph: Graph, call: Callable[[InstagramGraph], Awaitable[T]]) -> T:
    async def main() -> T:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", graph.answer)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            return await call(InstagramGraph(session, str(server.make_url("/v25.0/"))))

    return asyncio.run(main())


def page(
    graph: Graph, cursor: str | None = "account:bluebottle", tag: str = "", size: int = 50
) -> Reply[Page]:
    return ask(graph, lambda provider: provider.page(CREDENTIAL, Query(tag), cursor, size))


def tag_page(graph: Graph, cursor: str = "tag") -> Reply[Page]:
    return page(graph, cursor, "me")


def without_session(limits: tuple[Limit, ...] | None = None) -> InstagramGraph:
    """A provider that asks nothing."""
    return InstagramGraph(None, "", limits)  # type: ignore[arg-type]


def test_an_account_and_its_posts_are_read_in_one_hit() -> None:
    graph = Graph()
    (post,) = page(graph).value.posts
    assert (post.post_id, post.user_id, post.kind) == ("17990014702890001", "17841401441775531", "image")
    assert post.created_at == datetime(2026, 10, 1, 9, tzinfo=UTC)
    assert (post.likes, post.comments) == (50, 4)
    assert (post.followers, post.following, post.media_count) == (267793, 151, 1205)
    assert post.image_url == "https://scontent.test/1.jpg?_nc_cat=1"
    assert post.permalink == "https://www.instagram.com/p/AbC/"
    assert (post.caption, post.tags) == ("hi #me and #Coffee_Time", ("me", "Coffee_Time"))
    assert graph.asked == [ACCOUNTS, OWN]
    assert graph.queries[1]["fields"] == (
        "business_discovery.username(bluebottle){id,username,followers_count,follows_count,media_count,"
        "media.limit(50){id,caption,media_type,media_url,permalink,timestamp,like_count,comments_count}}"
    )


def test_a_hashtag_is_read_as_its_most_popular_posts_of_nobody() -> None:
    graph = Graph()
    (post,) = tag_page(graph).value.posts
    assert (post.user_id, post.followers, post.likes) == ("", None, 50)
    assert graph.asked == [ACCOUNTS, SEARCH, TOP]
    assert graph.queries[1] == {"user_id": OWN_ID, "q": "me"}
    assert graph.queries[2] == {
        "user_id": OWN_ID,
        "limit": "50",
        "fields": "id,caption,media_type,media_url,permalink,timestamp,like_count,comments_count",
    }


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"like_count": None}, "likes", None),
        ({"like_count": 0}, "likes", 0),
        ({"comments_count": None}, "comments", None),
        ({"caption": None}, "caption", None),
        ({"caption": None}, "tags", ()),
        ({"permalink": None}, "permalink", None),
        ({"timestamp": "2026-10-01T11:00:00+0200"}, "created_at", datetime(2026, 10, 1, 9, tzinfo=UTC)),
        ({"media_type": "VIDEO", "media_url": "https://scontent.test/1.mp4"}, "kind", "video"),
        ({"media_type": "VIDEO", "media_url": None}, "image_url", ""),
        ({"media_type": "CAROUSEL_ALBUM"}, "kind", "image"),
        ({"media_type": "CAROUSEL_ALBUM", "media_url": "https://s.test/1.mp4?x=1.jpg"}, "kind", "carousel"),
        ({"media_type": "CAROUSEL_ALBUM", "media_url": None}, "kind", "carousel"),
        ({"media_type": "STORY"}, "kind", "story"),
    ],
)
def test_what_varies_between_posts(changes: dict[str, Any], field: str, value: object) -> None:
    graph = Graph()
    graph.answers[OWN] = [discovered(media(**changes))]
    (post,) = page(graph).value.posts
    assert getattr(post, field) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "../1"},
        {"id": 17},
        {"timestamp": None},
        {"timestamp": "2026-10-01T09:00:00"},
        {"media_url": None},
        {"media_url": 3},
    ],
)
def test_entries_that_are_no_posts_are_counted(changes: dict[str, Any]) -> None:
    graph = Graph()
    graph.answers[OWN] = [discovered(media(1, **changes), media(2))]
    graph.answers[TOP] = [hashtag(media(1, **changes), media(2))]
    for value in (page(graph).value, tag_page(graph).value):
        assert [post.image_url for post in value.posts] == ["https://scontent.test/2.jpg?_nc_cat=1"]
        assert (value.malformed, value.off_topic) == (1, 0)


@pytest.mark.parametrize(
    ("tag", "kept"), [("me", [1, 2]), ("ME", [1, 2]), ("menu", [3]), ("nothing", []), ("", [1, 2, 3, 4])]
)
def test_an_account_s_posts_without_the_tag_are_left_out_and_counted(tag: str, kept: list[int]) -> None:
    captions = {1: "#me!", 2: "it's #Me#too", 3: "the #menu, for me", 4: None}
    graph = Graph()
    graph.answers[OWN] = [discovered(*(media(k, caption=text) for k, text in captions.items()), {"id": "x"})]
    value = page(graph, tag=tag).value
    assert [int(post.post_id[-4:]) for post in value.posts] == kept
    assert (value.off_topic, value.malformed) == (4 - len(kept), 1)


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("", ()),
        ("no tag, C# and # and #!", ()),
        ("#a #b#c, #a", ("a", "b", "c")),
        ("#b2b_x-y", ("b2b_x",)),
        ("#été #кофе #प्यार #自撮り", ("été", "кофе", "प्यार", "自撮り")),
        ("\N{FULLWIDTH NUMBER SIGN}me", ("me",)),
        ("#me\N{SPARKLES}", ("me",)),
    ],
)
def test_hashtags_of_a_caption(caption: str, tags: tuple[str, ...]) -> None:
    assert hashtags(caption) == tags


TAGS = st.text(st.characters(categories=["L", "M", "N"], include_characters="_"), min_size=1)
NOT_OF_A_TAG = st.text(st.characters(categories=["P", "S", "Z"], exclude_characters="_"))


@given(st.lists(TAGS, unique=True), NOT_OF_A_TAG.filter(bool), st.text())
def test_tags_written_into_a_caption_are_found(tags: list[str], between: str, before: str) -> None:
    written = "".join(f"{between}#{tag}" for tag in tags)
    assert hashtags(between + written) == tuple(tags)
    assert set(tags) <= set(hashtags(before + written + between))


def test_pages_of_an_account_follow_to_the_end() -> None:
    graph = Graph()
    graph.answers[OWN] = [discovered(media(1), after="QVFIUjE="), discovered(media(2), after="QVFIUjI="),
                          discovered(media(3))]  # fmt: skip
    cursors, posts = read(graph, "account:blue_bottle.1")
    assert posts == [1, 2, 3]
    assert cursors == [f"account:blue_bottle.1{after}" for after in ("", ":QVFIUjE=", ":QVFIUjI=")]
    assert "media.limit(50).after(QVFIUjI=){" in graph.queries[-1]["fields"]
    assert graph.asked == [ACCOUNTS, OWN, OWN, OWN]


def test_pages_of_a_hashtag_follow_although_the_network_s_cursor_stays_the_same() -> None:
    graph = Graph()
    graph.answers[TOP] = [hashtag(media(1), after="QVFI"), hashtag(media(2), after="QVFI"), hashtag(media(3))]
    cursors, posts = read(graph, "tag")
    assert posts == [1, 2, 3]
    assert len(set(cursors)) == 3
    assert TOKEN not in str(cursors)
    assert [query.get("after") for query in graph.queries[2:]] == [None, "QVFI", "QVFI"]
    assert graph.asked == [ACCOUNTS, SEARCH, TOP, TOP, TOP]


def test_a_hashtag_s_page_that_comes_again_ends_with_an_error() -> None:
    graph = Graph()
    graph.answers[TOP] = [hashtag(media(1), after="QVFI")]
    with pytest.raises(Refused, match="never end"):
        read(graph, "tag")


@pytest.mark.parametrize(
    ("path", "cursor", "last"),
    [
        (OWN, "account:a", discovered(after="QVFI")),
        (TOP, "tag", hashtag(after="QVFI")),
        (TOP, "tag", hashtag(media(1), after="QVFI", following=False)),
    ],
)
def test_an_empty_page_and_one_without_a_next_are_the_last(
    path: str, cursor: str, last: dict[str, Any]
) -> None:
    graph = Graph()
    graph.answers[path] = [last]
    assert page(graph, cursor, "me").value.cursor is None


def read(graph: Graph, start: str) -> tuple[list[str | None], list[int]]:
    """Cursors asked for, and the numbers of the posts that came."""
    cursors: list[str | None] = []

    async def all_pages(provider: InstagramGraph) -> list[int]:
        async def fetch(cursor: str | None) -> Page:
            cursors.append(cursor)
            return (await provider.page(CREDENTIAL, Query("me"), cursor, 50)).value

        return [int(post.post_id[-4:]) async for page in walk(fetch, start) for post in page.posts]

    return cursors, ask(graph, all_pages)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, failure(110, 2207013, "Invalid user id")),
        (400, failure(110, None, "Invalid user id")),
        (400, failure(100, None, "(#100) The user with username bluebottle cannot be found")),
        (200, {"id": OWN_ID}),
    ],
)
def test_an_account_that_cannot_be_read_is_named(status: int, body: dict[str, Any]) -> None:
    graph = Graph()
    graph.fails(OWN, status, body, X_App_Usage='{"call_count":7}')
    assert page(graph) == Reply(Page((), unreadable="bluebottle"), RateReport(used_share=0.07))


@pytest.mark.parametrize("path", [ACCOUNTS, SEARCH, OWN, TOP])
@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (400, failure(4, is_transient=True), RateLimited, "rate limit"),
        (400, failure(17), RateLimited, "rate limit"),
        (403, failure(32), RateLimited, "rate limit"),
        (400, failure(613), RateLimited, "rate limit"),
        (403, failure(80002), RateLimited, "rate limit"),
        (401, failure(190, 463, "Session has expired"), TokenRevoked, "Session has expired"),
        (400, failure(102), TokenRevoked, "error 102"),
        (403, failure(10, None, "not approved"), TokenRevoked, "lacks a permission: error 10: not approved"),
        (400, failure(200), TokenRevoked, "lacks a permission"),
        (403, failure(299), TokenRevoked, "lacks a permission"),
        (400, failure(1), Transient, "error 1"),
        (400, failure(2), Transient, "error 2"),
        (400, failure(-2), Transient, "error -2"),
        (400, failure(9999, is_transient=True), Transient, "error 9999"),
        (503, failure(2), Transient, "HTTP 503"),
        (400, failure(100, 33, "Unsupported get request"), Refused, "error 100: Unsupported get request"),
        (400, failure(300), Refused, "error 300"),
        (404, {}, Refused, "HTTP 404"),
        (200, failure(190), TokenRevoked, "error 190"),
    ],
)
def test_errors_have_one_meaning(
    path: str, status: int, body: dict[str, Any], error: type[ClientError], text: str
) -> None:
    graph = Graph()
    graph.fails(path, status, body)
    with pytest.raises(error, match=text):
        page(graph, "account:a" if path == OWN else "tag", "me")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (failure(24, 2207024), "no such hashtag"),
        (failure(1000, 2207024), "no such hashtag"),
        (failure(18, 2207034), "30 different hashtags in seven days"),
        ({"data": []}, "no such hashtag"),
        ({"data": [{"id": "../me"}]}, "no such hashtag"),
    ],
)
def test_hashtags_that_are_not_there_or_one_too_many(body: dict[str, Any], text: str) -> None:
    graph = Graph()
    graph.fails(SEARCH, 400 if "error" in body else 200, body)
    with pytest.raises(Refused, match=text):
        tag_page(graph)


@pytest.mark.parametrize(
    "account",
    [discovered(media(), id=None), discovered(media(), id="../1"), {"business_discovery": {"a": 1}}],
)
def test_an_account_without_an_id_is_another_shape(account: dict[str, Any]) -> None:
    graph = Graph()
    graph.answers[OWN] = [account]
    with pytest.raises(Refused, match="another shape"):
        page(graph)


@pytest.mark.parametrize(
    ("header", "wait_s"), [(usage(4), 240.0), (usage(0), None), ("{", None), ('{"1":[3]}', None)]
)
def test_who_is_limited_waits_the_minutes_that_the_headers_name(header: str, wait_s: float | None) -> None:
    graph = Graph()
    graph.fails(OWN, 400, failure(4), **{BUC: header})
    with pytest.raises(RateLimited) as caught:
        page(graph)
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("app", "case", "report"),
    [
        (None, None, None),
        ('{"call_count":28,"total_time":25,"total_cputime":25}', None, RateReport(used_share=0.28)),
        ('{"call_count":0}', None, RateReport(used_share=0.0)),
        ('{"call_count":5,"total_time":31.5}', None, RateReport(used_share=0.315)),
        ('{"call_count":140}', None, RateReport(used_share=1.0)),
        ('{"call_count":28}', usage(10), RateReport(used_share=1.0, reset_after_s=600.0)),
        (None, usage(0), RateReport(used_share=1.0)),
        ("nonsense", '{"1":[{"call_count":3}],"2":[{"call_count":4}]}', RateReport(used_share=0.04)),
        ("[1]", '{"1":{"call_count":3}}', None),
        ('{"call_count":"28"}', "[]", None),
        ('{"call_count":NaN,"total_time":-1,"total_cputime":true}', "null", None),
        ("[" * 100_000, '{"1":[{"call_count":Infinity}]}', None),
    ],
)
def test_what_headers_say(app: str | None, case: str | None, report: RateReport | None) -> None:
    headers = {name: value for name, value in (("X-App-Usage", app), (BUC, case)) if value is not None}
    assert without_session().rate(headers) == report


def test_each_token_s_account_is_asked_for_once_even_by_pages_at_the_same_time() -> None:
    graph = Graph()

    async def several(provider: InstagramGraph) -> None:
        for credential in (CREDENTIAL, BEN):
            pages = (provider.page(credential, Query("me"), cursor, 50) for cursor in ("account:a", "tag"))
            await asyncio.gather(*pages)

    ask(graph, several)
    assert sorted(graph.asked) == sorted([ACCOUNTS] * 2 + [SEARCH] + [OWN, TOP] * 2)
    assert set(graph.tokens) == {f"Bearer {TOKEN}", f"Bearer {TOKEN[::-1]}"}


def test_a_failed_look_up_is_made_again() -> None:
    graph = Graph()
    good = graph.answers[ACCOUNTS][0]
    graph.answers[ACCOUNTS] = [web.json_response(failure(2), status=400), good]

    async def twice(provider: InstagramGraph) -> int:
        with pytest.raises(Transient):
            await provider.page(CREDENTIAL, Query(""), "account:a", 50)
        return len((await provider.page(CREDENTIAL, Query(""), "account:a", 50)).value.posts)

    assert ask(graph, twice) == 1


@pytest.mark.parametrize("pages", [[], [{"id": "1"}], [{"instagram_business_account": {"id": "x/y"}}]])
def test_a_token_without_a_professional_account_is_of_no_use(pages: list[dict[str, Any]]) -> None:
    graph = Graph()
    graph.answers[ACCOUNTS] = [{"data": pages}]
    with pytest.raises(TokenRevoked, match="has no professional Instagram account"):
        page(graph)


def test_the_token_is_in_a_header_and_in_no_address() -> None:
    graph = Graph()
    tag_page(graph)
    assert graph.tokens == [f"Bearer {TOKEN}"] * 3
    assert TOKEN not in str(graph.urls)


@pytest.mark.parametrize("before", ["", "x" * 180])
@pytest.mark.parametrize("code", [10, 100, 190])
def test_no_error_holds_the_token_or_part_of_it(code: int, before: str) -> None:
    graph = Graph()
    graph.fails(OWN, 400, failure(code, None, f"{before} {TOKEN} is bad"))
    with pytest.raises(ClientError) as caught:
        page(graph)
    assert TOKEN[:8] not in repr(caught.value)
    assert before or CREDENTIAL.label in str(caught.value)


def test_there_is_a_timeline_for_each_account_or_one_for_the_hashtag() -> None:
    provider = without_session()
    assert provider.starts(Query("me")) == ["tag"]
    assert provider.starts(Query("me", ("blue.bottle_1", "@Anna", "anna"))) == [
        "account:blue.bottle_1",
        "account:anna",
    ]


@pytest.mark.parametrize("query", [Query(""), Query("me", ("a b",)), Query("me", ("a:b",)), Query("", ("",))])
def test_what_cannot_be_asked_for_is_a_matter_of_settings(query: Query) -> None:
    with pytest.raises(ConfigError):
        without_session().starts(query)


@pytest.mark.parametrize(
    "cursor",
    [
        None,
        "",
        "me",
        "account",
        "account:a b",
        "account:a){id},x(",
        "account:a:QV)}{",
        "tag:1:Q&x=1",
        "tag:1:Q F",
    ],
)
def test_a_cursor_of_another_kind_is_never_asked_for(cursor: str | None) -> None:
    graph = Graph()
    with pytest.raises(Refused, match=r"cursor|next page"):
        page(graph, cursor, "me")
    assert graph.asked == []


def test_accounts_and_posts_cannot_be_asked_for_by_id() -> None:
    provider = without_session()
    assert (provider.followers_embedded, provider.reading_size) == (True, 0)
    with pytest.raises(Refused, match="by name only"):
        asyncio.run(provider.users(CREDENTIAL, ["1"]))
    with pytest.raises(Refused, match="by their id"):
        asyncio.run(provider.readings(CREDENTIAL, ["1"]))


def test_pages_leave_room_for_the_look_ups_they_bring() -> None:
    assert without_session().limits == (Limit(200, 3600.0),)
    assert without_session().page_limits == (Limit(198, 3600.0),)
    assert without_session((Limit(2, 9.0), Limit(50, 60.0, fixed=True))).page_limits == (
        Limit(1, 9.0),
        Limit(48, 60.0, fixed=True),
    )


class Clock:
    """Time that passes when somebody lets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def simulated(options: SimulatorOptions, call: Callable[[InstagramGraph, Server, Clock], Awaitable[T]]) -> T:
    async def main() -> T:
        clock = Clock()
        with ThreadPoolExecutor(1) as executor:
            server = Server(options, executor, clock)
            async with TestServer(server.app()) as running, aiohttp.ClientSession() as session:
                limit = options.limit()
                limits = None if limit is None else (Limit(*limit),)
                provider = InstagramGraph(session, str(running.make_url("/graph/v25.0")), limits)
                return await call(provider, server, clock)

    return asyncio.run(main())


def credential(server: Server, number: int = 0) -> Credential:
    return Credential("anna", SecretStr(server.site.first_tokens[number]))


def test_every_post_of_the_simulator_s_professional_accounts_is_read_once() -> None:
    async def collect(
        provider: InstagramGraph, server: Server, _: Clock
    ) -> tuple[World, list[Page], list[str]]:
        world, owner, pages = server.site.world, credential(server), []
        query = Query("", tuple(username(user) for user in range(world.n_users)))

        async def fetch(cursor: str | None) -> Page:
            return (await provider.page(owner, query, cursor, 7)).value

        for start in provider.starts(query):
            pages += [page async for page in walk(fetch, start)]
        return world, pages, [unquote(identity) for identity in server.site.stats.pages]

    world, pages, asked = simulated(SimulatorOptions(users=150, rate_limit="100000/60"), collect)
    posts = [post for page in pages for post in page.posts]
    rows = [row for post in posts if (row := bodies.post_row(world, post.post_id)) is not None]
    assert len(set(rows)) == len(posts)
    readers = {int(world.posts.user[row]) for row in rows}
    assert 0.5 * world.n_users < len(readers) < 0.8 * world.n_users
    assert all(world.users.status[user] == OK for user in readers)
    assert len(rows) == np.isin(world.posts.user, sorted(readers)).sum(), "all posts of an account, or none"
    for post, row in zip(posts, rows, strict=True):
        assert post.followers == world.users.followers[world.posts.user[row]]
        assert post.likes in (None, world.posts.likes[row])
        assert world.media_id(row) in post.image_url or post.kind == "video"
        assert post.created_at.timestamp() == world.posts.created_s[row]
    assert len({post.kind for post in posts}) == 2
    assert any(post.likes is None for post in posts)
    assert len(set(asked)) == len(asked)
    assert any(".after(" in identity for identity in asked)
    assert sum(page.malformed for page in pages) == 0


def test_the_simulator_s_limit_is_kept_to_look_ups_included() -> None:
    """Without a look at the headers, which the network sends only after enough calls."""

    async def collect(provider: InstagramGraph, server: Server, clock: Clock) -> tuple[int, int, float]:
        owner, budget, cursor = credential(server), RateBudget(provider.page_limits), None
        query, read = Query("me"), 0
        (cursor,) = provider.starts(query)
        while cursor is not None:
            while wait_s := budget.acquire(clock.now):
                clock.now += wait_s
            reply = await provider.page(owner, query, cursor, 3)
            budget.settle(clock.now)
            read += len(reply.value.posts)
            cursor = reply.value.cursor
        return server.site.stats.violations, read, clock.now

    violations, read_posts, took_s = simulated(SimulatorOptions(users=40, rate_limit="7/60"), collect)
    assert violations == 0
    assert read_posts > 30
    assert took_s > 60.0


def test_the_simulator_s_refusals_are_understood() -> None:
    async def exceed(provider: InstagramGraph, server: Server, clock: Clock) -> float | None:
        owner = credential(server)
        for _ in range(4):
            await provider.page(owner, Query(""), "account:nobody00", 50)
        with pytest.raises(RateLimited) as caught:
            await provider.page(owner, Query(""), "account:nobody00", 50)
        with pytest.raises(TokenRevoked, match="Cannot parse access token"):
            await provider.page(CREDENTIAL, Query(""), "account:nobody00", 50)
        clock.now += 120.0
        for tag, text in (("unheardof", "no such hashtag"), ("iphone", "cannot be searched")):
            with pytest.raises(Refused, match=text):
                await provider.page(owner, Query(tag), "tag", 50)
        return caught.value.retry_after_s

    assert simulated(SimulatorOptions(users=40, rate_limit="5/120"), exceed) == 120.0
