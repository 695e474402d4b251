"""Fetch one file over HTTP from a server that may mean harm: bounded in bytes, time and redirects.

Knows HTTP. Knows nothing of what the file should be, of hosts' turns (`actors/lanes.py`), or of which
addresses are allowed (`connections.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import aiohttp
from yarl import URL

from actors.outcomes import RateLimited, Transient
from raylike.connections import AddressRefused

CHUNK_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
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
    status : gone, refused_address, too_large, too_many_redirects, http_error or connection
    error : the same in words
    """

    def __init__(self, status: str, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


class PassingFault(Transient):
    """The file could not be had this time. `status` is timeout, truncated, http_error or connection."""

    def __init__(self, status: str, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


def open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session for strangers' servers: no cookies, no proxies, nothing decompressed."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        headers={
            "User-Agent": f"raylike/{version('raylike')}",
            "Accept": "image/jpeg, image/png, image/webp, */*;q=0.1",
            "Accept-Encoding": "identity",
        },
    )


async def fetch(session: aiohttp.ClientSession, url: str, limits: FetchLimits) -> bytes:
    """Return the file at `url`, redirects followed.

    Raises
    ------
    Rejected, PassingFault : as they say
    RateLimited : if the server asks to wait
    """
    try:
        async with asyncio.timeout(limits.timeout_s):
            return await _follow(session, URL(url), limits)
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
        raise PassingFault("connection", _words(error)) from None


async def _follow(session: aiohttp.ClientSession, url: URL, limits: FetchLimits) -> bytes:
    for _ in range(limits.max_redirects + 1):
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status not in REDIRECTS:
                _judge(answer)
                return await _body(answer, limits.max_bytes)
            target = answer.headers.get("Location")
        if not target:
            raise Rejected("http_error", f"HTTP {answer.status} without Location")
        url = url.join(URL(target))
    raise Rejected("too_many_redirects", f"more than {limits.max_redirects}, the last to {url}")


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
    retry_after_s = _retry_after_s(answer.headers.get("Retry-After"))
    if status == 429 or (status == 503 and retry_after_s is not None):
        raise RateLimited(retry_after_s)
    if status in TRY_AGAIN:
        raise PassingFault("http_error", f"HTTP {status}")
    raise Rejected("http_error", f"HTTP {status}")


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    announced = answer.content_length
    if announced is not None and announced > max_bytes:
        raise Rejected("too_large", f"{announced} bytes announced, {max_bytes} allowed")
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
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
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _words(error: Exception) -> str:
    """An error's text without line breaks, or its kind where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__
