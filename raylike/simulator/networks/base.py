"""What every simulated network is built from, and what it has to offer.

A network answers requests in its own format. Tokens, limits, faults and counts are common: `Gate` lets a
request pass or says how it is refused, and the network puts that into its own words.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from raylike.simulator.faults import LATENCY_S, STALL_S, FaultPlan, unit_hash
from raylike.simulator.limits import Window
from raylike.simulator.oauth import TokenBook
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.stats import Stats
from raylike.simulator.world import World

Json = dict[str, Any]

OWN_CLIENT_ID = "5a1d10ff0e6b4f1c8a7f2b9d3c4e5f60"
"""The application that the first tokens were given to."""
TEST_DOMAIN = ".simulator.test"
PHOTO_HOST = f"photos{TEST_DOMAIN}"
"""Names that stay the same from run to run while the port changes; no DNS knows them."""

_PROXY_PAGE = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>502</h1></body></html>"


@dataclass
class Site:
    """One simulated world and all that its networks share.

    Attributes
    ----------
    first_tokens : given out at the start, to the accounts of rows 0, 1, ...; every network takes them
    clock : seconds, for the limits; tests hand in their own
    sleep : how to wait, for latency and stalls; likewise
    """

    options: SimulatorOptions
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    world: World = field(init=False)
    tokens: TokenBook = field(init=False)
    stats: Stats = field(init=False)
    faults: FaultPlan = field(init=False)
    first_tokens: tuple[str, ...] = field(init=False)
    _attempts: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self.world = World(self.options.seed, self.options.users)
        self.tokens, self.stats = TokenBook(), Stats()
        self.faults = FaultPlan(self.options.seed, self.options.faults, self.options.tokens)
        self.first_tokens = tuple(
            self.tokens.issue(self.next_user_id(), OWN_CLIENT_ID) for _ in range(self.options.tokens)
        )

    def next_user_id(self) -> str:
        """The account that signs in next: everybody in turn, and everybody agrees."""
        return self.world.user_id(len(self.tokens) % self.world.n_users)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        if seconds > 0:
            await self.sleep(seconds)

    def pick_fault(self, kind: str, identity: str) -> str | None:
        """The fault that spoils this request, counted; None if none does."""
        fault = self.faults.pick(kind, identity, self._attempts[kind, identity])
        self._attempts[kind, identity] += 1
        if fault is not None:
            self.stats.faults[fault] += 1
        return fault

    def bases(self, request: web.Request, api_host: str, path: str) -> tuple[str, str]:
        """Where this client finds a network's API, and the photos.

        Addresses in answers follow the Host header: who calls a name of the simulator gets names of that
        kind, everybody else gets 127.0.0.1.
        """
        host, _, port = request.host.partition(":")
        if host.endswith(TEST_DOMAIN):
            suffix = f":{port}" if port else ""
            return f"http://{api_host}{suffix}{path}", f"http://{PHOTO_HOST}{suffix}"
        address = request.get_extra_info("sockname")
        here = f"http://127.0.0.1:{address[1]}"
        return f"{here}{path}", here


class Network(Protocol):
    """One simulated network. Built from a `Site` alone."""

    name: str
    """As in `--source`."""
    path: str
    """Of its API below the server's root."""

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""


class Wording(Protocol):
    """How a network refuses a request."""

    def no_token(self) -> web.Response:
        """No token came with it."""

    def bad_token(self) -> web.Response:
        """The token was never issued, or was revoked."""

    def limited(self, token: int) -> web.Response:
        """One hit too many."""


async def admit(
    site: Site,
    request: web.Request,
    token: int | None,
    windows: Sequence[Window],
    wording: Wording,
    *,
    kind: str,
    identity: str,
    has_token: bool = True,
) -> web.Response | None:
    """Check token, limits and faults; an answer if the request goes no further, else None.

    Parameters
    ----------
    token : the token's number; None if it was never issued
    windows : the limits that this request counts under, all of them
    kind, identity : what is asked for, such as "users" and an id: faults follow from them
    """
    await site.wait(site.options.latency_s)
    if not has_token:
        return wording.no_token()
    if token is None or site.faults.is_revoked(token, site.stats.hits[token]):
        site.stats.bad_tokens += 1
        return wording.bad_token()
    site.stats.count_hit(token, site.clock())
    if not all(window.has_room(token) for window in windows):
        site.stats.violations += 1
        return wording.limited(token)
    for window in windows:
        window.take(token)
    fault = site.pick_fault(kind, identity)
    if fault in ("stall", "latency"):
        await site.wait(STALL_S if fault == "stall" else LATENCY_S)
        return None
    if fault == "rate_limited":
        return wording.limited(token)
    if fault == "reset" and request.transport is not None:
        request.transport.abort()  # what is answered now is never sent
    return None if fault is None else spoiled_answer(fault)


def spoiled_answer(fault: str) -> web.Response:
    """The API answer that a fault gives instead of the right one."""
    match fault:
        case "error_500" | "reset":
            return web.Response(status=500, body=b"Internal Server Error", content_type="text/plain")
        case "error_503":
            return web.Response(status=503)
        case "html":
            return web.Response(body=_PROXY_PAGE, content_type="text/html")
    raise ValueError(f"no answer for fault {fault}")


def noise_of(identity: str, n_bytes: int) -> bytes:
    """Bytes that look random and follow from `identity`; a multiple of 8 of them."""
    return b"".join(int(unit_hash(identity, k) * 2**64).to_bytes(8, "big") for k in range(n_bytes // 8))
