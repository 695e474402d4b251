"""The simulated Instagram v1, over HTTP: its formats, pages, limits, errors, sign-in and faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from raylike.simulator.faults import FAULTS, LATENCY_S, REVOKED_AFTER_HITS, STALL_S
from raylike.simulator.networks.base import Site
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.simulator.world import GONE, OK, PRIVATE
from tests.unit.simulator.clock import Clock

CALLBACK = "http://127.0.0.1:9/back"


class Session:
    """A network being served, a client of it, and a clock of its own."""

    def __init__(self, network: Site, client: TestClient[Any, Any]) -> None:
        self.network = network
        self.client = client
        self.token = network.first_tokens[0]

    async def get(self, path: str, **query: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, JSON body and response of an API call."""
        async with self.client.get(path, params={"access_token": self.token} | query) as response:
            return response.status, await response.json(), response


@asynccontextmanager
async def serving(clock: Clock, options: SimulatorOptions) -> AsyncIterator[Session]:
    with ThreadPoolExecutor(1) as executor:
        server = Server(options, executor, clock, clock.sleep)
        async with TestClient(TestServer(server.app())) as client:
            yield Session(server.site, client)


def run(test: Callable[[Session, Clock], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        clock = Clock()
        async with serving(clock, SimulatorOptions(**({"users": 120} | options))) as session:
            await test(session, clock)

    asyncio.run(body())


def user_with(network: Site, status: int) -> str:
    return network.world.user_id(int(np.flatnonzero(network.world.users.status == status)[0]))


def a_photo(network: Site, row: int = 0) -> str:
    return f"/photos/{network.world.media_id(row)}.jpg"


def test_a_page_of_posts_has_the_network_s_format() -> None:
    async def test(session: Session, _: Clock) -> None:
        status, body, response = await session.get("/v1/tags/me/media/recent")
        assert status == 200
        assert body["meta"] == {"code": 200}
        assert len(body["data"]) == 20
        post = body["data"][0]
        assert post["type"] in ("image", "video")
        assert post["created_time"].isdigit()
        assert isinstance(post["likes"]["count"], int)
        assert post["id"].endswith("_" + post["user"]["id"])
        assert "counts" not in post["user"]
        assert post["images"]["standard_resolution"]["width"] == 640
        assert "me" in post["tags"]
        assert body["pagination"]["next_max_tag_id"].isdigit()
        assert response.headers["X-Ratelimit-Limit"] == "5000"
        assert response.headers["X-Ratelimit-Remaining"] == "4999"

    run(test)


@pytest.mark.parametrize(("count", "served"), [("5", 5), ("33", 33), ("1000", 33)])
def test_pages_are_at_most_33_posts(count: str, served: int) -> None:
    async def test(session: Session, _: Clock) -> None:
        _, body, _ = await session.get("/v1/tags/me/media/recent.json", count=count)
        assert len(body["data"]) == served

    run(test)


def test_following_next_url_meets_every_post_once_and_ends() -> None:
    async def test(session: Session, _: Clock) -> None:
        url: str | None = "/v1/tags/me/media/recent"
        query: dict[str, str] | None = {"access_token": session.token, "count": "33"}
        seen: list[str] = []
        while url:
            async with session.client.get(url, params=query) as response:
                body = await response.json()
            seen += [post["id"] for post in body["data"]]
            url, query = body["pagination"].get("next_url"), None
            if url:
                assert url.startswith(f"http://127.0.0.1:{session.client.port}/v1/tags/me/")
                url = url.removeprefix(f"http://127.0.0.1:{session.client.port}")
        assert "next_max_tag_id" not in body["pagination"]
        world = session.network.world
        assert seen == [world.media_id(row) for row in range(world.posts.user.size)]

    run(test)


def test_min_tag_id_asks_for_newer_posts() -> None:
    async def test(session: Session, _: Clock) -> None:
        _, body, _ = await session.get("/v1/tags/me/media/recent", count="10")
        _, newer, _ = await session.get(
            "/v1/tags/me/media/recent", min_tag_id=body["pagination"]["next_max_tag_id"]
        )
        assert [post["id"] for post in newer["data"]] == [post["id"] for post in body["data"]][:9]

    run(test)


def test_tags_may_be_unknown_rare_or_banned() -> None:
    async def test(session: Session, _: Clock) -> None:
        status, body, _ = await session.get("/v1/tags/nobodyusesthis/media/recent")
        assert (status, body["data"], body["pagination"]) == (200, [], {})
        _, body, _ = await session.get("/v1/tags/selfie/media/recent")
        assert all("selfie" in post["tags"] for post in body["data"])
        status, body, _ = await session.get("/v1/tags/iphone/media/recent")
        assert (status, body["meta"]["error_type"]) == (400, "APINotAllowedError")
        status, _, _ = await session.get("/v1/tags/me/media/recent", max_tag_id="x")
        assert status == 400

    run(test)


def test_names_of_the_simulator_are_kept_in_addresses() -> None:
    async def test(session: Session, _: Clock) -> None:
        query = {"access_token": session.token}
        async with session.client.get(
            "/v1/tags/me/media/recent", params=query, headers={"Host": "instagram.simulator.test"}
        ) as response:
            body = await response.json()
        assert body["pagination"]["next_url"].startswith(
            "http://instagram.simulator.test/v1/tags/me/media/recent?"
        )
        assert body["data"][0]["images"]["standard_resolution"]["url"].startswith(
            "http://photos.simulator.test/photos/"
        )

    run(test)


def test_an_account_is_shown_hidden_or_gone() -> None:
    async def test(session: Session, _: Clock) -> None:
        network = session.network
        user_id = user_with(network, OK)
        status, body, _ = await session.get(f"/v1/users/{user_id}")
        row = network.world.find_user(user_id)
        assert (status, body["data"]["id"]) == (200, user_id)
        assert body["data"]["counts"]["followed_by"] == network.world.users.followers[row]
        for missing in (user_with(network, GONE), "12345"):
            status, body, _ = await session.get(f"/v1/users/{missing}")
            assert (status, body["meta"]["error_type"]) == (400, "APINotFoundError")
        status, body, _ = await session.get(f"/v1/users/{user_with(network, PRIVATE)}")
        assert (status, body["meta"]["error_message"]) == (400, "you cannot view this resource")

    run(test)


def test_no_token_and_a_wrong_token_are_different_errors() -> None:
    async def test(session: Session, _: Clock) -> None:
        async with session.client.get("/v1/users/1") as response:
            assert (response.status, (await response.json())["meta"]["error_type"]) == (
                400,
                "OAuthParameterException",
            )
        status, body, _ = await session.get("/v1/users/1", access_token="1.2.3")
        assert (status, body["meta"]["error_type"]) == (400, "OAuthAccessTokenException")

    run(test)


def test_the_limit_slides_over_the_window_and_the_server_counts_who_exceeds_it() -> None:
    async def test(session: Session, clock: Clock) -> None:
        user_id = user_with(session.network, OK)
        remaining = []
        for _ in range(3):
            status, _, response = await session.get(f"/v1/users/{user_id}")
            assert status == 200
            remaining.append(response.headers["X-Ratelimit-Remaining"])
            clock.now += 1
        assert remaining == ["2", "1", "0"]
        status, body, response = await session.get(f"/v1/users/{user_id}")
        assert (status, body["meta"]["error_type"]) == (429, "OAuthRateLimitException")
        assert response.headers["X-Ratelimit-Remaining"] == "0"
        session.token = session.network.first_tokens[1]
        assert (await session.get(f"/v1/users/{user_id}"))[0] == 200, "each token has its own window"
        session.token = session.network.first_tokens[0]
        clock.now = 60.0
        assert (await session.get(f"/v1/users/{user_id}"))[0] == 200
        async with session.client.get("/_simulator/stats") as answer:
            stats = await answer.json()
        assert stats["violations"] == 1
        assert stats["hits"] == [5, 1, 0]
        assert (stats["users_asked"], stats["users_asked_twice"], stats["users_answers"]) == (1, 1, 5)

    run(test, rate_limit="3/60")


def test_signing_in_gives_a_token_for_a_code_once() -> None:
    async def test(session: Session, _: Clock) -> None:
        query = {"client_id": "abc", "redirect_uri": CALLBACK, "response_type": "code", "state": "s&1"}
        async with session.client.get("/oauth/authorize/", params=query, allow_redirects=False) as response:
            assert response.status == 302
            back = urlsplit(response.headers["Location"])
        assert parse_qs(back.query)["state"] == ["s&1"]
        form = {"client_id": "abc", "client_secret": "x", "grant_type": "authorization_code",
                "redirect_uri": CALLBACK, "code": parse_qs(back.query)["code"][0]}  # fmt: skip
        async with session.client.post("/oauth/access_token", data=form) as response:
            body = await response.json()
        assert body["access_token"].startswith(body["user"]["id"] + ".abc.")
        assert (await session.get(f"/v1/users/{body['user']['id']}", access_token=body["access_token"]))[
            0
        ] == 200
        async with session.client.post("/oauth/access_token", data=form) as response:
            assert (response.status, (await response.json())) == (
                400,
                {
                    "code": 400,
                    "error_type": "OAuthException",
                    "error_message": "Matching code was not found or was already used.",
                },
            )

    run(test)


def test_the_implicit_flow_puts_the_token_behind_a_hash() -> None:
    async def test(session: Session, _: Clock) -> None:
        query = {"client_id": "abc", "redirect_uri": CALLBACK, "response_type": "token"}
        async with session.client.get("/oauth/authorize", params=query, allow_redirects=False) as response:
            assert "#access_token=" in response.headers["Location"]
        async with session.client.get(
            "/oauth/authorize", params=query | {"redirect_uri": "javascript:1"}
        ) as response:
            assert response.status == 400

    run(test)


def test_photos_come_in_three_sizes_and_stay_the_same() -> None:
    async def test(session: Session, _: Clock) -> None:
        path = a_photo(session.network)
        bodies = []
        for name, side in (
            (path, 640),
            (path, 640),
            (path.replace(".jpg", "_6.jpg"), 306),
            (path.replace(".jpg", "_5.jpg"), 150),
        ):
            async with session.client.get(name) as response:
                assert response.content_type == "image/jpeg"
                bodies.append(await response.read())
            pixels = cv2.imdecode(np.frombuffer(bodies[-1], np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert pixels.shape == (side, side, 3)
        assert bodies[0] == bodies[1]
        async with session.client.get("/photos/990000000000000000_1.jpg") as response:
            assert response.status == 404

    run(test)


@pytest.mark.parametrize(
    ("fault", "status"), [("error_500", 500), ("error_503", 503), ("html", 200), ("rate_limited", 429)]
)
def test_api_answers_can_fail(fault: str, status: int) -> None:
    async def test(session: Session, _: Clock) -> None:
        query = {"access_token": session.token}
        async with session.client.get("/v1/tags/me/media/recent", params=query) as response:
            assert response.status == status
            assert (response.content_type == "application/json") == (fault == "rate_limited")

    run(test, faults={fault: 1.0})


@pytest.mark.parametrize(
    "fault", ["missing", "redirect_internal", "bomb", "corrupt", "truncated", "html", "error_500"]
)
def test_photos_can_fail(fault: str) -> None:
    async def test(session: Session, _: Clock) -> None:
        async with session.client.get(a_photo(session.network), allow_redirects=False) as response:
            body = await response.read()
            status = response.status
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if fault == "corrupt" else None
        assert pixels is None
        assert {
            "missing": status in (404, 410),
            "redirect_internal": response.headers.get("Location", "").startswith("http://169.254.169.254/"),
            "bomb": body.startswith(b"\x89PNG") and len(body) < 1000,
            "corrupt": body.startswith(b"\xff\xd8\xff"),
            "truncated": status == 200 and not body.endswith(b"\xff\xd9"),
            "html": body.startswith(b"<!DOCTYPE html"),
            "error_500": status == 500,
        }[fault]

    run(test, faults={fault: 1.0})


@pytest.mark.parametrize("path", ["/v1/tags/me/media/recent", "photo"])
def test_connections_can_break(path: str) -> None:
    async def test(session: Session, _: Clock) -> None:
        address = a_photo(session.network) if path == "photo" else path
        with pytest.raises(aiohttp.ClientError):
            async with session.client.get(address, params={"access_token": session.token}) as response:
                await response.read()

    run(test, faults={"reset": 1.0})


@pytest.mark.parametrize(
    ("options", "waited_s"),
    [
        ({"faults": {"stall": 1.0}}, STALL_S),
        ({"faults": {"latency": 1.0}}, LATENCY_S),
        ({"latency_s": 0.25}, 0.25),
    ],
)
def test_answers_can_be_late(options: dict[str, Any], waited_s: float) -> None:
    async def test(session: Session, clock: Clock) -> None:
        assert (await session.get("/v1/tags/me/media/recent"))[0] == 200
        assert clock.now == waited_s

    run(test, **options)


def test_a_token_can_be_revoked_on_the_way() -> None:
    async def test(session: Session, _: Clock) -> None:
        user_id = user_with(session.network, OK)
        for _ in range(REVOKED_AFTER_HITS):
            assert (await session.get(f"/v1/users/{user_id}"))[0] == 200
        status, body, _ = await session.get(f"/v1/users/{user_id}")
        assert (status, body["meta"]["error_type"]) == (400, "OAuthAccessTokenException")
        session.token = session.network.first_tokens[1]
        assert (await session.get(f"/v1/users/{user_id}"))[0] == 200

    run(test, faults={"token_revoked": 0.1})


def test_every_fault_is_described() -> None:
    assert all(len(text) > 20 for text in FAULTS.values())
