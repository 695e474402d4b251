"""One request to a JSON API: what can go wrong on the way, in the words of `actors.outcomes`.

The session belongs to the caller. Redirects are not followed, so that a token never reaches another
host; answers are read up to a limit; no message holds an address, since a token may be part of it.

Knows aiohttp. Knows nothing of any network's formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from actors.outcomes import RateLimited, Refused, Transient

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A page of 33 posts has about 100 kB."""

ANOTHER_SHAPE = "answers JSON of another shape: no such API there"

HTTP_TOO_MANY = 429
HTTP_SERVER_ERROR = 500
REDIRECTION = 3


@dataclass(frozen=True)
class JsonAnswer:
    """A JSON object or array with the status and headers it came with."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] | list[Any]

    def as_object(self) -> dict[str, Any]:
        """The body, where it has to be an object. Raises `Refused` where it is none."""
        if not isinstance(self.body, dict):
            raise Refused(ANOTHER_SHAPE)
        return self.body

    def as_array(self) -> list[Any]:
        """The body, where it has to be an array. Raises `Refused` where it is none."""
        if not isinstance(self.body, list):
            raise Refused(ANOTHER_SHAPE)
        return self.body


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from a Retry-After header; its date form is left to the budget, as clocks differ."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def next_page(base: URL, address: str) -> URL:
    """The address that a server names as its next page, without a token in it.

    Raises
    ------
    Refused : if it is not valid, or not the server's own: a token goes nowhere else
    """
    try:
        url = URL(address)
        own = url.origin() == base.origin()
    except ValueError:
        raise Refused("names a next page whose address is not valid") from None
    if not own:
        raise Refused(f"names a next page on another host, {url.host}; tokens are not sent there")
    return url.without_query_params("access_token")


async def get_json(
    session: aiohttp.ClientSession,
    url: URL,
    headers: Mapping[str, str] | None = None,
    pause_s: Callable[[Mapping[str, str]], float | None] = retry_after_s,
) -> JsonAnswer:
    """Get JSON, whatever 2xx or 4xx status it comes with, except 429. Parameters as `request_json`'s."""
    return await request_json(session, "GET", url, headers=headers, pause_s=pause_s)


async def request_json(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str] | None = None,
    json_body: Mapping[str, Any] | None = None,
    form: Mapping[str, str] | None = None,
    pause_s: Callable[[Mapping[str, str]], float | None] = retry_after_s,
) -> JsonAnswer:
    """Ask once, and return the JSON of whatever 2xx or 4xx answer comes, except 429.

    Parameters
    ----------
    pause_s : reads from the headers of a refusal how long to wait; None where they do not say

    Raises
    ------
    RateLimited : HTTP 429, or a 503 that says when to come back
    Transient : 5xx, a connection that fails, a timeout, truncated JSON
    Refused : a redirect, a certificate that does not hold, HTML or other text where JSON belongs
    """
    try:
        async with session.request(
            method,
            url,
            headers=headers,
            json=json_body,
            data=form,
            allow_redirects=False,
            middlewares=(_send_once,),
        ) as response:
            check_status(response.status, response.headers, pause_s)
            body = await read_body(response.content)
            return JsonAnswer(response.status, response.headers, parse(body, response.status))
    except TROUBLES as error:
        raise explained(error) from None


TROUBLES = (aiohttp.ClientError, OSError, ValueError)
"""What aiohttp raises when a request fails; a timeout is an `OSError`."""


def explained(error: Exception) -> Refused | Transient:
    """One of `TROUBLES` in the words of `actors.outcomes`."""
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return Refused(f"TLS failed: {_reason(error)}")
    if isinstance(error, TimeoutError):
        return Transient("timeout")
    if isinstance(error, ValueError):
        return Refused("the address is not valid")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Transient(f"no connection: {_reason(error)}")
    return Transient(f"connection broke: {type(error).__name__}")


def check_status(
    status: int, headers: Mapping[str, str], pause_s: Callable[[Mapping[str, str]], float | None]
) -> None:
    """Return if the answer's body is worth reading. Raises as `request_json`."""
    if status == HTTP_TOO_MANY:
        raise RateLimited(pause_s(headers))
    if status >= HTTP_SERVER_ERROR:
        if (wait_s := retry_after_s(headers)) is not None:
            raise RateLimited(wait_s)
        raise Transient(f"HTTP {status}")
    if status // 100 == REDIRECTION:
        raise Refused(f"redirects elsewhere (HTTP {status}); tokens are not sent on")


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again when its connection breaks: a hit that nobody counts."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # never sent, and not sent again
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Transient(f"connection broke: {type(error).__name__}") from None


async def read_body(stream: aiohttp.StreamReader) -> bytes:
    """A body to its end. Raises `Refused` if it is too long."""
    pieces: list[bytes] = []
    left = MAX_ANSWER_BYTES
    while not stream.at_eof():
        piece = stream.read_nowait() if stream.is_eof() else await stream.readany()
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise Refused(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(pieces)


def parse(body: bytes, status: int) -> dict[str, Any] | list[Any]:
    """The JSON of an answer with this status. Raises as `request_json`."""
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        if text[:1] in ("{", "["):
            raise Transient("truncated JSON") from None
        kind = "HTML" if text[:1] == "<" else "no JSON"
        raise Refused(f"answers {kind} (HTTP {status}): no such API there") from None
    if not isinstance(parsed, dict | list):
        raise Refused(ANOTHER_SHAPE)
    return parsed


def _reason(error: aiohttp.ClientConnectorError | aiohttp.ClientError) -> str:
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return getattr(cause, "strerror", None) or type(cause).__name__
