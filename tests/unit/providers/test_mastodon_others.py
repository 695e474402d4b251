"""What we did not write: Mastodon.py reads our simulated server, and our provider reads mastodon-mock.

Both sides of ours were made from the same documents, so they could share a misreading. These were not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
import numpy as np
import pytest
from pydantic import SecretStr

from actors.outcomes import Credential, RateLimited, Refused, Reply, Transient
from raylike.bot.mastodon import MastodonMentions
from raylike.bot.mentions import Mention
from raylike.providers.base import Objection, Page, Post, Query, Reading, User, walk
from raylike.providers.mastodon import Mastodon
from raylike.simulator.networks.base import Site
from raylike.simulator.networks.mastodon import bodies
from raylike.simulator.world import GONE, OK
from tests.unit.providers.simulated import simulated

client = pytest.importorskip("mastodon")
mock = pytest.importorskip("mastodon_mock.testing")
config = pytest.importorskip("mastodon_mock.config")
requests = pytest.importorskip("requests")

T = TypeVar("T")
CALLBACK = "http://127.0.0.1:9/back"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4"
    "890000000d49444154789c626001000000050001aed2b1a00000000049454e44ae426082"
)


@contextmanager
def our_mastodon(**options: Any) -> Iterator[tuple[Site, str]]:
    """The simulator's site, and the address of its Mastodon."""
    with simulated(**({"users": 120} | options)) as (server, root):
        yield server.site, f"{root}/mastodon"


@contextmanager
def mastodon_py(root: str, **options: Any) -> Iterator[Any]:
    """Mastodon.py, calling a server; it raises where it is limited instead of sleeping."""
    with requests.Session() as session:
        yield client.Mastodon(api_base_url=root, session=session, ratelimit_method="throw", **options)


def ids_in(site: Site) -> list[str]:
    posts, status = site.world.posts, site.world.users.status
    return [bodies.post_id(site.world, int(row)) for row in np.flatnonzero(status[posts.user] != GONE)]


def test_mastodon_py_reads_the_simulated_tag_page_after_page() -> None:
    with our_mastodon() as (site, root), mastodon_py(root, access_token=site.first_tokens[0]) as api:
        first = api.timeline_hashtag("me", limit=40, only_media=True, local=True)
        everything = api.fetch_remaining(first)
        assert [str(post.id) for post in everything] == ids_in(site)
        assert len(api.fetch_previous(api.fetch_next(first))) == 40
        row = bodies.post_row(site.world, str(first[0].id))
        assert first[0].favourites_count == site.world.posts.likes[row]
        assert first[0].created_at == datetime.fromtimestamp(int(site.world.posts.created_s[row]), UTC)
        assert first[0].account.followers_count == site.world.users.followers[site.world.posts.user[row]]
        assert first[0].media_attachments[0].meta.original.width == 640
        assert first[0].tags[0].name == "me"
        assert list(api.timeline_hashtag("nobodyusesthis")) == []


def test_mastodon_py_finds_the_simulated_accounts_and_posts() -> None:
    with our_mastodon() as (site, root), mastodon_py(root, access_token=site.first_tokens[0]) as api:
        shown, gone = (site.world.user_id(int(np.flatnonzero(site.world.users.status == status)[0]))
                       for status in (OK, GONE))  # fmt: skip
        assert [str(account.id) for account in api.accounts([shown, gone])] == [shown]
        assert str(api.account(shown).id) == shown
        with pytest.raises(client.MastodonNotFoundError):
            api.account(gone)
        ids = ids_in(site)[:3]
        assert [str(post.id) for post in api.statuses([*ids, "7"])] == ids
        assert str(api.status(ids[0]).id) == ids[0]
        assert api.retrieve_mastodon_version() == "4.3.0"


def test_mastodon_py_signs_in_to_the_simulated_server_and_out() -> None:
    with our_mastodon() as (site, root):
        client_id, secret = client.Mastodon.create_app(
            "raylike", scopes=["read"], redirect_uris=CALLBACK, api_base_url=root
        )
        with mastodon_py(root, client_id=client_id, client_secret=secret) as api:
            page = api.auth_request_url(redirect_uris=CALLBACK, scopes=["read"], state="s1")
            back = requests.get(page, allow_redirects=False, timeout=10).headers["Location"]
            query = parse_qs(urlsplit(back).query)
            assert query["state"] == ["s1"]
            code = query["code"][0]
            api.log_in(code=code, redirect_uri=CALLBACK, scopes=["read"])
            assert str(api.account_verify_credentials().id) == site.world.user_id(3)
            with pytest.raises(client.MastodonIllegalArgumentError):
                api.log_in(code=code, redirect_uri=CALLBACK, scopes=["read"])
            token = api.access_token
            api.revoke_access_token()
        with mastodon_py(root, access_token=token) as api, pytest.raises(client.MastodonUnauthorizedError):
            api.timeline_hashtag("me")


