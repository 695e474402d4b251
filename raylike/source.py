"""From settings to the network they name: its endpoint, and the limit of its tokens.

Knows the settings and what a provider needs. Knows nothing of HTTP or stages.
"""

from __future__ import annotations

from actors.budget import Limit
from raylike.config import Settings
from raylike.errors import ConfigError
from raylike.providers import NETWORKS, Endpoint


def endpoint(settings: Settings) -> Endpoint:
    """Where and how the source of a run is reached.

    The simulator's limit is a setting of its own, as its headers, like Instagram's, name no window.

    Raises
    ------
    ConfigError : if the source is no network, or its address is no http(s) URL
    """
    source, collect = settings.source, settings.collect
    if source.name not in NETWORKS:
        raise ConfigError(
            f"{source.name!r} is no network to collect from", "source.name", "choose another --source"
        )
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
    )
