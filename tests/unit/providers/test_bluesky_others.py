"""The simulated Bluesky as somebody else's client sees it: the atproto SDK signs in, searches, looks up.

So it is not only our own reading of the formats that our provider is tested against. The SDK checks each
answer against models made from the network's own definitions. Importing it takes 0.8 s, and 2 s the first
time, so a fixture does it, once; where it is not installed these tests are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from raylike.simulator.networks.base import Site
from raylike.simulator.networks.bluesky import routes, sessions
from raylike.simulator.world import GONE, OK, PRIVATE
from tests.unit.providers.simulated import simulated


@dataclass(frozen=True)
class Served:
    """A simulated network on a port of this machine, in a thread of its own."""

    site: Site
    network: routes.Bluesky
    base_url: str


@pytest.fixture(scope="module")
def sdk() -> ModuleType:
    return pytest.importorskip("atproto")


@pytest.fixture
def new_client(sdk: ModuleType, served: Served) -> Iterator[Callable[[], Any]]:
    """Makes clients of the SDK, and closes their connections in the end."""
    clients: list[Any] = []

    def new() -> Any:
        clients.append(sdk.Client(served.base_url))
        return clients[-1]

    yield new
    for client in clients:
        client.request.close()


@pytest.fixture
def client(new_client: Callable[[], Any], served: Served) -> Any:
    """A client that has signed in, as an account that is there: it looks at its own profile first."""
    number = int(np.flatnonzero(served.site.world.users.status[:8] == OK)[0])
    identifier, _, password = served.network.logins[number].rpartition(":")
    client = new_client()
    me = client.login(identifier, password)
    assert me.did == served.network.bodies.did(number)
    assert me.followers_count == served.site.world.users.followers[number]
    return client


@pytest.fixture
def served() -> Iterator[Served]:
    with simulated(users=300, tokens=8) as (server, root):
        (network,) = (network for network in server.networks if isinstance(network, routes.Bluesky))
        yield Served(server.site, network, f"{root}/bluesky")


def test_it_signs_in_and_searches(client: Any, sdk: ModuleType, served: Served) -> None:
    world = served.site.world
    posts: dict[str, Any] = {}
    cursor = None
    while True:
        params = {"q": "#me", "tag": ["me"], "sort": "latest", "limit": 100, "cursor": cursor}
        found = client.app.bsky.feed.search_posts(params)
        posts |= {post.uri: post for post in found.posts}
        cursor = found.cursor
        if cursor is None:
            break
    assert len(posts) == world.posts.user.size
    kinds = {post.embed.py_type for post in posts.values()}
    assert kinds == {
        f"app.bsky.embed.{kind}#view" for kind in ("images", "gallery", "recordWithMedia", "video")
    }
    for row in range(50):
        post = posts[served.network.bodies.uri(row)]
        assert post.like_count == world.posts.likes[row]
        assert post.record.facets[0].features[0].tag == "me"
        assert sdk.AtUri.from_str(post.uri).host == post.author.did
    labels = {label.val for post in posts.values() for label in [*post.labels, *post.author.labels]}
    assert {"!no-unauthenticated", "bot"} < labels
    assert any(post.record.labels for post in posts.values())


def test_it_looks_up_accounts_and_posts(client: Any, served: Served) -> None:
    users, told = served.site.world.users, served.network.bodies
    rows = [int(np.flatnonzero(users.status == status)[0]) for status in (OK, PRIVATE, GONE)]
    found = client.get_profiles([told.did(row) for row in rows]).profiles
    assert [profile.did for profile in found] == [told.did(row) for row in rows[:2]]
    assert [profile.followers_count for profile in found] == users.followers[rows[:2]].tolist()
    row = int(np.flatnonzero(users.status[served.site.world.posts.user] == OK)[0])
    (post,) = client.get_posts([told.uri(row)]).posts
    assert post.like_count == served.site.world.posts.likes[row]


def test_it_reads_mentions_and_answers_them_once(client: Any, sdk: ModuleType, served: Served) -> None:
    models = sdk.models
    found = client.app.bsky.notification.list_notifications({"reasons": ["mention"], "limit": 5})
    assert {entry.reason for entry in found.notifications} == {"mention"}
    newest = found.notifications[0]
    assert newest.record.facets[0].features[0].did == client.me.did
    (post,) = client.get_posts([newest.uri]).posts
    assert post.embed.images[0].fullsize.startswith("http")
    older = client.app.bsky.notification.list_notifications({"cursor": found.cursor})
    assert older.notifications[0].indexed_at < found.notifications[-1].indexed_at
    parent = models.create_strong_ref(newest)
    record = models.AppBskyFeedPost.Record(
        text="fine",
        created_at=newest.indexed_at,
        reply=models.AppBskyFeedPost.ReplyRef(parent=parent, root=parent),
    )
    data = models.ComAtprotoRepoPutRecord.Data(
        repo=client.me.did, collection="app.bsky.feed.post", rkey="3k2aaaaaaaaaa", record=record
    )
    first, again = (client.com.atproto.repo.put_record(data) for _ in range(2))
    assert (first.uri, first.cid) == (again.uri, again.cid)
    assert dict(served.site.stats.answered) == {newest.uri: 1}


def test_it_renews_its_session(
    new_client: Callable[[], Any], sdk: ModuleType, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK renews what ends within a quarter of an hour.
    monkeypatch.setattr(sessions, "ACCESS_LIFE_S", 600.0)
    identifier, _, password = served.network.logins[0].rpartition(":")
    client, did = (
        new_client(),
        served.network.bodies.did(int(np.flatnonzero(served.site.world.users.status == OK)[0])),
    )
    events: list[object] = []
    client.on_session_change(lambda event, _: events.append(event))
    client.login(identifier, password, fetch_bsky_profile=False)
    for _ in range(3):
        client.get_profile(did)
    assert events == [sdk.SessionEvent.CREATE] + [sdk.SessionEvent.REFRESH] * 3
    other = new_client()
    other.login(session_string=client.export_session_string(), fetch_bsky_profile=False)
    assert other.get_profile(did).did == did


def test_it_reads_the_errors(client: Any, new_client: Callable[[], Any], served: Served) -> None:
    exceptions = pytest.importorskip("atproto_client.exceptions")
    told = served.network.bodies
    with pytest.raises(exceptions.UnauthorizedError) as caught:
        new_client().login(told.handle(0), "abcd-efgh-ijkl-mnop")
    assert caught.value.response.content.error == "AuthenticationRequired"
    with pytest.raises(exceptions.BadRequestError) as caught:
        client.get_profile("nobody.test")
    assert caught.value.response.content.error == "InvalidRequest"
    with pytest.raises(exceptions.BadRequestError) as caught:
        client.app.bsky.feed.search_posts({"q": "#me", "until": "yesterday"})
    assert caught.value.response.content.error == "BadQueryString"
    served.network.window.hits = 2
    with pytest.raises(exceptions.RateLimitExceededError) as caught:
        client.get_profile(told.did(0))
    assert caught.value.response.content.error == "RateLimitExceeded"
    assert caught.value.response.headers["ratelimit-limit"] == "2"