def test_mastodon_py_reads_the_simulated_mentions_and_answers_them_once() -> None:
    with our_mastodon() as (site, root), mastodon_py(root, access_token=site.first_tokens[0]) as api:
        newest, *_, oldest = api.notifications(types=["mention"])
        me = api.account_verify_credentials()
        assert newest.created_at > oldest.created_at > datetime.now(UTC) - timedelta(hours=1)
        assert oldest.status.mentions[0].id == me.id
        assert oldest.status.media_attachments[0].type == "image"
        first, again = (
            api.status_post("fine", in_reply_to_id=oldest.status.id, visibility="unlisted",
                            idempotency_key="k1") for _ in range(2)
        )  # fmt: skip
        assert first.id == again.id
        assert first.in_reply_to_id == oldest.status.id
        assert dict(site.stats.answered) == {str(oldest.status.id): 1}
        with pytest.raises(client.MastodonNotFoundError):
            api.status_post("fine", in_reply_to_id="7")


def test_mastodon_py_understands_the_simulated_limits() -> None:
    with (
        our_mastodon(rate_limit="3/3600") as (site, root),
        mastodon_py(root, access_token=site.first_tokens[0]) as api,
    ):
        shown = site.world.user_id(int(np.flatnonzero(site.world.users.status == OK)[0]))
        for remaining in (2, 1, 0):
            api.account(shown)
            assert (api.ratelimit_limit, api.ratelimit_remaining) == (3, remaining)
        left_s = api.ratelimit_reset - datetime.now(UTC).timestamp()
        assert 0 < left_s <= 3602
        with pytest.raises(client.MastodonRatelimitError):
            api.account(shown)


def seed() -> Any:
    """Two people and a bot, each with a token."""
    people: tuple[tuple[str, dict[str, bool]], ...] = (
        ("alice", {}), ("bob", {}), ("robot", {"bot": True, "locked": True})
    )  # fmt: skip
    accounts = [
        config.SeedAccount(username=name, access_token=f"{name}_token", **more) for name, more in people
    ]
    return config.SeedConfig(
        accounts=accounts, follows=[config.SeedFollow(follower="bob", following="alice")]
    )


@contextmanager
def mocked(tmp_path: Path, **options: Any) -> Iterator[Any]:
    """mastodon-mock on a port, with its media below `tmp_path`."""
    settings = config.MastodonMockConfig(
        database=config.DatabaseConfig(path=":memory:"),
        media_storage_path=str(tmp_path),
        **({"seed": seed()} | options),
    )
    with mock.MockServer(config=settings) as server:
        yield server


def ask(server: Any, call: Callable[[Mastodon, Credential], Awaitable[T]]) -> T:
    async def main() -> T:
        async with aiohttp.ClientSession() as session:
            return await call(Mastodon(session, server.base_url), Credential("a", SecretStr("alice_token")))

    return asyncio.run(main())


def posts_of(server: Any, size: int = 40) -> list[Post]:
    async def call(provider: Mastodon, credential: Credential) -> list[Post]:
        async def fetch(cursor: str | None) -> Page:
            return (await provider.page(credential, Query("me"), cursor, size)).value

        return [post async for page in walk(fetch) for post in page.posts]

    return ask(server, call)


def test_the_provider_reads_a_photo_posted_elsewhere(tmp_path: Path) -> None:
    with mocked(tmp_path) as server:
        alice, bob = server.client("alice"), server.client("bob")
        media = alice.media_post(PNG, mime_type="image/png", file_name="me.png", synchronous=True)
        posted = alice.status_post("my day &c <3 #me #selfie", media_ids=[media])
        bob.status_favourite(posted)
        bob.status_post("nice", in_reply_to_id=posted)
        (post,) = posts_of(server)
        assert (post.post_id, post.user_id, post.kind) == (str(posted.id), str(posted.account.id), "image")
        assert (post.likes, post.comments, post.followers, post.following) == (1, 1, 1, 0)
        assert abs((post.created_at - posted.created_at).total_seconds()) < 1
        assert sorted(post.tags) == ["me", "selfie"]
        assert post.caption == "my day &c <3 #me #selfie"
        assert post.image_url == media.url
        assert requests.get(post.image_url, timeout=10).content == PNG


