"""Settings of posts and followers: the network, its simulator, how hits are spent, who is kept.

Knows names, ranges and reasons. Knows nothing of the stages that use them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from raylike.config.base import RUNTIME_ONLY, PositiveInt, Seconds, Section

SourceName = Literal[
    "simulator", "files", "instagram_v1", "instagram_graph", "mastodon", "pixelfed", "bluesky"
]
OWN_PHOTOS: frozenset[SourceName] = frozenset({"simulator", "files"})
"""Sources whose photos show nobody, or were given by the user: they may be shown unasked."""


class SourceSettings(Section):
    """Where posts come from."""

    name: SourceName = Field("simulator", description="the offline simulator, imported files, or a network")
    base_url: str = Field("", description="address of the network's API; empty: the source's own")
    tag: str = Field("me", min_length=1, description="hashtag to collect, without #")
    accounts: tuple[str, ...] = Field(
        (), description="names of accounts to read, for networks that are read account by account"
    )
    token_store: Path | None = Field(
        None,
        description="file of tokens, mode 0600; empty: RAYLIKE_TOKENS, else ~/.config/raylike/tokens",
        json_schema_extra=RUNTIME_ONLY,
    )
    tokens: tuple[SecretStr, ...] = Field(
        (), description="tokens handed over in memory; never in a file", json_schema_extra=RUNTIME_ONLY
    )
    allow_private_addresses: bool = Field(
        False, description="accept loopback and private addresses for API and photos"
    )
    resolve: dict[str, str] = Field(
        default_factory=dict,
        description="host name -> IP:PORT, as curl's --resolve; such a host may be private",
        json_schema_extra=RUNTIME_ONLY,
    )


class SimulatorSettings(Section):
    """The offline network. What it holds follows from `seed` and `users` alone."""

    users: PositiveInt = Field(2000, description="accounts; about two posts each")
    tokens: PositiveInt = Field(3, description="OAuth tokens it hands out", json_schema_extra=RUNTIME_ONLY)
    rate_limit: str | None = Field(
        None,
        pattern=r"^\d+/\d+(\.\d+)?$",
        description="hits/window in s, for each token; empty: the network's own",
        json_schema_extra=RUNTIME_ONLY,
    )
    latency_s: Seconds = Field(0.0, description="added to every answer", json_schema_extra=RUNTIME_ONLY)
    faults: dict[str, float] = Field(
        default_factory=dict,
        description="fault -> share of answers, e.g. {error_500 = 0.02, reset = 0.01}",
        json_schema_extra=RUNTIME_ONLY,
    )


class CollectSettings(Section):
    """Which posts are taken, and how hits are spent."""

    min_age_days: float = Field(30.0, ge=0, description="likes of younger posts still grow")
    as_of: datetime | None = Field(None, description="the moment ages are counted from; empty: now")
    max_posts: PositiveInt | None = Field(None, description="stop after this many posts; empty: all")
    page_size: PositiveInt | None = Field(
        None,
        description="posts asked for in one hit; empty: as many as the network gives",
        json_schema_extra=RUNTIME_ONLY,
    )
    also_honour: tuple[Literal["not_discoverable", "locked"], ...] = Field(
        (), description="objections to being collected that are not taken for one by default"
    )
    look_up: bool = Field(
        False, description="ask for followers although posts came with them: they were right at that time"
    )
    tokens_per_actor: PositiveInt | None = Field(
        None,
        description="tokens that share one process; empty: up to 5, and one each where there are CPUs for it",
        json_schema_extra=RUNTIME_ONLY,
    )
    in_flight: PositiveInt = Field(
        16, description="requests under way for one token", json_schema_extra=RUNTIME_ONLY
    )
    wait: bool = Field(
        True,
        description="wait when every token is used up; no: stop with code 75",
        json_schema_extra=RUNTIME_ONLY,
    )
    timeout_s: Seconds = Field(30.0, description="for one API request", json_schema_extra=RUNTIME_ONLY)
    rate_limit: str | None = Field(
        None,
        pattern=r"^[1-9]\d*/\d+(\.\d+)?$",
        description="hits/window in s, for each token; empty: the network's own",
        json_schema_extra=RUNTIME_ONLY,
    )


class CohortSettings(Section):
    """The filter on followers, by median absolute deviation (MAD)."""

    scale: Literal["raw", "log"] = Field("log", description="filter followers, or their logarithm")
    factor: float = Field(1.0, gt=0, description="kept: within factor x 1.4826 x MAD of the median")
