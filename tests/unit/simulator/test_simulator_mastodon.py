"""The simulated Mastodon and Pixelfed, over HTTP: formats, pages, limits, sign-in, and a provider on them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.budget import Limit, RateBudget
from actors.outcomes import Credential, RateLimited, TokenRevoked
from raylike.providers.base import Objection, Page, Post, Query, Reading, User, walk
from raylike.providers.mastodon import Mastodon, Pixelfed
from raylike.simulator.networks.base import Site
from raylike.simulator.networks.mastodon import bodies
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.simulator.world import GONE, OK, PRIVATE, World
from tests.unit.simulator.clock import Clock

CALLBACK = "http://127.0.0.1:9/back"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
TIMELINE = "/mastodon/api/v1/timelines/tag/me"


class Session:
    """A site being served, a client of it, and the token that it calls with."""

    def __init__(self, site: Site, client: TestClient[Any, Any], clock: Clock) -> None:
        self.site = site
        self.client = client
        self.clock = clock
        self.token = site.first_tokens[0]

    @property
    def visible(self) -> list[int]:
        """Rows of the posts that are there: those whose account is not gone."""
        world = self.site.world
        return [int(row) for row in np.flatnonzero(world.users.status[world.posts.user] != GONE)]

    def user_with(self, status: int) -> str:
        world = self.site.world
        return world.user_id(int(np.flatnonzero(world.users.status == status)[0]))

    async def get(self, path: str, **query: str | list[str]) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, JSON body and response of a call."""
        pairs = [(name.replace("ids", "id[]"), item) for name, value in query.items()
                 for item in ([value] if isinstance(value, str) else value)]  # fmt: skip
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.client.get(path, params=pairs, headers=headers, allow_redirects=False) as response:
            return response.status, await response.json(), response

    async def post(self, path: str, **form: str) -> tuple[int, Any]:
        async with self.client.post(path, data=form) as response:
            return response.status, await response.json()

    async def authorize(self, **query: str) -> aiohttp.ClientResponse:
        async with self.client.get(
            "/mastodon/oauth/authorize", params=query, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def serving(options: SimulatorOptions) -> AsyncIterator[Session]:
    clock = Clock()
    with ThreadPoolExecutor(1) as executor:
        server = Server(options, executor, clock, clock.sleep)
        async with TestClient(TestServer(server.app())) as client:
            yield Session(server.site, client, clock)


def run(test: Callable[[Session], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        async with serving(SimulatorOptions(**({"users": 120} | options))) as session:
            await test(session)

    asyncio.run(body())


def test_a_page_of_posts_has_mastodon_s_format() -> None:
    async def test(session: Session) -> None:
        status, page, _ = await session.get(TIMELINE, only_media="true")
        assert status == 200
        assert len(page) == 20
        world, row = session.site.world, session.visible[0]
        post, user = page[0], world.posts.user[row]
        assert post["id"] == bodies.post_id(world, row)
        assert post["created_at"].endswith(".000Z")
        assert datetime.fromisoformat(post["created_at"]).timestamp() == world.posts.created_s[row]
        assert (post["favourites_count"], post["replies_count"]) == (
            world.posts.likes[row],
            world.posts.comments[row],
        )
        assert post["account"]["id"] == world.user_id(int(user))
        assert post["account"]["followers_count"] == world.users.followers[user]
        assert {tag["name"] for tag in post["tags"]} >= {"me"}
        assert "<span>me</span></a>" in post["content"]
        (attachment,) = post["media_attachments"]
        here = f"http://127.0.0.1:{session.client.port}"
        assert attachment["url"].startswith(f"{here}/photos/{world.media_id(row)}.")
        assert attachment["meta"]["original"]["width"] == 640
        assert post["url"].startswith(f"{here}/mastodon/@")

    run(test)


def test_the_photo_of_a_post_is_served() -> None:
    async def test(session: Session) -> None:
        _, page, _ = await session.get(TIMELINE)
        image = next(post for post in page if post["media_attachments"][0]["type"] == "image")
        attachment = image["media_attachments"][0]
        for name in ("url", "preview_url"):
            async with session.client.get(urlsplit(attachment[name]).path) as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")

    run(test)


@pytest.mark.parametrize(("limit", "served"), [("5", 5), ("40", 40), ("1000", 40), ("0", 0), ("x", 0)])
def test_pages_are_at_most_40_posts(limit: str, served: int) -> None:
    async def test(session: Session) -> None:
        _, page, response = await session.get(TIMELINE, limit=limit)
        assert len(page) == served
        assert ("Link" in response.headers) == (served > 0)

    run(test)


def test_links_lead_to_older_and_newer_pages_and_keep_what_was_asked() -> None:
    async def test(session: Session) -> None:
        _, first, response = await session.get(TIMELINE, limit="3", only_media="1", local="1")
        links = {relation: str(link["url"]) for relation, link in response.links.items()}
        assert links["next"].startswith(f"http://127.0.0.1:{session.client.port}{TIMELINE}?")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(links["next"]).query).items()}
        assert asked == {"limit": "3", "only_media": "1", "local": "1", "max_id": first[-1]["id"]}
        _, second, response = await session.get(TIMELINE, **asked)
        assert [int(post["id"]) for post in first + second] == sorted(
            (int(post["id"]) for post in first + second), reverse=True
        )
        newer = parse_qs(urlsplit(str(response.links["prev"]["url"])).query)
        assert newer["min_id"] == [second[0]["id"]]
        _, again, _ = await session.get(TIMELINE, limit="3", min_id=second[0]["id"])
        assert again == first
        _, newest, _ = await session.get(TIMELINE, limit="2", since_id=second[-1]["id"])
        assert newest == first[:2]

    run(test)


def test_unknown_tags_and_other_servers_are_empty_and_rare_tags_are_rare() -> None:
    async def test(session: Session) -> None:
        for path, query in ((TIMELINE.replace("/me", "/nobodyusesthis"), {}), (TIMELINE, {"remote": "true"})):
            status, page, response = await session.get(path, **query)
            assert (status, page) == (200, [])
            assert "Link" not in response.headers
        _, page, _ = await session.get(TIMELINE.replace("/me", "/Selfie"))
        assert page
        assert all("selfie" in [tag["name"] for tag in post["tags"]] for post in page)

    run(test)


def test_names_of_the_simulator_are_kept_in_addresses() -> None:
    async def test(session: Session) -> None:
        headers = {"Host": "mastodon.simulator.test", "Authorization": f"Bearer {session.token}"}
        async with session.client.get(TIMELINE, headers=headers) as response:
            page = await response.json()
            link = str(response.links["next"]["url"])
        assert link.startswith(f"http://mastodon.simulator.test{TIMELINE}?")
        assert page[0]["media_attachments"][0]["url"].startswith("http://photos.simulator.test/photos/")

    run(test)


def test_accounts_come_one_by_one_or_together_and_those_that_are_gone_are_left_out() -> None:
    async def test(session: Session) -> None:
        shown, gone, private = (session.user_with(status) for status in (OK, GONE, PRIVATE))
        status, account, _ = await session.get(f"/mastodon/api/v1/accounts/{shown}")
        assert (status, account["id"]) == (200, shown)
        for missing in (gone, "12345", "x"):
            status, body, _ = await session.get(f"/mastodon/api/v1/accounts/{missing}")
            assert (status, body) == (404, {"error": "Record not found"})
        status, accounts, _ = await session.get(
            "/mastodon/api/v1/accounts", ids=[shown, gone, "12345", private, shown]
        )
        assert [account["id"] for account in accounts] == [shown, private]
        assert accounts[1]["locked"]
        many = [str(number) for number in range(41)]
        assert (await session.get("/mastodon/api/v1/accounts", ids=many[:40]))[0] == 200
        assert (await session.get("/mastodon/api/v1/accounts", ids=many))[0] == 422
        assert session.site.stats.users[gone] == 2

    run(test)


def test_posts_come_one_by_one_or_together() -> None:
    async def test(session: Session) -> None:
        world, (first, second) = session.site.world, session.visible[:2]
        hidden = int(np.flatnonzero(world.users.status[world.posts.user] == GONE)[0])
        ids = [bodies.post_id(world, row) for row in (second, hidden, first)]
        status, body, _ = await session.get(f"/mastodon/api/v1/statuses/{ids[0]}")
        assert (status, body["id"]) == (200, ids[0])
        assert (await session.get(f"/mastodon/api/v1/statuses/{ids[1]}"))[0] == 404
        status, found, _ = await session.get("/mastodon/api/v1/statuses", ids=[*ids, "7"])
        assert [body["id"] for body in found] == [ids[0], ids[2]]
        many = [str(number) for number in range(21)]
        assert (await session.get("/mastodon/api/v1/statuses", ids=many))[0] == 422

    run(test)


def test_the_server_is_closed_to_strangers() -> None:
    async def test(session: Session) -> None:
        for path, status in ((TIMELINE, 401), (TIMELINE.replace("mastodon", "pixelfed"), 403)):
            async with session.client.get(path) as response:
                assert response.status == status
            async with session.client.get(path, headers={"Authorization": "Bearer 1.2.3"}) as response:
                assert response.status == 401
                assert await response.json() == {"error": "The access token is invalid"}

    run(test)


def rate(response: aiohttp.ClientResponse) -> tuple[str, str]:
    return response.headers["X-RateLimit-Limit"], response.headers["X-RateLimit-Remaining"]


def test_two_limits_overlap_and_the_headers_tell_of_the_nearer() -> None:
    async def test(session: Session) -> None:
        told = []
        for query in ({}, {"max_id": "9" * 18}, {"max_id": "9" * 18}, {}):
            status, _, response = await session.get(TIMELINE, **query)
            assert status == 200
            told.append(rate(response))
        assert told == [("500", "499"), ("300", "299"), ("300", "298"), ("500", "496")]

    run(test, rate_limit="500/60")


def test_paging_has_a_limit_of_its_own() -> None:
    async def test(session: Session) -> None:
        for _ in range(300):
            status, _, response = await session.get(TIMELINE, max_id="1")
            assert status == 200
        assert rate(response) == ("300", "0")
        status, body, response = await session.get(TIMELINE, max_id="1")
        assert (status, body) == (429, {"error": "Too many requests"})
        reset = datetime.fromisoformat(response.headers["X-RateLimit-Reset"])
        assert 890 < (reset - datetime.now(UTC)).total_seconds() < 902
        assert (await session.get(TIMELINE))[0] == 200, "the first page counts under the other limit"
        session.token = session.site.first_tokens[1]
        assert (await session.get(TIMELINE, max_id="1"))[0] == 200, "each token has its own windows"
        session.token = session.site.first_tokens[0]
        session.clock.now = 900.0
        assert (await session.get(TIMELINE, max_id="1"))[0] == 200
        assert session.site.stats.violations == 1

    run(test, rate_limit="10000/60")


def test_the_reset_is_on_the_wall_clock_and_ends_the_window() -> None:
    async def test(session: Session) -> None:
        session.clock.now = 130.0
        _, _, response = await session.get(TIMELINE)
        reset = response.headers["X-RateLimit-Reset"]
        assert reset.endswith("Z")
        assert len(reset) == len("2026-11-23T18:50:00.123456Z")
        left_s = (datetime.fromisoformat(reset) - datetime.now(UTC)).total_seconds()
        assert left_s == pytest.approx(300 - 130, abs=2)
        assert rate(response) == ("300", "299")

    run(test)


@pytest.mark.parametrize("path", ["mastodon", "pixelfed"])
def test_a_429_that_was_not_due_says_that_nothing_is_left(path: str) -> None:
    async def test(session: Session) -> None:
        status, _, response = await session.get(TIMELINE.replace("mastodon", path))
        assert status == 429
        assert response.headers["X-RateLimit-Remaining"] == "0"

    run(test, faults={"rate_limited": 1.0})


async def register(session: Session, **form: str) -> tuple[int, dict[str, Any]]:
    fields = {"client_name": "raylike", "redirect_uris": CALLBACK, "scopes": "read"} | form
    return await session.post("/mastodon/api/v1/apps", **fields)


def credentials(app: dict[str, Any]) -> dict[str, str]:
    return {"client_id": app["client_id"], "client_secret": app["client_secret"]}


async def code_for(session: Session, app: dict[str, Any], **query: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": app["client_id"],
        "redirect_uri": CALLBACK,
        "scope": "read",
    }
    response = await session.authorize(**asked, **query)
    return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]


