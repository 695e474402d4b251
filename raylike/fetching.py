"""Fetch one file over HTTP from a server that may mean harm: bounded in bytes, time and redirects.

Knows HTTP. Knows nothing of what the file should be, of hosts' turns (`actors/lanes.py`), of which
addresses are allowed (`connections.py`), or of what servers ask robots to leave alone (`robots.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Protocol, TypeVar

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from actors.lanes import Unanswered
from actors.outcomes import RateLimited, Transient
from raylike.connections import AddressRefused

T = TypeVar("T")

AGENT = "raylike"
"""The product token of the User-Agent header: the name that robots.txt may call us by (RFC 9309, 2.2.1)."""

CONNECT_TIMEOUT_S = 10.0
LONGEST_WAIT_S = 7 * 24 * 3600.0
"""More than this is said by mistake or malice, and means no more to a run."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({404, 410})
TRY_AGAIN = frozenset({408, 425, 500, 502, 503, 504})
"""Answers after which the same request may succeed; 429 and a 503 with Retry-After pause the host, too."""


@dataclass(frozen=True)
class FetchLimits:
    """What one file may cost: bytes, seconds for one try with all its redirects, redirects."""

    max_bytes: int
    timeout_s: float
    max_redirects: int


class Rejected(Exception):
    """The file cannot be had, and asking again would not help.

    Parameters
    ----------
    status : gone, disallowed, refused_address, too_large, too_many_redirects, not_an_image, http_error or
        connection
    error : the same in words
    """

    def __init__(self, status: str, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


class PassingFault(Transient):
    """The file could not be had this time.

    Parameters
    ----------
    status : timeout, truncated, http_error, connection or robots_unreachable
    error : the same in words
    """

    def __init__(self, status: str, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


class HostSilent(PassingFault, Unanswered):
    """The host that the address names gives no answer, or none about what it allows."""


class Rules(Protocol):
    """What a server lets us fetch; each method raises `Rejected` where it does not."""

    async def check_address(self, url: URL) -> None:
        """Called before a URL is asked for, also one that a redirect names."""

    def check_headers(self, headers: CIMultiDictProxy[str]) -> None:
        """Called before the body of an answer is read."""


def open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session for strangers' servers: no cookies, no proxies, nothing decompressed."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        headers={
            "User-Agent": f"{AGENT}/{version('raylike')}",
            "Accept": "image/jpeg, image/png, image/webp, */*;q=0.1",
            "Accept-Encoding": "identity",
        },
    )


async def fetch(
    session: aiohttp.ClientSession, url: str, limits: FetchLimits, rules: Rules | None = None
) -> bytes:
    """Return the file at `url`, redirects followed. Raises as `follow` does."""

    async def read(answer: aiohttp.ClientResponse) -> bytes:
        _judge(answer)
        if rules is not None:
            rules.check_headers(answer.headers)
        return await _body(answer, limits.max_bytes)

    return await follow(session, url, limits, read, rules)


async def follow(
    session: aiohttp.ClientSession,
    url: str,
    limits: FetchLimits,
    read: Callable[[aiohttp.ClientResponse], Awaitable[T]],
    rules: Rules | None = None,
) -> T:
    """Return what `read` makes of the first answer that is no redirect.

    Raises
    ------
    Rejected, PassingFault : as they say
    RateLimited : if the server asks to wait
    """
    hops = 0
    try:
        async with asyncio.timeout(limits.timeout_s):
            address = URL(url)
            while hops <= limits.max_redirects:
                if rules is not None:
                    await rules.check_address(address)
                async with session.get(address, allow_redirects=False) as answer:
                    if answer.status not in REDIRECTS:
                        return await read(answer)
                    address = address.join(URL(_target(answer)))
                hops += 1
        raise Rejected("too_many_redirects", f"more than {limits.max_redirects}, the last to {address}")
    except HostSilent as silent:
        raise _silent(silent.status, silent.error, hops) from None
    except aiohttp.ServerTimeoutError:
        raise _silent("timeout", f"no connection within {CONNECT_TIMEOUT_S:g} s", hops) from None
    except TimeoutError:
        raise PassingFault("timeout", f"not complete after {limits.timeout_s:g} s") from None
    except AddressRefused as error:
        raise Rejected("refused_address", f"{error.where} {error.what}") from None
    except (ValueError, aiohttp.NonHttpUrlClientError, aiohttp.InvalidURL) as error:
        raise Rejected("refused_address", f"no http or https address: {_words(error)}") from None
    except aiohttp.ClientPayloadError as error:
        raise PassingFault("truncated", f"the connection ended early: {_words(error)}") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise Rejected("connection", f"bad certificate: {_words(error)}") from None
    except aiohttp.ClientResponseError as error:
        raise Rejected("http_error", f"no valid HTTP: {_words(error)}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _silent("connection", _words(error), hops) from None


def _target(answer: aiohttp.ClientResponse) -> str:
    target = answer.headers.get("Location")
    if not target:
        raise Rejected("http_error", f"HTTP {answer.status} without Location")
    return target


def _silent(status: str, error: str, hops: int) -> PassingFault:
    """A host without an answer; only before the first redirect is it the one that the address names."""
    return PassingFault(status, error) if hops else HostSilent(status, error)


def _judge(answer: aiohttp.ClientResponse) -> None:
    """Return for an answer whose body is wanted; raise for any other."""
    status = answer.status
    if status == 200:
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise Rejected("not_an_image", f"compressed by {encoding[:20]}, though not asked to")
        return
    if status in GONE:
        raise Rejected("gone", f"HTTP {status}")
    refuse_haste(answer)
    if status in TRY_AGAIN:
        raise PassingFault("http_error", f"HTTP {status}")
    raise Rejected("http_error", f"HTTP {status}")


def refuse_haste(answer: aiohttp.ClientResponse) -> None:
    """Raise `RateLimited` if the server asks to wait."""
    retry_after_s = _retry_after_s(answer.headers.get("Retry-After"))
    if answer.status == 429 or (answer.status == 503 and retry_after_s is not None):
        raise RateLimited(retry_after_s)


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    announced = answer.content_length
    if announced is not None and announced > max_bytes:
        raise Rejected("too_large", f"{announced} bytes announced, {max_bytes} allowed")
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():  # what has come in, at most twice the read buffer
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:  # leaving unread what follows closes the connection
            raise Rejected("too_large", f"more than {max_bytes} bytes")
    return b"".join(chunks)


def _retry_after_s(text: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_S)


def _words(error: Exception) -> str:
    """An error's text without line breaks, or its kind where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__
