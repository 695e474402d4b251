"""Whether tokens are still good: one hit for each, a page with a single post of the tag #me.

It goes through the providers' own requests, so that it meets what a run would meet. Knows providers and
what can come of a hit. Knows nothing of files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal

from actors.budget import RateReport
from actors.outcomes import Credential, RateLimited, Refused, TokenRevoked, Transient
from raylike.errors import ConfigError, CredentialsError
from raylike.providers import NETWORKS, Connection, Endpoint
from raylike.providers.base import Query
from raylike.providers.bluesky_sessions import default_folder
from raylike.tokens.keeping import scope_of
from raylike.tokens.text import Lent, TokenText

QUERY = Query("me")
AT_ONCE = 8
"""Requests under way: enough for a class of friends, too few to look like an attack."""

State = Literal["ok", "limited", "refused", "unreachable"]


@dataclass(frozen=True)
class Checked:
    """What one hit said of a token.

    Attributes
    ----------
    server : that the token is bound to, if it is
    limit, remaining : hits; None where the network does not say
    used_share : of the allowance, in [0, 1], for networks that tell no numbers of hits
    reset_after_s : until hits made by now no longer count
    reason : why it is not ok
    """

    alias: str
    network: str
    server: str
    state: State
    limit: int | None = None
    remaining: int | None = None
    used_share: float | None = None
    reset_after_s: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """A token and where to ask about it."""

    lent: Lent
    network: str
    base_url: str = ""


def choose(text: TokenText, provider: str | None = None, base_url: str = "") -> tuple[list[Asked], list[str]]:
    """Which tokens to ask about, each once, and where; then why others are left out, in words.

    Parameters
    ----------
    provider : only its tokens and those that are good for all; None: all whose network is known
    base_url : of the API; empty: the server that a token is bound to, or the network's own

    Raises
    ------
    ConfigError : if no provider speaks for the network that is named
    CredentialsError : if no token is left
    """
    if provider is not None and provider not in NETWORKS:
        raise ConfigError(f"{provider} cannot be asked", "--provider", "this version has no provider for it")
    server = scope_of("", base_url).server
    asked: dict[tuple[str, str], Asked] = {}
    left_out: Counter[str] = Counter()
    for lent in text.lent:
        network = provider or lent.scope.provider
        if lent.scope.provider not in ("", network) or (server and lent.scope.server not in ("", server)):
            continue
        if network in NETWORKS:
            asked.setdefault((lent.token, network), Asked(lent, network, base_url or lent.scope.server))
        else:
            left_out[network] += 1
    reasons = [
        f"{n_tokens} not checked: "
        + (f"this version has no provider for {network}" if network else "in no section, so name --provider")
        for network, n_tokens in left_out.items()
    ]
    if not asked:
        raise CredentialsError(
            "there is no token to check", "", "; ".join(reasons) or "`raylike tokens list`"
        )
    return list(asked.values()), reasons


async def check(
    asked: Sequence[Asked], *, allow_private: bool = False, timeout_s: float = 30.0
) -> list[Checked]:
    """Spend one hit a token, a few at once; a row for each, in order.

    Raises
    ------
    ServiceUnavailable : if an address is not public and such are not allowed
    """
    room = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:
        connections: dict[tuple[str, str], Connection] = {}
        for one in asked:
            place = one.network, one.base_url
            if place not in connections:
                endpoint = Endpoint(
                    *place,
                    allow_private=allow_private,
                    timeout_s=timeout_s,
                    session_folder=default_folder(),
                )
                connections[place] = await stack.enter_async_context(Connection(endpoint))

        async def ask(one: Asked) -> Checked:
            async with room:
                return await _ask(connections[one.network, one.base_url], one)

        return list(await asyncio.gather(*map(ask, asked)))


async def _ask(connection: Connection, one: Asked) -> Checked:
    provider = connection.provider
    report = RateReport()
    state: State = "ok"
    reason = ""
    try:
        starts = provider.starts(QUERY)
        reply = await provider.page(one.lent.credential, QUERY, starts[0] if starts else None, 1)
        report = reply.rate or report
    except RateLimited as error:
        state, reason = "limited", str(error)
        report = RateReport(remaining=0, reset_after_s=error.retry_after_s)
    except TokenRevoked as error:
        state, reason = "refused", _safe(str(error), one.lent.credential)
    except (Refused, Transient) as error:  # neither is the token's fault
        state, reason = "unreachable", _safe(str(error), one.lent.credential)
    documented = max(provider.limits, key=lambda limit: limit.window_s, default=None)
    limit = report.limit if report.limit is not None or documented is None else documented.hits
    return Checked(
        one.lent.alias,
        one.network,
        one.lent.scope.server,
        state,
        limit,
        report.remaining,
        report.used_share,
        report.reset_after_s,
        reason,
    )


def _safe(reason: str, credential: Credential) -> str:
    """A server's words, in case it repeats the token in them."""
    return reason.replace(credential.secret.get_secret_value(), credential.label)