def test_signing_in_gives_a_token_for_a_code_once() -> None:
    async def test(session: Session) -> None:
        status, app = await register(session)
        assert (status, app["redirect_uris"], app["scopes"]) == (200, [CALLBACK], ["read"])
        response = await session.authorize(
            response_type="code", client_id=app["client_id"], redirect_uri=CALLBACK, scope="read", state="s&1"
        )
        assert response.status == 302
        back = parse_qs(urlsplit(response.headers["Location"]).query)
        assert back["state"] == ["s&1"]
        form = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": CALLBACK}
        status, token = await session.post("/mastodon/oauth/token", **form, **credentials(app))
        assert (status, token["token_type"], token["scope"]) == (200, "Bearer", "read")
        session.token = token["access_token"]
        _, me, _ = await session.get("/mastodon/api/v1/accounts/verify_credentials")
        assert me["id"] == session.site.world.user_id(3), "three tokens were given out before"
        assert me["source"]["privacy"] == "public"
        status, error = await session.post("/mastodon/oauth/token", **form, **credentials(app))
        assert (status, error["error"]) == (400, "invalid_grant")
        status, error = await session.post(
            "/mastodon/oauth/revoke", token=session.token, client_id=app["client_id"], client_secret="x"
        )
        assert (status, error["error"]) == (403, "unauthorized_client")
        assert (await session.get(TIMELINE))[0] == 200
        await session.post("/mastodon/oauth/revoke", token=session.token, **credentials(app))
        assert (await session.get(TIMELINE))[0] == 401

    run(test)


