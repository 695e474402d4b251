"""The simulated Instagram Graph API, over HTTP: its fields, pages, limits, hashtags, errors and sign-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from raylike.simulator.faults import REVOKED_AFTER_HITS
from raylike.simulator.networks.base import Site
from raylike.simulator.networks.instagram_graph.bodies import (
    Failure,
    Field,
    InstagramGraph,
    find_username,
    post_id,
    post_row,
    read_fields,
)
from raylike.simulator.networks.instagram_v1.bodies import username
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.simulator.world import AS_OF, GONE, OK, PRIVATE, World
from tests.unit.simulator.clock import Clock

ROOT = "/graph/v25.0"
CALLBACK = "http://127.0.0.1:9/back"
MEDIA = "id,caption,media_type,media_product_type,media_url,permalink,timestamp,like_count,comments_count"
TAG_MEDIA = MEDIA.replace("media_product_type,", "")
USERS = 400


class Session:
    """The network being served, a client of it, and a clock of its own."""

    def __init__(self, site: Site, client: TestClient[Any, Any], clock: Clock) -> None:
        self.site, self.client, self.clock = site, client, clock
        self.token = site.first_tokens[0]
        self.own_id = str(17_841_400_000_000_000 + int(site.world.user_id(0)))

    async def get(self, path: str, **query: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, JSON body and response of an API call."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.client.get(f"{ROOT}/{path}", params=query, headers=headers) as response:
            return response.status, await response.json(), response

    async def discover(self, name: str, fields: str) -> tuple[int, Any]:
        """Another account."""
        asked = f"business_discovery.username({name}){{{fields}}}"
        status, body, _ = await self.get(self.own_id, fields=asked)
        return status, body

    async def tag_id(self, tag: str = "me") -> str:
        _, body, _ = await self.get("ig_hashtag_search", user_id=self.own_id, q=tag)
        return str(body["data"][0]["id"])


def run(test: Callable[[Session], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        clock = Clock()
        with ThreadPoolExecutor(1) as executor:
            chosen = SimulatorOptions(**({"users": USERS, "rate_limit": "10000/60"} | options))
            server = Server(chosen, executor, clock, clock.sleep)
            async with TestClient(TestServer(server.app())) as client:
                await test(Session(server.site, client, clock))

    asyncio.run(body())


async def readable(session: Session) -> list[int]:
    """Rows of the accounts that `business_discovery` shows."""
    asked = [await session.discover(username(user), "id") for user in range(session.site.world.n_users)]
    return [user for user, (status, _) in enumerate(asked) if status == 200]


def code(body: Any) -> tuple[int, int | None]:
    return body["error"]["code"], body["error"].get("error_subcode")


def test_the_token_s_own_account_is_found_through_its_page() -> None:
    async def test(session: Session) -> None:
        status, body, _ = await session.get("me/accounts", fields="instagram_business_account{id,username}")
        (page,) = body["data"]
        assert status == 200
        assert page["instagram_business_account"] == {"id": session.own_id, "username": username(0)}
        assert page["id"].isdigit()
        _, body, _ = await session.get("me/accounts")
        assert body["data"] == [{"id": page["id"], "name": username(0)}]

    run(test)


def test_business_discovery_tells_an_account_and_its_posts() -> None:
    async def test(session: Session) -> None:
        world = session.site.world
        user = (await readable(session))[0]
        fields = f"username,followers_count,follows_count,media_count,media.limit(50){{{MEDIA}}}"
        status, body = await session.discover(username(user), fields)
        told = body["business_discovery"]
        assert (status, body["id"]) == (200, session.own_id)
        assert told["followers_count"] == world.users.followers[user]
        assert told["follows_count"] == world.users.following[user]
        assert told["media_count"] == world.users.media_count[user]
        assert told["username"] == username(user)
        assert told["id"] == str(17_841_400_000_000_000 + int(world.user_id(user)))
        rows = [post_row(world, media["id"]) for media in told["media"]["data"]]
        assert sorted(rows) == np.flatnonzero(world.posts.user == user).tolist()
        for media, row in zip(told["media"]["data"], rows, strict=True):
            assert media["like_count"] == world.posts.likes[row]
            assert media["comments_count"] == world.posts.comments[row]
            created_at = datetime.fromisoformat(media["timestamp"])
            assert created_at.timestamp() == world.posts.created_s[row]
            assert media["timestamp"].endswith("+0000")

    run(test)


def test_seven_accounts_of_ten_are_professional_and_some_hide_their_likes() -> None:
    async def test(session: Session) -> None:
        users, hiding = await readable(session), []
        for user in users:
            _, body = await session.discover(username(user), "media{like_count}")
            told = ["like_count" in media for media in body["business_discovery"]["media"]["data"]]
            assert all(told) or not any(told)
            hiding += [user] if not any(told) else []
        status = session.site.world.users.status
        assert all(status[user] == OK for user in users)
        assert len(users) / (status == OK).sum() == pytest.approx(0.7, abs=0.07)
        assert 0.02 < len(hiding) / len(users) < 0.1

    run(test)


@pytest.mark.parametrize("status", [PRIVATE, GONE, None])
def test_accounts_that_are_not_there_and_not_to_be_seen_are_answered_alike(status: int | None) -> None:
    async def test(session: Session) -> None:
        world = session.site.world
        name = (
            "nobody0000" if status is None else username(int(np.flatnonzero(world.users.status == status)[0]))
        )
        answered, body = await session.discover(name, "followers_count")
        assert (answered, code(body)) == (400, (110, 2207013))

    run(test)


def test_pages_of_an_account_follow_one_another_newest_first() -> None:
    async def test(session: Session) -> None:
        world = session.site.world
        counts = np.bincount(world.posts.user, minlength=world.n_users)
        user = max(await readable(session), key=lambda row: counts[row])
        seen, cursors, after = [], [], ""
        while True:
            media = f"media.limit(3){after}{{timestamp}}"
            _, body = await session.discover(username(user), media)
            edge = body["business_discovery"]["media"]
            seen += edge["data"]
            found = edge.get("paging", {}).get("cursors", {})
            assert ("before" in found) == bool(cursors)
            if "after" not in found:
                break
            cursors.append(found["after"])
            after = f".after({found['after']})"
        assert len({media["id"] for media in seen}) == len(seen) == counts[user]
        assert len(cursors) == (counts[user] - 1) // 3
        times = [media["timestamp"] for media in seen]
        assert times == sorted(times, reverse=True)

    run(test)


def test_albums_have_a_picture_by_account_and_none_by_hashtag() -> None:
    async def test(session: Session) -> None:
        by_account = {}
        for user in await readable(session):
            _, body = await session.discover(username(user), f"media.limit(50){{{MEDIA}}}")
            by_account |= {media["id"]: media for media in body["business_discovery"]["media"]["data"]}
        by_tag = await all_of_tag(session, "me")
        for told in (by_account, by_tag):
            kinds = [media["media_type"] for media in told.values()]
            assert {"IMAGE", "CAROUSEL_ALBUM", "VIDEO"} == set(kinds)
            assert 0.04 < kinds.count("CAROUSEL_ALBUM") / len(kinds) < 0.12
        assert all("media_url" in media for media in of_kind(by_account, "CAROUSEL_ALBUM"))
        assert not any("media_url" in media for media in of_kind(by_tag, "CAROUSEL_ALBUM"))
        assert all(media["media_url"].endswith(".jpg") for media in of_kind(by_tag, "IMAGE"))
        urls = [media.get("media_url") for media in of_kind(by_tag, "VIDEO")]
        assert {None if url is None else url[-4:] for url in urls} == {None, ".mp4"}
        photo = urlsplit(of_kind(by_account, "CAROUSEL_ALBUM")[0]["media_url"])
        async with session.client.get(photo.path) as response:
            assert response.content_type == "image/jpeg"
        captions = [media.get("caption") for media in by_account.values()]
        untagged = [text for text in captions if "#me" not in (text or "").lower().replace("#menu", "")]
        assert 0.05 < len(untagged) / len(captions) < 0.15
        assert {media["media_product_type"] for media in by_account.values()} == {"FEED", "REELS"}

    run(test)


def of_kind(told: dict[str, Any], kind: str) -> list[Any]:
    return [media for media in told.values() if media["media_type"] == kind]


async def all_of_tag(session: Session, tag: str) -> dict[str, Any]:
    """Every post that the pages of a hashtag show, in order."""
    told: dict[str, Any] = {}
    following = {"user_id": session.own_id, "fields": TAG_MEDIA, "limit": "50"}
    path = f"{await session.tag_id(tag)}/top_media"
    while True:
        status, body, _ = await session.get(path, **following)
        assert status == 200
        assert not told.keys() & {media["id"] for media in body["data"]}
        told |= {media["id"]: media for media in body["data"]}
        if "next" not in body["paging"]:
            return told
        address = urlsplit(body["paging"]["next"])
        assert address.path == f"{ROOT}/{path}"
        following = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert following.pop("access_token") == session.token
        assert following["after"] == body["paging"]["cursors"]["after"]


def test_top_media_tells_the_public_posts_of_a_hashtag_most_liked_first() -> None:
    async def test(session: Session) -> None:
        world = session.site.world
        for tag in ("me", "selfie"):
            told = await all_of_tag(session, tag)
            rows = [post_row(world, media_id) for media_id in told]
            assert all(f"#{tag}" in media["caption"].lower() for media in told.values())
            assert all(world.users.status[world.posts.user[row]] == OK for row in rows)
            likes = [int(world.posts.likes[row]) for row in rows]
            assert likes == sorted(likes, reverse=True)
            assert all(
                media.get("like_count", count) == count
                for media, count in zip(told.values(), likes, strict=True)
            )
        assert len(told) < len(await all_of_tag(session, "me"))

    run(test)


def test_recent_media_ends_after_a_day() -> None:
    async def test(session: Session) -> None:
        path = f"{await session.tag_id()}/recent_media"
        query = {"user_id": session.own_id, "fields": "timestamp", "limit": "50"}
        _, body, _ = await session.get(path, **query)
        told = {media["id"]: datetime.fromisoformat(media["timestamp"]) for media in body["data"]}
        world = session.site.world
        everything = await all_of_tag(session, "me")
        recent = {
            media_id
            for media_id, media in everything.items()
            if datetime.fromisoformat(media["timestamp"]) > AS_OF - timedelta(hours=24)
        }
        assert set(told) == recent
        assert list(told.values()) == sorted(told.values(), reverse=True)
        assert 0 < len(told) < world.posts.user.size / 50

    run(test, users=3000)


def test_hashtags_are_found_not_found_or_not_shown() -> None:
    async def test(session: Session) -> None:
        assert await session.tag_id("me") == await session.tag_id("ME") != await session.tag_id("selfie")
        for tag, expected in (("unheardof", (24, 2207024)), ("iphone", (100, None)), ("", (100, None))):
            status, body, _ = await session.get("ig_hashtag_search", user_id=session.own_id, q=tag)
            assert (status, code(body)) == (400, expected)
        _, body, _ = await session.get(f"{session.own_id}/recently_searched_hashtags")
        assert body == {"data": [{"id": await session.tag_id("me")}, {"id": await session.tag_id("selfie")}]}

    run(test)


def test_thirty_different_hashtags_in_seven_days_and_again_is_free() -> None:
    async def test(session: Session) -> None:
        async def search(tag: str) -> int:
            _, body, _ = await session.get("ig_hashtag_search", user_id=session.own_id, q=tag)
            return code(body)[0] if "error" in body else 200

        assert [await search(f"tag{k}") for k in range(29)] == [24] * 29
        session.clock.now = 3600.0
        assert [await search(tag) for tag in ("me", "Me", "tag3", "one_too_many")] == [200, 200, 24, 18]
        session.clock.now = 7 * 86_400.0
        assert [await search(f"new{k}") for k in range(30)] == [24] * 29 + [18]

    run(test)


def test_usage_is_told_in_percent_and_the_window_slides() -> None:
    async def test(session: Session) -> None:
        percents = []
        for _ in range(3):
            status, _, response = await session.get("me/accounts")
            percents.append(json.loads(response.headers["X-App-Usage"])["call_count"])
            assert "X-Business-Use-Case-Usage" not in response.headers
            session.clock.now += 1
        assert (status, percents) == (200, [33, 66, 100])
        status, body, response = await session.get("me/accounts")
        assert (status, code(body)) == (400, (4, None))
        (case,) = json.loads(response.headers["X-Business-Use-Case-Usage"])[session.own_id]
        assert case["estimated_time_to_regain_access"] == 2
        assert json.loads(response.headers["X-App-Usage"])["call_count"] == 100
        session.token = session.site.first_tokens[1]
        assert (await session.get("me/accounts"))[0] == 200, "each token has its own window"
        session.token = session.site.first_tokens[0]
        session.clock.now = 90.0
        assert (await session.get("me/accounts"))[0] == 200
        assert session.site.stats.violations == 1

    run(test, rate_limit="3/90")


def test_the_documented_limit_is_two_hundred_an_hour() -> None:
    async def test(session: Session) -> None:
        answers = [await session.get("me/accounts") for _ in range(201)]
        assert [status for status, _, _ in answers] == [200] * 200 + [400]
        percents = [json.loads(response.headers["X-App-Usage"])["call_count"] for _, _, response in answers]
        assert percents == [k // 2 for k in range(1, 201)] + [100]

    run(test, rate_limit=None)


def test_a_limit_that_is_a_fault_is_over_in_a_minute() -> None:
    async def test(session: Session) -> None:
        status, body, response = await session.get("me/accounts")
        (case,) = json.loads(response.headers["X-Business-Use-Case-Usage"])[session.own_id]
        assert (status, code(body)[0], case["estimated_time_to_regain_access"]) == (400, 4, 1)

    run(test, faults={"rate_limited": 1.0}, rate_limit=None)


def test_no_token_a_wrong_token_and_a_revoked_one() -> None:
    async def test(session: Session) -> None:
        for _ in range(REVOKED_AFTER_HITS):
            assert (await session.get("me/accounts"))[0] == 200
        for token, expected in ((session.token, 190), ("EAAB", 190), ("", 104)):
            session.token = token
            status, body, _ = await session.get("me/accounts")
            assert (status, code(body)[0]) == (400, expected)

    run(test, faults={"token_revoked": 0.1})


def test_a_token_may_be_a_parameter_too() -> None:
    async def test(session: Session) -> None:
        token, session.token = session.token, ""
        assert (await session.get("me/accounts", access_token=token))[0] == 200

    run(test)


def test_another_s_account_is_nobody_s_business() -> None:
    async def test(session: Session) -> None:
        other = str(int(session.own_id) + 37)
        for path, query in (
            (other, {"fields": "id"}),
            (f"{other}/recently_searched_hashtags", {}),
            ("ig_hashtag_search", {"user_id": other, "q": "me"}),
            ("ig_hashtag_search", {"q": "me"}),
            (f"{await session.tag_id()}/top_media", {"user_id": other}),
            ("17843800000000001/top_media", {"user_id": session.own_id}),
        ):
            status, body, _ = await session.get(path, **query)
            assert (status, code(body)) == (400, (100, 33)), path

    run(test)


def test_a_token_of_an_application_alone_has_no_account() -> None:
    async def test(session: Session) -> None:
        session.token = session.site.tokens.issue("app", "abc")
        assert (await session.get("me/accounts"))[1] == {"data": []}
        assert (
            code((await session.get("", fields="id"))[1] if False else (await session.get("1"))[1])[0] == 100
        )

    run(test)


@pytest.mark.parametrize(
    "fields",
    [
        "nonsense",
        "id,",
        "id}",
        "id{username}",
        "id.limit(3)",
        "business_discovery{id}",
        "business_discovery.username(NAME){id",
        "business_discovery.username(NAME){email}",
        "business_discovery.username(NAME).limit(3){id}",
        "business_discovery.username(NAME){media.limit(0){id}}",
        "business_discovery.username(NAME){media.limit(x){id}}",
        "business_discovery.username(NAME){media.since(3){id}}",
        "business_discovery.username(NAME){media.after(x){id}}",
        "business_discovery.username(NAME){media.after(bm90OjM=){id}}",
        "business_discovery.username(NAME){media{owner}}",
        "a{b{c{d{e}}}}",
    ],
)
def test_fields_that_are_not_there_or_not_well_formed_are_an_error(fields: str) -> None:
    async def test(session: Session) -> None:
        name = username((await readable(session))[0])
        status, body, _ = await session.get(session.own_id, fields=fields.replace("NAME", name))
        assert (status, code(body)) == (400, (100, None))

    run(test, users=20)


@pytest.mark.parametrize(
    "query", [{"fields": "username"}, {"limit": "-1"}, {"after": "bm90OjM="}, {"after": "é"}]
)
def test_what_a_hashtag_cannot_be_asked_for_is_an_error(query: dict[str, str]) -> None:
    async def test(session: Session) -> None:
        path = f"{await session.tag_id()}/top_media"
        status, body, _ = await session.get(path, user_id=session.own_id, **query)
        assert (status, code(body)) == (400, (100, None))

    run(test, users=20)


NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.from_regex(r"[\w.=+/-]{0,8}", fullmatch=True)
FIELDS = st.recursive(
    st.builds(Field, NAMES, st.dictionaries(NAMES, VALUES, max_size=2)),
    lambda inner: st.builds(
        Field,
        NAMES,
        st.dictionaries(NAMES, VALUES, max_size=2),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=4,
)


def depth(field: Field) -> int:
    return 1 + max(map(depth, field.fields), default=0)


@given(st.lists(FIELDS, min_size=1, max_size=3))
def test_fields_are_read_as_they_are_written_up_to_four_deep(fields: list[Field]) -> None:
    written = ",".join(map(str, fields))
    if max(map(depth, fields)) <= 4:
        assert read_fields(written) == tuple(fields)
    else:
        with pytest.raises(Failure):
            read_fields(written)


@given(st.text(), FIELDS)
def test_what_does_not_belong_to_fields_makes_them_an_error(odd: str, field: Field) -> None:
    with pytest.raises(Failure, match="Syntax error"):
        read_fields(f"{field},{odd}{{")


def test_ids_and_names_lead_back_to_their_rows() -> None:
    world = World(1, 300)
    assert [find_username(world, username(user)) for user in range(300)] == list(range(300))
    assert [post_row(world, post_id(row)) for row in range(world.posts.user.size)] == list(
        range(world.posts.user.size)
    )
    for name in ("", "nobody", username(300), username(7) + "0", "x" + username(7)):
        assert find_username(world, name) is None
    for media_id in ("", "x", "1", post_id(world.posts.user.size), str(int(post_id(3)) + 1), "9" * 30):
        assert post_row(world, media_id) is None


def test_two_worlds_of_one_seed_are_told_alike() -> None:
    first, second, other = (InstagramGraph(World(seed, 50)) for seed in (3, 3, 4))

    def told(network: InstagramGraph) -> Any:
        tag_id = network.tag_id("me")
        return network.tag_media(tag_id, "top_media", read_fields(TAG_MEDIA), "50", "", "http://p.test")

    assert told(first) == told(second) != told(other)


def test_signing_in_gives_a_token_for_a_code_once_and_a_long_lived_one_for_it() -> None:
    async def test(session: Session) -> None:
        query = {"client_id": "abc", "redirect_uri": CALLBACK, "state": "s&1", "scope": "instagram_basic"}
        async with session.client.get(
            f"{ROOT}/dialog/oauth", params=query, allow_redirects=False
        ) as response:
            assert response.status == 302
            back = urlsplit(response.headers["Location"])
        assert response.headers["Location"].startswith(CALLBACK)
        assert parse_qs(back.query)["state"] == ["s&1"]
        session.token = ""
        form = {"client_id": "abc", "redirect_uri": CALLBACK, "client_secret": "x",
                "code": parse_qs(back.query)["code"][0]}  # fmt: skip
        status, body, _ = await session.get("oauth/access_token", **form)
        assert (status, body["token_type"], body["expires_in"]) == (200, "bearer", 5_183_944)
        status, again, _ = await session.get("oauth/access_token", **form)
        assert (status, code(again)) == (400, (100, 36009))
        exchange = {"grant_type": "fb_exchange_token", "client_id": "abc", "client_secret": "x"}
        _, longer, _ = await session.get(
            "oauth/access_token", fb_exchange_token=body["access_token"], **exchange
        )
        assert longer["access_token"] != body["access_token"]
        accounts = []
        for session.token in (body["access_token"], longer["access_token"]):
            _, told, _ = await session.get("me/accounts", fields="instagram_business_account")
            accounts.append(told["data"][0]["instagram_business_account"]["id"])
        assert accounts[0] == accounts[1] != session.own_id
        session.token = ""
        for wrong, expected in (
            (exchange | {"fb_exchange_token": "EAAB"}, 190),
            (form | {"client_secret": ""}, 1),
            (form | {"client_id": ""}, 1),
        ):
            status, told, _ = await session.get("oauth/access_token", **wrong)
            assert (status, code(told)[0]) == (400, expected)

    run(test)


def test_the_dialog_can_give_a_token_behind_a_hash_and_refuses_odd_addresses() -> None:
    async def test(session: Session) -> None:
        path = f"{ROOT}/dialog/oauth"
        query = {"client_id": "abc", "redirect_uri": CALLBACK, "response_type": "token"}
        async with session.client.get(path, params=query, allow_redirects=False) as response:
            assert "#access_token=" in response.headers["Location"]
        for odd in ({"redirect_uri": "javascript:1"}, {"client_id": ""}, {"response_type": "both"}):
            async with session.client.get(path, params=query | odd, allow_redirects=False) as response:
                assert response.status == 400

    run(test)


def test_names_of_the_simulator_are_kept_in_addresses() -> None:
    async def test(session: Session) -> None:
        path, query = f"{ROOT}/{await session.tag_id()}/top_media", {"user_id": session.own_id}
        headers = {"Host": "graph.simulator.test", "Authorization": f"Bearer {session.token}"}
        query |= {"fields": "media_url", "limit": "5"}
        async with session.client.get(path, params=query, headers=headers) as response:
            body = await response.json()
        assert body["paging"]["next"].startswith(f"http://graph.simulator.test{path}?")
        urls = [media["media_url"] for media in body["data"] if "media_url" in media]
        assert urls
        assert all(url.startswith("http://photos.simulator.test/photos/") for url in urls)

    run(test)


def test_hits_and_pages_are_counted() -> None:
    async def test(session: Session) -> None:
        user = username((await readable(session))[0])
        for _ in range(2):
            await session.discover(user, "id,media{id}")
        await session.get(f"{await session.tag_id()}/top_media", user_id=session.own_id)
        stats = session.site.stats
        assert stats.hits[0] == 20 + 2 + 1 + 1
        assert max(stats.pages.values()) == 2

    run(test, users=20)
