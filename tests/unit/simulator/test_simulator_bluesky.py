"""The simulated Bluesky, over HTTP: formats, pages, limits, sessions, and a provider that reads it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.outcomes import Credential, RateLimited, Refused, TokenRevoked
from raylike.providers.base import Objection, Page, Post, Query, Reading, User, walk
from raylike.providers.bluesky import Bluesky
from raylike.simulator.faults import REVOKED_AFTER_HITS
from raylike.simulator.networks.bluesky import bodies, routes
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.simulator.world import AS_OF, GONE, OK, PRIVATE, World
from tests.unit.simulator.clock import Clock

XRPC = "/bluesky/xrpc/"
SEARCH, POSTS = "app.bsky.feed.searchPosts", "app.bsky.feed.getPosts"
PROFILES, PROFILE = "app.bsky.actor.getProfiles", "app.bsky.actor.getProfile"
CREATE, REFRESH, OWN = (f"com.atproto.server.{name}Session" for name in ("create", "refresh", "get"))


class Session:
    """A site being served, a client of it, and what it signs in with."""

    def __init__(self, server: Server, client: TestClient[Any, Any], clock: Clock) -> None:
        self.site = server.site
        self.client = client
        self.clock = clock
        (self.network,) = (network for network in server.networks if isinstance(network, routes.Bluesky))
        self.bodies = self.network.bodies
        self.access = self.refresh = ""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.client.port}/bluesky"

    def credential(self, number: int = 0) -> Credential:
        return Credential(f"account {number}", SecretStr(self.network.logins[number]))

    def user_with(self, status: int) -> int:
        return int(np.flatnonzero(self.site.world.users.status == status)[0])

    async def sign_in(self, number: int = 0) -> None:
        identifier, _, password = self.network.logins[number].rpartition(":")
        status, body, _ = await self.post(CREATE, {"identifier": identifier, "password": password})
        assert status == 200
        self.access, self.refresh = body["accessJwt"], body["refreshJwt"]

    async def get(self, method: str, **query: str | list[str]) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, JSON body and response of a query."""
        pairs = [(name, item) for name, value in query.items()
                 for item in ([value] if isinstance(value, str) else value)]  # fmt: skip
        headers = {"Authorization": f"Bearer {self.access}"} if self.access else {}
        async with self.client.get(XRPC + method, params=pairs, headers=headers) as response:
            return response.status, await response.json(), response

    async def post(
        self, method: str, body: Any = None, token: str = ""
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.client.post(XRPC + method, json=body, headers=headers) as response:
            return response.status, await response.json(), response

    async def pages(self, **query: str) -> list[list[str]]:
        """Addresses of the posts on each page of a search."""
        pages, cursor = [], {}
        while True:
            status, body, _ = await self.get(SEARCH, **query, **cursor)
            assert status == 200
            pages.append([post["uri"] for post in body["posts"]])
            if "cursor" not in body:
                return pages
            cursor = {"cursor": body["cursor"]}


@asynccontextmanager
async def serving(options: SimulatorOptions) -> AsyncIterator[Session]:
    clock = Clock()
    with ThreadPoolExecutor(1) as executor:
        server = Server(options, executor, clock, clock.sleep)
        async with TestClient(TestServer(server.app())) as client:
            yield Session(server, client, clock)


def run(test: Callable[[Session], Awaitable[None]], signed_in: bool = True, **options: Any) -> None:
    async def body() -> None:
        async with serving(SimulatorOptions(**({"users": 120} | options))) as session:
            if signed_in:
                await session.sign_in()
            await test(session)

    asyncio.run(body())


def read(test: Callable[[Session, Bluesky], Awaitable[None]], **options: Any) -> None:
    """Run a test with a provider that reads the network."""

    async def body(session: Session) -> None:
        async with aiohttp.ClientSession() as http:
            await test(session, Bluesky(http, session.base_url))

    run(body, signed_in=False, **options)


async def all_pages(
    provider: Bluesky, credential: Credential, tag: str = "me", size: int = 100
) -> list[Page]:
    async def fetch(cursor: str | None) -> Page:
        return (await provider.page(credential, Query(tag), cursor, size)).value

    return [page async for page in walk(fetch)]


def test_a_post_has_the_network_s_format() -> None:
    async def test(session: Session) -> None:
        status, body, _ = await session.get(SEARCH, q="#me", tag="me", sort="latest", limit="100")
        assert status == 200
        assert body["hitsTotal"] == session.site.world.posts.user.size
        assert len(body["posts"]) == 100
        for post in body["posts"]:
            did, author, record = post["uri"].split("/")[2], post["author"], post["record"]
            assert re.fullmatch(r"at://did:plc:[a-z2-7]{24}/app\.bsky\.feed\.post/[a-z2-7]{13}", post["uri"])
            assert re.fullmatch(r"bafyrei[a-z2-7]{52}", post["cid"])
            assert re.fullmatch(r"[a-z]+-\d+\.bsky\.simulator\.test", author["handle"])
            assert did == author["did"]
            assert "followersCount" not in author
            assert record["$type"] == "app.bsky.feed.post"
            marked = []
            for facet in record["facets"]:
                start, end = facet["index"]["byteStart"], facet["index"]["byteEnd"]
                (feature,) = facet["features"]
                assert record["text"].encode()[start:end].decode() == "#" + feature["tag"]
                marked.append(feature["tag"])
            assert "me" in marked
            assert not set(marked) & set(record.get("tags", ()))

    run(test)


def test_all_kinds_of_embedded_pictures_lead_to_a_photo() -> None:
    async def test(session: Session) -> None:
        addresses: dict[str, str] = {}
        for row in range(session.site.world.posts.user.size):
            embed = session.bodies.posts([row], session.base_url.removesuffix("/bluesky"))[0]["embed"]
            match embed["$type"]:
                case "app.bsky.embed.images#view":
                    addresses[embed["$type"]] = embed["images"][0]["fullsize"]
                case "app.bsky.embed.gallery#view":
                    addresses[embed["$type"]] = embed["items"][0]["fullsize"]
                case "app.bsky.embed.recordWithMedia#view":
                    addresses[embed["$type"]] = embed["media"]["images"][0]["fullsize"]
                case "app.bsky.embed.video#view":
                    addresses[embed["$type"]] = embed["thumbnail"]
        assert len(addresses) == 4
        for address in addresses.values():
            async with session.client.session.get(address) as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")

    run(test, users=300)


def test_pages_meet_every_post_once_the_latest_first() -> None:
    async def test(session: Session) -> None:
        pages = await session.pages(q="#me", limit="70")
        met = [uri for page in pages for uri in page]
        assert {len(page) for page in pages[:-1]} == {70}
        assert len(met) == len(set(met)) == session.site.world.posts.user.size
        _, body, _ = await session.get(SEARCH, q="#me")
        assert len(body["posts"]) == 25
        made = [post["record"]["createdAt"] for post in body["posts"]]
        honest = [moment for moment in made if moment != bodies.FUTURE]
        assert honest == sorted(honest, reverse=True)

    run(test)


def test_pages_reach_a_certain_depth_and_windows_of_time_reach_on() -> None:
    async def test(session: Session) -> None:
        session.network.scroll_depth = 100
        pages = await session.pages(q="#me", limit="30")
        assert [len(page) for page in pages] == [30, 30, 30, 10]
        status, body, _ = await session.get(SEARCH, q="#me", cursor="101")
        assert (status, body["error"]) == (400, "InvalidRequest")
        last = session.bodies.post(pages[-1][-1], "")
        assert last is not None
        older = await session.pages(q="#me", limit="30", until=last["indexedAt"])
        assert not set(older[0][1:]) & {uri for page in pages for uri in page}

    run(test)


def test_since_is_inclusive_and_until_is_not() -> None:
    async def test(session: Session) -> None:
        _, body, _ = await session.get(SEARCH, q="#me", limit="100")
        honest = [post for post in body["posts"] if post["record"]["createdAt"] != bodies.FUTURE]
        newest, oldest = (honest[place]["record"]["createdAt"] for place in (0, -1))
        _, within, _ = await session.get(SEARCH, q="#me", limit="100", since=oldest, until=newest)
        assert [post["uri"] for post in within["posts"]] == [
            post["uri"] for post in body["posts"] if oldest <= listed(post) < newest
        ]

    def listed(post: dict[str, Any]) -> str:
        return min(post["record"]["createdAt"], post["indexedAt"])

    run(test)


def test_tags_and_words_have_to_be_there_together() -> None:
    async def test(session: Session) -> None:
        found = {}
        for name, query in {
            "selfie": {"q": "#selfie"},
            "love": {"q": "#me", "tag": "love"},
            "both": {"q": "#me", "tag": ["selfie", "love"]},
        }.items():
            found[name] = {
                post["uri"] for post in (await session.get(SEARCH, limit="100", **query))[1]["posts"]
            }
        assert found["both"] == found["selfie"] & found["love"]
        assert found["selfie"] - found["love"]
        assert (await session.get(SEARCH, q="#nobodyusesthis"))[1] == {"hitsTotal": 0, "posts": []}
        _, body, _ = await session.get(SEARCH, q="hello! #me")
        assert {post["record"]["text"] for post in body["posts"]} == {"hello! #me"}
        _, body, _ = await session.get(SEARCH, q="#me", sort="top", limit="10")
        likes = [post["likeCount"] for post in body["posts"]]
        assert likes == sorted(session.site.world.posts.likes.tolist(), reverse=True)[:10]

    run(test, users=300)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({}, "InvalidRequest"),
        ({"q": "#me", "limit": "0"}, "InvalidRequest"),
        ({"q": "#me", "limit": "101"}, "InvalidRequest"),
        ({"q": "#me", "cursor": "x"}, "InvalidRequest"),
        ({"q": "#me", "sort": "old"}, "InvalidRequest"),
        ({"q": "#me", "until": "yesterday"}, "BadQueryString"),
        ({"q": "#me", "since": "2015-10-01T08:00:00"}, "BadQueryString"),
    ],
)
def test_a_search_that_makes_no_sense_is_an_error(query: dict[str, str], error: str) -> None:
    async def test(session: Session) -> None:
        status, body, _ = await session.get(SEARCH, **query)
        assert (status, body["error"]) == (400, error)
        assert body["message"]

    run(test)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1)))