def test_a_code_with_a_challenge_needs_its_verifier() -> None:
    async def test(session: Session) -> None:
        _, app = await register(session)
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        pkce = {"code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
                "code_challenge_method": "S256"}  # fmt: skip
        for verifier, expected in ((VERIFIER, 200), ("x" * 43, 400), ("", 400)):
            code = await code_for(session, app, **pkce)
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
            status, _ = await session.post(
                "/mastodon/oauth/token", **form, **credentials(app), code_verifier=verifier
            )
            assert status == expected
        response = await session.authorize(
            response_type="code", client_id=app["client_id"], redirect_uri=CALLBACK,
            code_challenge=VERIFIER, code_challenge_method="plain",
        )  # fmt: skip
        assert response.status == 400

    run(test)


def test_a_code_can_be_shown_instead_of_sent() -> None:
    async def test(session: Session) -> None:
        uri = "urn:ietf:wg:oauth:2.0:oob"
        _, app = await register(session, redirect_uris=uri)
        response = await session.authorize(response_type="code", client_id=app["client_id"], redirect_uri=uri)
        form = {"grant_type": "authorization_code", "code": await response.text(), "redirect_uri": uri}
        assert (await session.post("/mastodon/oauth/token", **form, **credentials(app)))[0] == 200

    run(test)