def test_the_provider_pages_through_another_s_server_to_the_end(tmp_path: Path) -> None:
    with mocked(tmp_path) as server:
        alice = server.client("alice")
        ids = [str(alice.status_post(f"{number} #me").id) for number in range(11)]
        posts = posts_of(server, size=3)
        assert [post.post_id for post in posts] == ids[::-1]
        assert {post.kind for post in posts} == {"text"}
        assert posts_of(server, size=40) == posts


def test_the_provider_sees_what_speaks_against_a_post(tmp_path: Path) -> None:
    with mocked(tmp_path) as server:
        alice, robot = server.client("alice"), server.client("robot")
        alice.status_post("#me", sensitive=True, spoiler_text="careful")
        robot.status_post("#me")
        alice.account_update_credentials(discoverable=True)
        of_robot, of_alice = (post.objections for post in posts_of(server))
        asked_and_silent = {Objection.NOT_INDEXABLE, Objection.NOT_DISCOVERABLE}
        assert of_robot == {Objection.BOT, Objection.LOCKED} | asked_and_silent
        assert of_alice == {Objection.SENSITIVE, Objection.NOT_INDEXABLE}, "which this server cannot change"


def test_the_provider_looks_up_and_reads_again_with_a_row_for_each(tmp_path: Path) -> None:
    with mocked(tmp_path) as server:
        alice, bob = server.client("alice"), server.client("bob")
        kept, deleted = alice.status_post("#me"), alice.status_post("#me again")
        bob.status_favourite(kept)
        alice.status_delete(deleted)
        user_id, post_ids = str(kept.account.id), [str(deleted.id), str(kept.id)]

        async def call(provider: Mastodon, credential: Credential) -> tuple[list[User], list[Reading]]:
            users = await provider.users(credential, ["7", user_id])
            return users.value, (await provider.readings(credential, post_ids)).value

        users, readings = ask(server, call)
        assert users == [User("7", "gone"), User(user_id, "ok", 1, 0, 1)]
        assert readings == [Reading(post_ids[0], "gone"), Reading(post_ids[1], "ok", 1, 0)]


def test_the_bot_answers_a_mention_on_another_s_server(tmp_path: Path) -> None:
    async def call(provider: Mastodon, credential: Credential) -> Mention:
        async def asked(send: Callable[[Credential], Awaitable[Reply[T]]]) -> T:
            return (await send(credential)).value

        network = MastodonMentions(provider, asked)
        me = await network.me()
        (mention,) = await network.mentions(me, "")
        answer = network.answer(me, mention, "fine", mention.made_at)
        assert await network.send(answer) == await network.send(answer)
        assert not await network.mentions(me, mention.place)
        return mention

    with mocked(tmp_path) as server:
        bob = server.client("bob")
        media = bob.media_post(PNG, mime_type="image/png", file_name="me.png", synchronous=True)
        posted = bob.status_post("@alice is this <any> good?", media_ids=[media])
        mention = ask(server, call)
        assert (mention.post_id, mention.author_name) == (str(posted.id), "bob")
        assert mention.text == "@alice is this <any> good?"
        assert mention.photos == (media.url,)
        assert mention.addressed
        (answer,) = bob.status_context(posted).descendants
        assert (answer.visibility, answer.in_reply_to_id) == ("unlisted", posted.id)
        assert [to.acct for to in answer.mentions] == ["bob"]


def test_the_provider_understands_another_s_limits(tmp_path: Path) -> None:
    limits = config.RateLimitConfig(enabled=True, limit=2, window_seconds=600)

    async def call(provider: Mastodon, credential: Credential) -> None:
        for remaining in (1, 0):
            reply = await provider.page(credential, Query("me"), None, 40)
            assert reply.rate is not None
            assert (reply.rate.limit, reply.rate.remaining) == (2, remaining)
            assert reply.rate.reset_after_s == pytest.approx(600, abs=10)
        with pytest.raises(RateLimited):
            await provider.page(credential, Query("me"), None, 40)

    with mocked(tmp_path, ratelimit=limits) as server:
        ask(server, call)


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        ({"type": "status", "status": 503}, Transient),
        ({"type": "status", "status": 422}, Refused),
        ({"type": "malformed", "truncate": True}, Transient),
        ({"type": "ratelimit"}, RateLimited),
    ],
)
def test_the_provider_names_the_troubles_of_another_s_server(
    tmp_path: Path, effect: dict[str, Any], error: type[Exception]
) -> None:
    with mocked(tmp_path) as server:
        server.client("alice").status_post("#me")
        rule = {"match": {"path": "/api/v1/timelines/*"}, "effect": effect}
        answer = requests.post(f"{server.base_url}/api/v1/_mock/faults", json=rule, timeout=10)
        assert answer.ok, answer.text
        with pytest.raises(error):
            posts_of(server)