def test_a_moment_is_read_to_the_millisecond_rounded_up(moment: datetime) -> None:
    ms = bodies.parse_moment(moment.isoformat() + "Z")
    assert ms is not None
    after = datetime(1970, 1, 1) + timedelta(milliseconds=ms) - moment
    assert timedelta(0) <= after < timedelta(milliseconds=1)


def test_a_day_is_a_moment_too() -> None:
    assert bodies.parse_moment("1970-01-02") == 86_400_000


def test_profiles_have_followers_and_leave_out_who_is_gone() -> None:
    async def test(session: Session) -> None:
        told = session.bodies
        ok, private, gone = (session.user_with(status) for status in (OK, PRIVATE, GONE))
        actors = [told.did(ok), told.handle(private), told.did(gone), "did:plc:" + 24 * "2", "x.test"]
        status, body, _ = await session.get(PROFILES, actors=actors)
        assert status == 200
        assert [profile["did"] for profile in body["profiles"]] == [told.did(ok), told.did(private)]
        assert body["profiles"][0]["followersCount"] == session.site.world.users.followers[ok]
        labels = [label["val"] for label in body["profiles"][1]["labels"]]
        assert "!no-unauthenticated" in labels
        status, body, _ = await session.get(PROFILE, actor=told.handle(ok))
        assert (status, body["did"]) == (200, told.did(ok))
        status, body, _ = await session.get(PROFILE, actor=told.did(gone))
        assert (status, body["message"]) == (400, "Profile not found")

    run(test)


