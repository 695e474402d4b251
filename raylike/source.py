"""From settings to the network they name: its endpoint, the question to it, and words for its troubles.

Knows the settings and what a provider needs. Knows nothing of HTTP or stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actors.budget import Limit
from actors.outcomes import AllUsedUp, NoTokenLeft, Refused, Transient
from raylike.config import Settings
from raylike.errors import ConfigError, CredentialsError, ServiceUnavailable, TryAgainLater
from raylike.providers import NETWORKS, Endpoint, Network
from raylike.providers.base import Query
from raylike.providers.bluesky_sessions import default_folder

GO_ON = "the same command goes on where this one stopped"


def network(settings: Settings) -> Network:
    """What is known of the source's network without asking it. Raises `ConfigError` if it is none."""
    try:
        return NETWORKS[settings.source.name]
    except KeyError:
        raise ConfigError(
            f"{settings.source.name!r} is no network to collect from",
            "source.name",
            "choose another --source",
        ) from None


def endpoint(settings: Settings) -> Endpoint:
    """Where and how the source of a run is reached.

    The simulator's limit is a setting of its own, as its headers, like Instagram's, name no window.

    Raises
    ------
    ConfigError : if the source is no network, or its address is no http(s) URL
    """
    source, collect = settings.source, settings.collect
    network(settings)
    if source.base_url and not source.base_url.startswith(("http://", "https://")):
        raise ConfigError(f"{source.base_url!r} is no http(s) address", "source.base_url")
    rate_limit = collect.rate_limit
    if rate_limit is None and source.name == "simulator":
        rate_limit = settings.simulator.rate_limit
    return Endpoint(
        source.name,
        source.base_url,
        dict(source.resolve),
        source.allow_private_addresses,
        collect.timeout_s,
        None if rate_limit is None else (Limit.parse(rate_limit),),
        default_folder(),
    )


def limits(settings: Settings) -> tuple[Limit, ...]:
    """What one token is allowed, by the settings or else as the network documents it."""
    return endpoint(settings).limits or network(settings).documented_limits


def query(settings: Settings) -> Query:
    """What the network is asked for."""
    return Query(settings.source.tag, settings.source.accounts)


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn what ends a collection early into the error that a user meets.

    Raises
    ------
    TryAgainLater : when all tokens are used up, and nobody wants to wait
    CredentialsError : when the network accepts none of the tokens any more
    ServiceUnavailable : when it refuses, or does not answer as it should
    """
    source = settings.source
    where = source.base_url or source.name
    try:
        yield
    except AllUsedUp as used_up:
        raise TryAgainLater(
            f"all tokens are used up; the next hit is free in {used_up.wait_s:.0f} s", source.name, GO_ON
        ) from None
    except NoTokenLeft as none_left:
        reasons = "; ".join(f"{token}: {why}" for token, why in none_left.reasons.items())
        raise CredentialsError(
            f"no token is left: {reasons}", source.name, f"renew the tokens: {GO_ON}"
        ) from None
    except (Transient, Refused) as trouble:
        raise ServiceUnavailable(
            str(trouble), f"#{source.tag} at {where}", f"check --base-url and --tag: {GO_ON}"
        ) from None