def test_an_application_may_have_a_token_that_is_nobody_s() -> None:
    async def test(session: Session) -> None:
        _, app = await register(session)
        _, token = await session.post(
            "/mastodon/oauth/token", grant_type="client_credentials", **credentials(app)
        )
        session.token = token["access_token"]
        assert (await session.get(TIMELINE))[0] == 200
        status, _, _ = await session.get("/mastodon/api/v1/accounts/verify_credentials")
        assert status == 422

    run(test)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"client_id": "x"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "write"}, 400, "invalid_scope"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_grant"),
        ({}, 400, "unsupported_grant_type"),
    ],
)
def test_tokens_are_refused_with_a_reason(form: dict[str, str], status: int, error: str) -> None:
    async def test(session: Session) -> None:
        _, app = await register(session)
        found, body = await session.post("/mastodon/oauth/token", **(credentials(app) | form))
        assert (found, body["error"]) == (status, error)

    run(test)


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ({"client_id": "x"}, 401, "invalid_client"),
        ({"redirect_uri": "http://elsewhere.test/"}, 400, "invalid_request"),
        ({"response_type": "token"}, 400, "invalid_request"),
        ({"scope": "write"}, 400, "invalid_scope"),
        ({"scope": "read:statuses"}, 302, None),
    ],
)
def test_nobody_is_sent_where_the_application_did_not_say(
    query: dict[str, str], status: int, error: str | None
) -> None:
    async def test(session: Session) -> None:
        _, app = await register(session)
        asked = {"response_type": "code", "client_id": app["client_id"], "redirect_uri": CALLBACK}
        response = await session.authorize(**(asked | query))
        assert response.status == status
        assert error is None or (await response.json())["error"] == error

    run(test)


@pytest.mark.parametrize("form", [{"client_name": ""}, {"redirect_uris": " "}, {"scopes": "read everything"}])
def test_an_application_has_to_say_who_it_is(form: dict[str, str]) -> None:
    async def test(session: Session) -> None:
        assert (await register(session, **form))[0] == 422

    run(test)


