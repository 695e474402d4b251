"""What servers ask robots to leave alone: robots.txt and the header X-Robots-Tag.

robots.txt is asked for once a host and kept; a host that cannot say what it allows allows nothing. The
header may forbid an answer that has already begun, so it is looked at before the body is read.

Sources: RFC 9309; Google Search Central, "Robots meta tag, data-nosnippet, and X-Robots-Tag"; noai and
noimageai as introduced by DeviantArt, November 2022. Knows HTTP through `fetching.py`. Knows nothing of
photos.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDictProxy
from protego import Protego
from yarl import URL

from raylike.fetching import AGENT, FetchLimits, HostSilent, PassingFault, Rejected, follow, refuse_haste

LIMITS = FetchLimits(max_bytes=512 * 1024, timeout_s=10.0, max_redirects=5)
"""RFC 9309 asks for at least 500 KiB (2.5) and five redirects (2.3.1.2). What lies beyond is not read."""

MAX_AGE_S = 24 * 3600.0
"""No copy is used for longer, RFC 9309, 2.4."""

KEPT_BYTES = 64 * 2**20
ENTRY_BYTES = 1024
"""Bound on all copies together, and what one without rules is taken to hold. The least lately used go."""

FORBIDDING = frozenset({"noai", "noimageai", "noindex", "none"})
"""Directives of X-Robots-Tag under which a file is left alone; `none` is noindex and nofollow."""

WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives that look like `AGENT: directive`, too."""

USER_AGENT_LINE = re.compile(r"\s*user[- ]?agent\b\s*:?\s*([^#]*)", re.IGNORECASE)
PRODUCT_TOKEN = re.compile(r"[a-z_-]+")

Origin = tuple[str, str | None, int | None]
"""Scheme, host and port: what a robots.txt speaks for."""


@dataclass(frozen=True)
class _Site:
    """What a host's robots.txt says; without rules everything is allowed."""

    rules: Protego | None
    size: int
    read_at: float

    def allows(self, url: URL) -> bool:
        return self.rules is None or self.rules.can_fetch(str(url), AGENT)


class Robots:
    """The rules of all hosts that were met so far.

    Parameters
    ----------
    session : robots.txt is asked for through it, so that the same addresses are refused
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._sites: OrderedDict[Origin, _Site] = OrderedDict()
        self._kept_bytes = 0
        self._asking: dict[Origin, asyncio.Task[_Site]] = {}

    async def check_address(self, url: URL) -> None:
        """Return if the host lets us fetch `url`.

        Raises
        ------
        Rejected : if it does not
        HostSilent, RateLimited : if it could not be asked this time
        """
        origin = (url.scheme, url.host, url.port)
        site = self._sites.get(origin)
        if site is None or time.monotonic() - site.read_at > MAX_AGE_S:
            site = await self._ask(origin, url)
        else:
            self._sites.move_to_end(origin)
        if not site.allows(url):
            raise Rejected("disallowed", f"robots.txt of {url.host} disallows {url.raw_path[:100]}")

    def check_headers(self, headers: CIMultiDictProxy[str]) -> None:
        """Raise `Rejected` if the answer's X-Robots-Tag forbids to use it."""
        word = forbidden_by(headers.getall("X-Robots-Tag", ()))
        if word is not None:
            raise Rejected("disallowed", f"X-Robots-Tag: {word}")

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, origin: Origin, url: URL) -> _Site:
        """Read the host's robots.txt, once for all who wait for it."""
        task = self._asking.get(origin)
        if task is None:
            task = asyncio.create_task(self._load(origin, str(url.origin().with_path("/robots.txt"))))
            task.add_done_callback(_take_note)
            self._asking[origin] = task
        return await asyncio.shield(task)  # one who runs out of time must not take it from the others

    async def _load(self, origin: Origin, address: str) -> _Site:
        try:
            site = await self._read(address)
        finally:
            del self._asking[origin]
        self._keep(origin, site)
        return site

    async def _read(self, address: str) -> _Site:
        try:
            body = await follow(self._session, address, LIMITS, _rules_in)
        except PassingFault as fault:
            raise HostSilent(fault.status, f"robots.txt: {fault.error}") from None
        except Rejected as rejected:
            if rejected.status != "too_many_redirects":
                raise Rejected(rejected.status, f"robots.txt: {rejected.error}") from None
            body = b""  # as if there were none, RFC 9309, 2.3.1.2
        rules = await asyncio.to_thread(parse, body) if body.strip() else None
        return _Site(rules, ENTRY_BYTES + len(body), time.monotonic())

    def _keep(self, origin: Origin, site: _Site) -> None:
        old = self._sites.pop(origin, None)
        self._kept_bytes += site.size - (old.size if old else 0)
        self._sites[origin] = site
        while self._kept_bytes > KEPT_BYTES:
            _, oldest = self._sites.popitem(last=False)
            self._kept_bytes -= oldest.size


def parse(body: bytes) -> Protego:
    """Read a robots.txt.

    Agents other than ours are made one first: a file that lists thousands of them above thousands of rules
    would otherwise become as many rules as their product.
    """
    lines = []
    for line in body.decode("utf-8-sig", "replace").splitlines():
        found = USER_AGENT_LINE.match(line)
        lines.append(f"User-agent: {_whom(found[1])}" if found else line)
    return Protego.parse("\n".join(lines))


def forbidden_by(values: Sequence[str]) -> str | None:
    """The first directive that forbids us the answer, among all X-Robots-Tag headers of an answer.

    `noindex` concerns everybody; after `AGENT:` all that follows in the same header concerns that agent.
    """
    for value in values:
        agent = "*"
        for part in value.lower().split(","):
            name, colon, rest = part.partition(":")
            directive = name.strip()
            if colon and directive not in WITH_VALUE:
                agent, directive = directive, rest.strip()
            if agent in ("*", AGENT) and directive in FORBIDDING:
                return directive
    return None


def _take_note(task: asyncio.Task[_Site]) -> None:
    """Look at how it ended, also where nobody waits any more; asyncio would complain otherwise."""
    if not task.cancelled():
        task.exception()


def _whom(agent: str) -> str:
    """`*`, our own name, or `other`."""
    token = PRODUCT_TOKEN.match(agent.lower())
    if token is not None and token[0] == AGENT:
        return AGENT
    return "*" if agent.strip() == "*" else "other"


async def _rules_in(answer: aiohttp.ClientResponse) -> bytes:
    """The body of a robots.txt as far as it counts; nothing where the host has none (RFC 9309, 2.3.1)."""
    refuse_haste(answer)
    if 400 <= answer.status < 500:
        return b""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if not 200 <= answer.status < 300 or encoding != "identity":
        what = f"HTTP {answer.status}" if encoding == "identity" else f"compressed by {encoding[:20]}"
        raise PassingFault("robots_unreachable", what)
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= LIMITS.max_bytes:
            break  # leaving unread what follows closes the connection
    return bytes(body[: LIMITS.max_bytes])
