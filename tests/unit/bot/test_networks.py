"""Mentions on the simulated Mastodon and Bluesky: read, answered once, refused without the right scope."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.bot import opening
from raylike.bot.bluesky import BlueskyMentions, record_key
from raylike.bot.mastodon import MastodonMentions
from raylike.bot.mentions import Me, Mention, Network
from raylike.config import Settings, resolve
from raylike.errors import ConfigError, CredentialsError, RaylikeError
from raylike.providers.http import JsonAnswer
from raylike.simulator.mentions import KINDS
from raylike.simulator.networks.mastodon import mentions as simulated_mastodon
from raylike.simulator.server import Server
from raylike.simulator.world import GONE
from tests.unit.providers.simulated import simulated

NETWORKS = ("mastodon", "bluesky")


class Served:
    """A simulated network, and the settings that lead to it."""

    def __init__(self, name: str, server: Server, root: str) -> None:
        self.name, self.server, self.root = name, server, root
        there = np.flatnonzero(server.site.world.users.status[:8] != GONE)
        self.number = int(there[0])
        self.secrets = server.logins[name] if name == "bluesky" else server.site.first_tokens

    def settings(self, *secrets: str) -> Settings:
        chosen = resolve({"source": {"name": self.name, "base_url": f"{self.root}/{self.name}",
                          "allow_private_addresses": True}}, environ={}).settings  # fmt: skip
        tokens = tuple(map(SecretStr, secrets or [self.secrets[self.number]]))
        return chosen.model_copy(update={"source": chosen.source.model_copy(update={"tokens": tokens})})

    def call(self, test: Callable[[Network], Awaitable[Any]], *secrets: str) -> Any:
        async def body() -> Any:
            async with opening.connected(self.settings(*secrets), None) as network:
                return await test(network)

        return asyncio.run(body())


@pytest.fixture(params=NETWORKS)
def served(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: Any) -> Iterator[Served]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with simulated(users=120, tokens=8) as (server, root):
        yield Served(request.param, server, root)


async def read(network: Network) -> tuple[Me, list[Mention]]:
    me = await network.me()
    return me, list(await network.mentions(me, ""))


def test_mentions_are_read_the_oldest_first_with_what_speaks_against_an_answer(served: Served) -> None:
    _, found = served.call(read)
    assert len(found) == len(KINDS)
    assert found == sorted(found, key=lambda mention: mention.made_at)
    told = {
        kind: (bool(mention.photos), mention.is_bot, "#nobot" in mention.profile, mention.addressed)
        for kind, mention in zip(KINDS, found, strict=True)
    }
    assert told == {
        "photo": (True, False, False, True),
        "no photo": (False, False, False, True),
        "no bots": (True, False, True, True),
        "bot": (True, True, False, True),
        # Whether a reply has a photo is not looked up where it does not ask for anything.
        "reply": (served.name == "mastodon", False, False, False),
    }
    assert "is this any good?" in found[0].text


def test_after_a_place_only_later_ones_come(served: Served) -> None:
    async def test(network: Network) -> None:
        me, found = await read(network)
        rest = [mention.post_id for mention in await network.mentions(me, found[4].place)]
        # Bluesky's places are moments: the one at the place itself comes again.
        assert [post for post in rest if post != found[4].post_id] == [one.post_id for one in found[5:]]

    served.call(test)


def test_pages_are_read_to_the_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mastodon", "bluesky"):
        monkeypatch.setattr(f"raylike.bot.{module}.PAGE", 2)

    async def test(network: Network) -> None:
        me, newest = await read(network)
        assert len(newest) <= 2
        oldest = (await network.mentions(me, newest[0].place))[0]
        since = "1" if served.name == "mastodon" else "2001-01-01T00:00:00.000Z"
        everything = await network.mentions(me, since)
        assert len(everything) == len(KINDS) - (served.name == "mastodon")
        assert oldest.post_id in {mention.post_id for mention in everything}

    served.call(test)


def test_an_answer_that_is_sent_again_is_not_made_again(served: Served) -> None:
    async def test(network: Network) -> None:
        me, found = await read(network)
        answer = network.answer(me, found[0], "fine", datetime(2026, 3, 1, tzinfo=UTC))
        assert await network.send(answer) == await network.send(answer)
        await network.send(network.answer(me, found[1], "fine", datetime(2026, 3, 1, tzinfo=UTC)))

    served.call(test)
    answered = served.server.site.stats.answered
    assert list(answered.values()) == [1, 1]


def test_an_answer_that_is_too_long_or_to_nothing_is_refused(served: Served) -> None:
    async def test(network: Network) -> None:
        me, found = await read(network)
        with pytest.raises(Refused):
            await network.send(network.answer(me, found[0], "x" * 501, found[0].made_at))
        if served.name == "mastodon":
            with pytest.raises(Refused, match="does not appear to exist"):
                await network.send(network.answer(me, replace(found[0], post_id="7"), "x", found[0].made_at))

    served.call(test)


def test_a_token_that_is_none_is_told_apart_from_several(served: Served) -> None:
    with pytest.raises(TokenRevoked):
        served.call(read, "anna:abcd-abcd-abcd-abcd")
    with pytest.raises(ConfigError, match="several"):
        served.call(read, *served.secrets[:2])
    with pytest.raises(CredentialsError, match="not accepted"), opening.explained(served.settings()):
        raise TokenRevoked("HTTP 403")


@pytest.mark.parametrize(
    ("trouble", "exit_code"),
    [
        (TokenRevoked("HTTP 403"), 77),
        (RateLimited(400.0), 75),
        (Transient("HTTP 502"), 69),
        (Refused("no"), 69),
    ],
)
def test_what_ends_the_bot_has_its_exit_code(served: Served, trouble: Exception, exit_code: int) -> None:
    with pytest.raises(RaylikeError) as ended, opening.explained(served.settings()):
        raise trouble
    assert ended.value.exit_code == exit_code


def test_mastodon_refuses_a_token_that_may_only_read() -> None:
    with simulated(users=120, tokens=8) as (server, root):
        served = Served("mastodon", server, root)
        (network,) = (network for network in server.networks if network.name == "mastodon")
        secret = served.secrets[served.number]
        network.sign_in._scopes[secret] = "read"  # type: ignore[attr-defined]

        async def test(network: Network) -> None:
            me, found = await read(network)
            await network.send(network.answer(me, found[0], "fine", found[0].made_at))

        with pytest.raises(TokenRevoked, match="outside the authorized scopes"):
            served.call(test)


def test_mastodon_forgets_a_key_after_an_hour_later_than_the_bot_trusts_it() -> None:
    assert MastodonMentions.repeatable_s < simulated_mastodon.KEY_LIFE_S


def test_answers_to_public_posts_spare_the_timelines() -> None:
    network = MastodonMentions(None, None)  # type: ignore[arg-type]
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for asked, answered in {"public": "unlisted", "unlisted": "unlisted", "direct": "direct"}.items():
        mention = Mention("1", "1", "2", "anna", at, thread={"visibility": asked})
        assert network.answer(Me("1", "bot"), mention, "x", at)["form"]["visibility"] == answered


@given(st.text(min_size=1), st.text(min_size=1), st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)))
def test_record_keys_are_the_networks_and_follow_from_the_post(a: str, b: str, moment: datetime) -> None:
    keys = [record_key(uri, moment.replace(tzinfo=UTC)) for uri in (a, b, a)]
    for key in keys:
        assert len(key) == 13
        assert set(key) <= set("234567abcdefghijklmnopqrstuvwxyz")
        assert key[0] in "234567abcdefghij"  # atproto.com, specs/tid: the highest bit is 0
    assert keys[0] == keys[2]


NOTHING = object()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), name=st.sampled_from(NETWORKS))
@settings(max_examples=150, deadline=None)
def test_whatever_a_server_says_mentions_are_whole_or_left_out(data: st.DataObject, name: str) -> None:
    body = BODIES[name]
    place = data.draw(st.sampled_from(list(_places(body))))
    read_from(name, _with(body, place, data.draw(JSON)))


@pytest.mark.parametrize("name", NETWORKS)
def test_whatever_a_server_leaves_out_mentions_are_whole_or_left_out(name: str) -> None:
    places = [place for place in _places(BODIES[name]) if place]
    found = [read_from(name, _with(BODIES[name], place, NOTHING)) for place in places]
    assert {len(mentions) for mentions in found} == {0, 1}
    (mention,) = read_from(name, BODIES[name])
    assert mention.photos == ("https://photos.test/1.jpg",)


def read_from(name: str, body: Any) -> list[Mention]:
    """The mentions in what a server answers to everything; each can be answered."""

    class Provider:
        async def call(self, credential: Credential, *_: Any, **__: Any) -> Any:
            if name == "mastodon":
                return JsonAnswer(200, {}, body)
            return Reply(body if isinstance(body, dict) else {})

        def rate(self, headers: Any) -> None:
            return None

    async def ask(send: Any) -> Any:
        return (await send(Credential("a", SecretStr("s")))).value

    kind: Any = MastodonMentions if name == "mastodon" else BlueskyMentions
    me = Me("1" if name == "mastodon" else "did:plc:me", "bot")
    network = kind(Provider(), ask)

    async def test() -> list[Mention]:
        found: list[Mention] = []
        with suppress(Refused):
            found += await network.mentions(me, "")
        return found

    found = asyncio.run(test())
    for mention in found:
        assert mention.post_id
        assert mention.author_name.isprintable()
        assert " " not in mention.author_name
        assert all(isinstance(address, str) for address in mention.photos)
        assert network.answer(me, mention, "x", mention.made_at)
    return found


MASTODON: Any = [
    {
        "id": "5",
        "type": "mention",
        "status": {
            "id": "9",
            "created_at": "2026-03-01T12:00:00.000Z",
            "visibility": "public",
            "content": "<p>hello</p>",
            "account": {"id": "3", "acct": "anna", "note": "", "fields": [{"name": "a", "value": "b"}]},
            "mentions": [{"id": "1"}],
            "media_attachments": [{"type": "image", "url": "https://photos.test/1.jpg"}],
        },
    }
]
URI = "at://did:plc:anna/app.bsky.feed.post/3k2a"
BLUESKY: Any = {
    "notifications": [
        {
            "uri": URI,
            "cid": "bafy",
            "author": {"did": "did:plc:anna", "handle": "anna.test", "labels": [{"val": "bot"}]},
            "indexedAt": "2026-03-01T12:00:00.000Z",
            "record": {
                "text": "hello",
                "facets": [{"features": [{"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:me"}]}],
            },
        }
    ],
    "posts": [
        {
            "uri": URI,
            "embed": {
                "$type": "app.bsky.embed.images#view",
                "images": [{"fullsize": "https://photos.test/1.jpg"}],
            },
        }
    ],
}


BODIES = {"mastodon": MASTODON, "bluesky": BLUESKY}


def _places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, part in inner:
        yield from _places(part, (*at, key))


def _with(body: Any, place: tuple[Any, ...], part: Any) -> Any:
    """The body with one of its parts replaced, or taken out where `part` is NOTHING."""
    if not place:
        return part
    key, *rest = place
    inner = _with(body[key], tuple(rest), part)
    if inner is NOTHING:
        return {k: v for k, v in body.items() if k != key} if isinstance(body, dict) else []
    if isinstance(body, dict):
        return {**body, key: inner}
    return [inner if i == key else entry for i, entry in enumerate(body)]