def test_wishes_and_marks_have_their_shares() -> None:
    world = World(1, 4000)
    told = bodies.Mastodon(world)
    accounts = [account for row in range(world.n_users)
                if (account := told.account(world.user_id(row), "", "")) is not None]  # fmt: skip
    n_gone = int((world.users.status == GONE).sum())
    assert len(accounts) == world.n_users - n_gone
    for name, value, share in (
        ("bot", True, 0.02),
        ("noindex", True, 0.04),
        ("indexable", False, 0.08),
        ("discoverable", False, 0.05),
        ("locked", True, 0.03 + 0.97 * 0.06 / 0.96),
    ):
        found = np.mean([account[name] == value for account in accounts])
        assert found == pytest.approx(share, rel=0.25), name
    ids = [bodies.post_id(world, row) for row in range(world.posts.user.size)]
    posts = [post for post_id in ids if (post := told.status(post_id, "", "")) is not None]
    assert np.mean([post["sensitive"] for post in posts]) == pytest.approx(0.02, rel=0.25)
    assert np.mean([post["visibility"] == "unlisted" for post in posts]) == pytest.approx(0.01, rel=0.3)


def test_ids_keep_the_order_of_tagging_and_lead_back_to_their_posts() -> None:
    world = World(3, 200)
    ids = [bodies.post_id(world, row) for row in range(world.posts.user.size)]
    assert [int(post_id) for post_id in ids] == sorted(map(int, ids), reverse=True)
    assert len(set(ids)) == len(ids)
    assert [bodies.post_row(world, post_id) for post_id in ids] == list(range(len(ids)))
    for other in ("", "x", "0", str(int(ids[0]) + 1), "9" * 19, "9" * 30, world.media_id(0)):
        assert bodies.post_row(world, other) is None


WORLD = World(5, 60)
TOLD = bodies.Mastodon(WORLD)
IDS = [int(bodies.post_id(WORLD, row)) for row in range(WORLD.posts.user.size)]


@given(
    st.integers(0, 50),
    *(st.one_of(st.none(), st.sampled_from(IDS), st.integers(0, 2**63 - 1)) for _ in range(3)),
)
def test_a_page_is_what_its_bounds_say(
    limit: int, max_id: int | None, since_id: int | None, min_id: int | None
) -> None:
    every = [int(post["id"]) for post in _everything()]
    wanted = [number for number in every if number < (2**63 if max_id is None else max_id)
              and number > (since_id or 0) and number > (min_id or 0)]  # fmt: skip
    size = min(limit, 40)
    expected = wanted[:size] if min_id is None else wanted[max(len(wanted) - size, 0) :]
    page = TOLD.timeline("me", limit, max_id, since_id, min_id, "", "")
    assert [int(post["id"]) for post in page] == expected


def _everything() -> list[dict[str, Any]]:
    found = (TOLD.status(str(number), "", "") for number in IDS)
    return [post for post in found if post is not None]


async def read_all(provider: Mastodon, token: str, size: int) -> tuple[list[Post], int]:
    """All posts of #me, and how many pages they took."""
    credential, pages = Credential("anna", SecretStr(token)), 0

    async def fetch(cursor: str | None) -> Page:
        nonlocal pages
        pages += 1
        return (await provider.page(credential, Query("me"), cursor, size)).value

    return [post async for page in walk(fetch) for post in page.posts], pages


