"""A bot from settings: its account's token, its network, its memory, and what it says of photos.

Knows which class speaks for which network. Knows nothing of the command line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from yarl import URL

from actors.budget import RateBudget
from actors.outcomes import Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from actors.paced import PacedToken
from raylike import source, tokens
from raylike.bot import words
from raylike.bot.bluesky import BlueskyMentions
from raylike.bot.mastodon import MastodonMentions
from raylike.bot.mentions import Me, Network
from raylike.bot.rounds import Say
from raylike.config import Settings
from raylike.errors import ConfigError, CredentialsError, ServiceUnavailable, TryAgainLater
from raylike.place import Place
from raylike.providers import Connection
from raylike.providers.bluesky import Bluesky
from raylike.providers.mastodon import Mastodon
from raylike.scoring.results import Wanted
from raylike.scoring.scorer import Scorer
from raylike.scoring.sources import Reader, Source
from raylike.workspace import Workspace

T = TypeVar("T")

PATIENCE_S = 300.0
"""That a hit waits for its budget: the length of both networks' windows. Beyond, the round ends."""
SCOPES = "read and write:statuses on Mastodon, an app password on Bluesky"


@asynccontextmanager
async def connected(settings: Settings, alias: str | None) -> AsyncIterator[Network]:
    """The network that the settings name, asked with the account's token.

    Raises
    ------
    ConfigError : for a network that the bot does not speak, an alias that is none, several tokens
    CredentialsError : if there is no token
    """
    credential = _credential(settings, alias)
    async with Connection(source.endpoint(settings)) as connection:
        provider = connection.provider
        token = PacedToken(credential, RateBudget(provider.limits), in_flight=1)

        async def ask(send: Callable[[Credential], Awaitable[Reply[T]]]) -> T:
            return await token.call(send, PATIENCE_S)

        if isinstance(provider, Bluesky):
            yield BlueskyMentions(provider, ask)
        elif isinstance(provider, Mastodon):
            yield MastodonMentions(provider, ask)
        else:
            raise ConfigError(
                f"{settings.source.name} has no mentions to answer", "--network", "mastodon or bluesky"
            )


def memory_place(workspace: Workspace, settings: Settings, me: Me) -> Place:
    """Where the account's memory lies in a workspace."""
    host = URL(settings.source.base_url).host if settings.source.base_url else ""
    return Place(workspace.artifact("bot", "-".join(filter(None, [settings.source.name, host, me.name]))))


def speaker(scorer: Scorer, reader: Reader, at_most: int) -> Say:
    """Says what the model thinks of photos, in at most so many characters."""

    def say(addresses: Sequence[str]) -> str:
        photos = reader.read([Source(address, address, remote=True) for address in addresses])
        results = scorer.score(photos, Wanted(explanation=False, crop=len(photos) == 1))
        return words.answer(results, random=scorer.model.random, at_most=at_most)

    return say


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn what ends the bot into the error that a user meets.

    Raises
    ------
    CredentialsError : if the network does not accept the token, or not for this
    TryAgainLater : if the token's allowance is used up for longer than the bot waits
    ServiceUnavailable : if the network refuses, or does not answer as it should
    """
    where = settings.source.base_url or settings.source.name
    try:
        yield
    except TokenRevoked as revoked:
        raise CredentialsError(
            f"the token is not accepted: {revoked}", where, f"the bot needs {SCOPES}"
        ) from None
    except RateLimited as limited:
        raise TryAgainLater(str(limited), where, "the same command goes on where this one stopped") from None
    except (Transient, Refused) as trouble:
        raise ServiceUnavailable(str(trouble), where, "check --base-url") from None


def _credential(settings: Settings, alias: str | None) -> Credential:
    found = tokens.load(settings.source)
    named = [one for one in found if alias in (None, one.alias)]
    if len(named) == 1:
        return named[0]
    aliases = ", ".join(one.alias for one in found)
    what = "there are several tokens" if alias is None else f"there is no token {alias!r}"
    raise ConfigError(what, "--alias", f"one account answers: name one of {aliases}")
