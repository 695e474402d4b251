"""The simulated Instagram as the client of its day sees it: python-instagram pages a tag, looks up, signs in.

So it is not only our own reading of the format that our provider is tested against. Its last release is of
2015; where it is not installed these tests are left out.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from raylike.simulator.networks.instagram_v1.bodies import BANNED_TAGS
from raylike.simulator.server import Server
from raylike.simulator.world import GONE, OK, PRIVATE, World
from tests.unit.providers.simulated import simulated

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::SyntaxWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",  # it leaves its sockets to the garbage collector
)

CALLBACK = "http://127.0.0.1:9/back"


@pytest.fixture
def served() -> Iterator[tuple[Server, str]]:
    with simulated(users=120) as found:
        yield found


@pytest.fixture
def new_client(served: tuple[Server, str]) -> Callable[..., Any]:
    """Makes clients of python-instagram that ask the simulator."""
    client = pytest.importorskip("instagram.client")
    _, root = served

    class Api(client.InstagramAPI):  # type: ignore[misc, name-defined]
        host = urlsplit(root).netloc
        protocol = "http"
        authorize_url = f"{root}/oauth/authorize"
        access_token_url = f"{root}/oauth/access_token"

    return Api


@pytest.fixture
def client(served: tuple[Server, str], new_client: Callable[..., Any]) -> Any:
    server, _ = served
    return new_client(access_token=server.site.first_tokens[0])


def test_it_pages_a_tag_to_its_end(client: Any, served: tuple[Server, str]) -> None:
    posts = served[0].site.world.posts
    pages = client.tag_recent_media(tag_name="me", count=33, as_generator=True, max_pages=None)
    found = {media.id: media for page, _ in pages for media in page}
    world = served[0].site.world
    assert len(found) == posts.user.size
    for row in range(50):
        media = found[world.media_id(row)]
        assert media.like_count == posts.likes[row]
        assert media.user.id == world.user_id(int(posts.user[row]))
        suffix = "mp4" if media.type == "video" else "jpg"
        assert media.get_standard_resolution_url().endswith(f"{world.media_id(row)}.{suffix}")
        assert "me" in {tag.name for tag in media.tags}
        assert media.created_time.replace(tzinfo=UTC).timestamp() == posts.created_s[row]


def test_it_looks_up_accounts(client: Any, served: tuple[Server, str]) -> None:
    world = served[0].site.world
    row = _row(world, OK)
    user = client.user(world.user_id(row))
    assert user.counts["followed_by"] == world.users.followers[row]
    assert client.x_ratelimit_remaining == "4999"
    assert client.x_ratelimit == "5000"


@pytest.mark.parametrize(("status", "kind"), [(PRIVATE, "APINotAllowedError"), (GONE, "APINotFoundError")])
def test_it_reads_why_an_account_is_not_shown(
    client: Any, served: tuple[Server, str], status: int, kind: str
) -> None:
    world = served[0].site.world
    assert _refusal(lambda: client.user(world.user_id(_row(world, status)))) == (400, kind)


def test_it_reads_the_errors(client: Any, new_client: Callable[..., Any]) -> None:
    banned = next(iter(BANNED_TAGS))
    assert _refusal(lambda: client.tag_recent_media(tag_name=banned)) == (400, "APINotAllowedError")
    stranger = new_client(access_token="1.2.3")
    assert _refusal(lambda: stranger.tag_recent_media(tag_name="me")) == (400, "OAuthAccessTokenException")


def test_it_reads_that_a_limit_is_used_up(
    served: tuple[Server, str], client: Any, new_client: Callable[..., Any]
) -> None:
    with simulated(users=120, rate_limit="2/3600") as (server, root):
        new_client.host = urlsplit(root).netloc  # type: ignore[attr-defined]
        limited = new_client(access_token=server.site.first_tokens[0])
        for _ in range(2):
            limited.tag_recent_media(tag_name="me")
        assert _refusal(lambda: limited.tag_recent_media(tag_name="me")) == ("429", "Rate limited")


def test_a_friend_signs_in_with_it(new_client: Callable[..., Any], served: tuple[Server, str]) -> None:
    world = served[0].site.world
    stranger = new_client(client_id="app", client_secret="secret", redirect_uri=CALLBACK)
    sent_back_to = _redirect(stranger.get_authorize_url(scope=["basic"]))
    (code,) = parse_qs(urlsplit(sent_back_to).query)["code"]
    token, user = stranger.exchange_code_for_access_token(code)
    assert user["id"] in {world.user_id(row) for row in range(world.users.status.size)}
    friend = new_client(access_token=token)
    assert friend.user(world.user_id(_row(world, OK))).counts["followed_by"] > 0


def _row(world: World, status: int) -> int:
    return int(np.flatnonzero(world.users.status == status)[0])


def _refusal(call: Callable[[], object]) -> tuple[object, str]:
    """Status and kind of the error that a call meets."""
    bind = pytest.importorskip("instagram.bind")
    with pytest.raises(bind.InstagramAPIError) as caught:
        call()
    return caught.value.status_code, caught.value.error_type


def _redirect(url: str) -> str:
    """Where a page sends the browser, without going there."""

    class Stop(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(Stop).open(url)
    location: str = answer.value.headers["Location"]
    return location