@pytest.mark.parametrize("size", [7, 40])
def test_the_provider_reads_every_post_once_with_its_followers(size: int) -> None:
    async def test(session: Session) -> None:
        world, rows = session.site.world, session.visible
        async with aiohttp.ClientSession() as http:
            provider = Mastodon(http, str(session.client.make_url("/mastodon")))
            posts, pages = await read_all(provider, session.token, size)
        assert [post.post_id for post in posts] == [bodies.post_id(world, row) for row in rows]
        assert [post.likes for post in posts] == [world.posts.likes[row] for row in rows]
        assert [post.followers for post in posts] == [
            world.users.followers[world.posts.user[row]] for row in rows
        ]
        assert [post.kind == "video" for post in posts] == [world.posts.is_video[row] for row in rows]
        assert pages == -(-len(rows) // size) + 1, "the last page is empty"
        assert all((post.caption or "").startswith(("#me", "hello!", "just", "feeling")) for post in posts)
        objections = {objection for post in posts for objection in post.objections}
        assert objections >= {Objection.NOT_INDEXABLE, Objection.LOCKED}

    run(test)


def test_the_provider_looks_up_accounts_and_reads_posts_again() -> None:
    async def test(session: Session) -> None:
        world, credential = session.site.world, Credential("anna", SecretStr(session.token))
        shown, gone = session.user_with(OK), session.user_with(GONE)
        post_id, row = bodies.post_id(world, session.visible[0]), session.visible[0]
        async with aiohttp.ClientSession() as http:
            for network in (Mastodon, Pixelfed):
                provider = network(http, str(session.client.make_url(f"/{network.name}")))
                found = []
                for batch in ([shown, gone],) if provider.batch_size > 1 else ([shown], [gone]):
                    found += (await provider.users(credential, batch)).value
                user = world.find_user(shown)
                assert found == [
                    User(shown, "ok", world.users.followers[user], world.users.following[user],
                         world.users.media_count[user]),
                    User(gone, "gone"),
                ]  # fmt: skip
                again = (await provider.readings(credential, [post_id])).value
                assert again == [Reading(post_id, "ok", world.posts.likes[row], world.posts.comments[row])]
                assert (await provider.readings(credential, ["7"])).value == [Reading("7", "gone")]

    run(test)


def test_the_provider_reads_pixelfed_back_to_nine_months_ago() -> None:
    async def test(session: Session) -> None:
        world = session.site.world
        async with aiohttp.ClientSession() as http:
            provider = Pixelfed(http, str(session.client.make_url("/pixelfed")))
            posts, _ = await read_all(provider, session.token, 40)
        ids = [bodies.post_id(world, row) for row in session.visible]
        assert [post.post_id for post in posts] == ids[: len(posts)]
        begin = datetime(2015, 1, 31, tzinfo=UTC).timestamp()
        n_young = sum(world.posts.tagged_ms[row] / 1000 >= begin for row in session.visible)
        assert n_young <= len(posts) < n_young + 40, "the page that reaches back is the last"
        assert len(posts) < len(ids)
        assert {post.width for post in posts} == {None}
        assert not {Objection.NOT_INDEXABLE, Objection.NO_INDEX} & set().union(
            *(post.objections for post in posts)
        )

    run(test, users=200)


@pytest.mark.parametrize("network", [Mastodon, Pixelfed])
def test_the_provider_knows_what_the_headers_and_refusals_mean(network: type[Mastodon]) -> None:
    async def test(session: Session) -> None:
        credential = Credential("anna", SecretStr(session.token))
        async with aiohttp.ClientSession() as http:
            provider = network(http, str(session.client.make_url(f"/{network.name}")))
            reply = await provider.page(credential, Query("me"), None, 1)
            assert reply.rate is not None
            assert (reply.rate.limit, reply.rate.remaining) == (1, 0)
            after_s = reply.rate.reset_after_s
            assert (after_s is None) == (network is Pixelfed)
            assert after_s is None or after_s == pytest.approx(60, abs=2)
            with pytest.raises(RateLimited):
                await provider.page(credential, Query("me"), None, 1)
            with pytest.raises(TokenRevoked, match="The access token is invalid"):
                await provider.page(Credential("b", SecretStr("1.2.3")), Query("me"), None, 1)

    run(test, rate_limit="1/60")


def test_a_reader_that_believes_the_headers_is_never_refused_and_loses_no_window() -> None:
    async def test(session: Session) -> None:
        credential, cursor, pages = Credential("anna", SecretStr(session.token)), None, 0
        session.clock.now = 30.0
        async with aiohttp.ClientSession() as http:
            provider = Mastodon(
                http, str(session.client.make_url("/mastodon")), (Limit(3, 60.0, fixed=True),)
            )
            budget = RateBudget(provider.page_limits)
            while pages == 0 or cursor is not None:
                while wait_s := budget.acquire(session.clock.now):
                    session.clock.now += wait_s
                reply = await provider.page(credential, Query("me"), cursor, 7)
                budget.settle(session.clock.now)
                assert reply.rate is not None
                budget.observe(session.clock.now, reply.rate)
                cursor, pages = reply.value.cursor, pages + 1
        assert session.site.stats.violations == 0
        assert pages > 20
        assert session.clock.now < (pages // 3 + 1) * 62, "three pages a minute, and up to a second lost"

    run(test, rate_limit="3/60")