@pytest.mark.parametrize(("method", "parameter"), [(PROFILES, "actors"), (POSTS, "uris")])
def test_more_than_25_at_once_are_an_error(method: str, parameter: str) -> None:
    async def test(session: Session) -> None:
        for n, expected in ((0, 400), (25, 200), (26, 400)):
            status, _, _ = await session.get(method, **{parameter: [session.bodies.did(k) for k in range(n)]})
            assert status == expected

    run(test)


def test_posts_are_read_again_unless_their_account_is_gone() -> None:
    async def test(session: Session) -> None:
        posts, users = session.site.world.posts, session.site.world.users
        gone = users.status[posts.user] == GONE
        rows = [int(row) for row in [*np.flatnonzero(gone)[:3], *np.flatnonzero(~gone)[:22]]]
        uris = [session.bodies.uri(row) for row in rows]
        status, body, _ = await session.get(POSTS, uris=uris)
        assert (status, [post["uri"] for post in body["posts"]]) == (200, uris[3:])
        elsewhere = [uris[0][:-1] + "2", uris[0] + "2", "at://x", ""]
        assert (await session.get(POSTS, uris=elsewhere))[1] == {"posts": []}

    run(test)


@given(st.integers(0, 2**31), st.integers(1, 400))
def test_addresses_lead_back_to_their_accounts_and_posts(seed: int, users: int) -> None:
    world = World(seed, users)
    told = bodies.Bluesky(world)
    for user in {0, users // 2, users - 1}:
        assert told.find(told.did(user)) == told.find(told.handle(user)) == user
    size = world.posts.user.size
    for row in {0, size // 2, size - 1}:
        post = told.post(told.uri(row), "")
        assert (post is None) == (world.users.status[world.posts.user[row]] == GONE)
        assert post is None or post["likeCount"] == world.posts.likes[row]


def test_labels_come_in_modest_shares() -> None:
    told = bodies.Bluesky(World(3, 4000))
    accounts = [told.profile(told.did(user), "") for user in range(4000)]
    values = [{label["val"] for label in account["labels"]} for account in accounts if account is not None]
    assert 0.07 < sum("!no-unauthenticated" in found for found in values) / len(values) < 0.12
    assert 0.005 < sum("bot" in found for found in values) / len(values) < 0.02
    posts = told.posts(range(4000), "")
    labelled = [post for post in posts if post["labels"]]
    assert 0.01 < len(labelled) / len(posts) < 0.02
    assert {label["val"] for post in labelled for label in post["labels"]} == set(bodies.SENSITIVE_LABELS)
    assert {"labels" in post["record"] for post in labelled} == {True, False}


@pytest.mark.parametrize("by", ["handle", "did"])
def test_an_account_signs_in_by_handle_or_did(by: str) -> None:
    async def test(session: Session) -> None:
        identifier, _, password = session.network.logins[1].rpartition(":")
        assert re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", password)
        did = session.bodies.did(1)
        name = did if by == "did" else identifier
        status, body, _ = await session.post(CREATE, {"identifier": name, "password": password})
        assert (status, body["did"], body["handle"]) == (200, did, identifier)
        session.access = body["accessJwt"]
        status, own, _ = await session.get(OWN)
        assert (status, own["did"]) == (200, did)
        claims = json.loads(base64.urlsafe_b64decode(body["accessJwt"].split(".")[1] + "=="))
        assert claims["exp"] - claims["iat"] == 7200
        assert claims["sub"] == did

    run(test, signed_in=False)


@pytest.mark.parametrize(
    "given",
    [
        {"identifier": "NAME", "password": "abcd-efgh-ijkl-mnop"},
        {"identifier": "nobody.test", "password": "PASSWORD"},
        {"identifier": 3, "password": "PASSWORD"},
        {"identifier": "NAME"},
        [],
        None,
    ],
)
def test_a_wrong_name_or_password_is_not_told_apart(given: Any) -> None:
    async def test(session: Session) -> None:
        name, _, password = session.network.logins[0].rpartition(":")
        text = json.dumps(given).replace("NAME", name).replace("PASSWORD", password)
        status, body, _ = await session.post(CREATE, json.loads(text))
        assert (status, body["error"]) == (401, "AuthenticationRequired")

    run(test, signed_in=False)


def test_a_session_is_renewed_once_and_ends_after_two_hours() -> None:
    async def test(session: Session) -> None:
        old = session.refresh
        session.clock.now = 7199.0
        assert (await session.get(OWN))[0] == 200
        session.clock.now = 7200.0
        status, body, _ = await session.get(OWN)
        assert (status, body["error"]) == (400, "ExpiredToken")
        status, body, _ = await session.post(REFRESH, token=old)
        assert status == 200
        status, again, _ = await session.post(REFRESH, token=old)
        assert (status, again["error"]) == (400, "ExpiredToken")
        session.access = body["accessJwt"]
        assert (await session.get(OWN))[0] == 200

    run(test)


def test_tokens_are_good_for_what_they_were_made_for() -> None:
    async def test(session: Session) -> None:
        status, body, _ = await session.post(REFRESH, token=session.access)
        assert (status, body) == (400, {"error": "InvalidToken", "message": "Bad token scope"})
        status, body, _ = await session.post(REFRESH, {}, token=session.refresh)
        assert (status, body["error"]) == (400, "InvalidRequest")
        session.access, access = session.refresh, session.access
        assert (await session.get(OWN))[1]["message"] == "Bad token scope"
        session.access = access[:-1] + ("A" if access[-1] != "A" else "B")
        assert (await session.get(OWN))[1]["error"] == "InvalidToken"
        session.access = ""
        status, body, _ = await session.get(OWN)
        assert (status, body["error"]) == (401, "AuthMissing")
        status, body, _ = await session.get("app.bsky.feed.getTimeline")
        assert (status, body["error"]) == (404, "XRPCNotSupported")

    run(test)


def test_the_limit_is_a_fixed_window_that_the_headers_tell_of() -> None:
    async def test(session: Session) -> None:
        session.clock.now = 290.0
        await session.sign_in()
        for left in ("1", "0"):
            status, _, response = await session.get(OWN)
            assert (status, response.headers["RateLimit-Remaining"]) == (200, left)
        reset = int(response.headers["RateLimit-Reset"])
        assert 9 <= reset - datetime.now(UTC).timestamp() + 1 <= 12
        assert response.headers["RateLimit-Limit"] == "3"
        assert response.headers["RateLimit-Policy"] == "3;w=300"
        assert (b"ratelimit-limit", b"3") in response.raw_headers
        status, body, _ = await session.get(OWN)
        assert (status, body["error"]) == (429, "RateLimitExceeded")
        session.clock.now = 300.0
        assert (await session.get(OWN))[0] == 200
        assert session.site.stats.violations == 1

    run(test, signed_in=False, rate_limit="3/300")


def test_signing_in_has_a_limit_of_its_own() -> None:
    async def test(session: Session) -> None:
        for _ in range(30):
            await session.sign_in()
        name, _, password = session.network.logins[0].rpartition(":")
        status, body, response = await session.post(CREATE, {"identifier": name, "password": password})
        assert (status, body["error"]) == (429, "RateLimitExceeded")
        assert response.headers["RateLimit-Policy"] == "30;w=300"
        assert (await session.get(OWN))[0] == 200
        await session.sign_in(1)

    run(test, signed_in=False)


@pytest.mark.parametrize(
    ("fault", "status"), [("error_500", 500), ("error_503", 503), ("html", 200), ("rate_limited", 429)]
)
def test_answers_can_fail(fault: str, status: int) -> None:
    async def test(session: Session) -> None:
        name, _, password = session.network.logins[0].rpartition(":")
        body = {"identifier": name, "password": password}
        async with session.client.post(XRPC + CREATE, json=body) as response:
            assert response.status == status

    run(test, signed_in=False, faults={fault: 1.0})


def test_a_provider_reads_the_world_as_it_is() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        world, credential = session.site.world, session.credential()
        pages = await all_pages(provider, credential)
        posts: dict[str, Post] = {post.post_id: post for page in pages for post in page.posts}
        assert not any(page.malformed for page in pages)
        assert posts.keys() == {session.bodies.uri(row) for row in range(world.posts.user.size)}
        for row in range(world.posts.user.size):
            post = posts[session.bodies.uri(row)]
            made_at = datetime.fromtimestamp(int(world.posts.created_s[row]), UTC)
            assert timedelta(0) <= post.created_at - made_at < timedelta(seconds=6)
            assert post.created_at < AS_OF
            assert (post.likes, post.comments) == (world.posts.likes[row], world.posts.comments[row])
            assert post.kind == ("video" if world.posts.is_video[row] else "image")
            assert world.media_id(row) in post.image_url
            if world.users.status[world.posts.user[row]] == PRIVATE:
                assert Objection.SIGNED_IN_ONLY in post.objections
        assert {objection for post in posts.values() for objection in post.objections} == {
            Objection.SIGNED_IN_ONLY,
            Objection.BOT,
            Objection.SENSITIVE,
        }
        looked_up = [*np.flatnonzero(world.users.status == GONE)[:3], *range(22)]
        expected = [
            User(session.bodies.did(user), "gone") if world.users.status[user] == GONE else
            User(session.bodies.did(user), "ok", int(world.users.followers[user]),
                 int(world.users.following[user]), int(world.users.media_count[user]))
            for user in looked_up
        ]  # fmt: skip
        dids = [session.bodies.did(user) for user in looked_up]
        assert (await provider.users(credential, dids)).value == expected
        row = int(np.flatnonzero(world.users.status[world.posts.user] == OK)[0])
        uris = [session.bodies.uri(row), "at://did:plc:nobody/app.bsky.feed.post/3l7"]
        assert (await provider.readings(credential, uris)).value == [
            Reading(uris[0], "ok", int(world.posts.likes[row]), int(world.posts.comments[row])),
            Reading(uris[1], "gone"),
        ]
        assert session.site.stats.bad_tokens == 0

    read(test, users=400)


def test_windows_of_time_reach_every_post_where_scrolling_does_not() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        session.network.scroll_depth = 60
        pages = await all_pages(provider, session.credential(), size=25)
        met = {post.post_id for page in pages for post in page.posts}
        size = session.site.world.posts.user.size
        assert len(met) == size
        assert len(pages) < 3 * size / 60 + 5

    read(test)


def test_a_tag_that_nobody_uses_is_one_empty_page() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        assert await all_pages(provider, session.credential(), "nobodyusesthis") == [Page(())]

    read(test)


def test_one_session_serves_many_hits_and_outlives_its_tokens() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        dids = [[session.bodies.did(user)] for user in range(8)]
        for hour in range(0, 30, 3):
            session.clock.now = hour * 3600.0
            await asyncio.gather(*(provider.users(session.credential(), did) for did in dids))
        # One sign-in; eight hits ten times; then, nine times, eight that come too late and one renewal.
        assert session.site.stats.hits[0] == 1 + 10 * 8 + 9
        assert session.site.stats.bad_tokens == 9 * 8

    read(test)


def test_what_the_server_counts_is_what_the_provider_reports() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        did = [session.bodies.did(0)]
        session.clock.now = 100.0
        rates = [(await provider.users(session.credential(), did)).rate for _ in range(3)]
        assert [rate.remaining for rate in rates if rate is not None] == [2, 1, 0]
        assert rates[0] is not None
        assert rates[0].limit == 4
        assert rates[0].reset_after_s is not None
        assert 199 < rates[0].reset_after_s < 203
        with pytest.raises(RateLimited):
            await provider.users(session.credential(), did)

    read(test, rate_limit="4/300")


def test_a_password_that_is_taken_back_ends_the_token() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        did = [session.bodies.did(0)]
        for _ in range(REVOKED_AFTER_HITS - 1):
            await provider.users(session.credential(), did)
        with pytest.raises(TokenRevoked, match="app password is not accepted"):
            await provider.users(session.credential(), did)
        assert (await provider.users(session.credential(1), did)).value[0].status == "ok"

    read(test, faults={"token_revoked": 0.1})


def test_a_search_without_words_is_refused() -> None:
    async def test(session: Session, provider: Bluesky) -> None:
        provider.page_size = 1000
        with pytest.raises(Refused, match="limit must be from 1 to 100"):
            await provider.page(session.credential(), Query("me"), None, 1000)

    read(test)
