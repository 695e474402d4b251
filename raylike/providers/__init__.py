"""The networks that posts come from, by name, and a connection to one.

Knows which class speaks for which source. Knows nothing of stages, tables or Ray; it is imported in
every token actor, so it stays light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp

from actors.budget import Limit
from actors.outcomes import Credential, Reply
from raylike.connections import connector
from raylike.providers.base import Provider, User
from raylike.providers.bluesky import Bluesky
from raylike.providers.instagram_graph import InstagramGraph
from raylike.providers.instagram_v1 import InstagramV1
from raylike.providers.mastodon import Mastodon, Pixelfed

USER_AGENT = "raylike (research; +https://pypi.org/project/raylike)"


class Network(Protocol):
    """A provider's class: builds one, and tells what is the same for all (see `base.Provider`)."""

    @property
    def home(self) -> str:
        """Address of its API; empty where every server has its own."""

    @property
    def followers_embedded(self) -> bool:
        """Whether posts bring their followers."""

    @property
    def batch_size(self) -> int:
        """Users that one hit looks up."""

    @property
    def reading_size(self) -> int:
        """Known posts that one hit reads again."""

    @property
    def documented_limits(self) -> tuple[Limit, ...]:
        """What the network says that it allows one token."""

    def __call__(
        self, session: aiohttp.ClientSession, base_url: str, limits: tuple[Limit, ...] | None
    ) -> Provider:
        """A provider on a session that is the caller's."""


NETWORKS: dict[str, Network] = {
    "simulator": InstagramV1,
    "instagram_v1": InstagramV1,
    "instagram_graph": InstagramGraph,
    "mastodon": Mastodon,
    "pixelfed": Pixelfed,
    "bluesky": Bluesky,
}
"""What `source.name` may be, apart from files. The simulator is asked in Instagram v1's words."""


@dataclass(frozen=True)
class Endpoint:
    """Where a network is and how to reach it; small and without secrets, so it travels to workers.

    Attributes
    ----------
    name : one of `NETWORKS`
    base_url : of the API; empty: the network's own
    resolve : host -> IP:PORT, for hosts that no name server knows
    timeout_s : for one request, all of it
    limits : of one token; None: as the network documents them
    session_folder : where sessions of those who sign in with a password are kept; None: in memory
    """

    name: str
    base_url: str = ""
    resolve: Mapping[str, str] = field(default_factory=dict)
    allow_private: bool = False
    timeout_s: float = 30.0
    limits: tuple[Limit, ...] | None = None
    session_folder: Path | None = None


def create(endpoint: Endpoint, session: aiohttp.ClientSession) -> Provider:
    """The provider that speaks for an endpoint, on a session that is the caller's."""
    network = NETWORKS[endpoint.name]
    if network is Bluesky:
        return Bluesky(session, endpoint.base_url, endpoint.limits, session_folder=endpoint.session_folder)
    return network(session, endpoint.base_url, endpoint.limits)


class Connection:
    """A provider with a session of its own; as a token actor's client, it looks up users.

    Needs a running event loop. Raises `ConfigError` for an endpoint that the provider cannot speak to.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._session = aiohttp.ClientSession(
            # Requests under way are bounded per token, so not here.
            connector=connector(endpoint.resolve, allow_private=endpoint.allow_private, limit=0),
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
        )
        try:
            self.provider = create(endpoint, self._session)
        except BaseException:
            self._session.detach()  # nothing is open yet, and nobody can close what was not made
            raise
        self.batch_size = self.provider.batch_size
        self.limits = self.provider.limits

    async def send(self, credential: Credential, items: Sequence[str]) -> Reply[list[User]]:
        """Look up at most `batch_size` users in one hit."""
        return await self.provider.users(credential, items)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
