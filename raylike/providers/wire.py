"""GET requests to one server at the least cost, for networks that answer one account a hit.

A session of aiohttp costs 0.10 to 0.12 ms of CPU a request, most of it for objects that describe the request
and the answer. This takes a connection from the session's own connector (so with the same checks of addresses
and certificates, and from the same pool), writes the request as text and lets aiohttp's parser read the
answer: 0.04 ms. What a session does beyond that, following redirects, keeping cookies, sending a request
again, is just what a hit must not do.

Knows aiohttp. Knows nothing of any network's formats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from actors.outcomes import Transient
from raylike.providers.http import (
    TROUBLES,
    JsonAnswer,
    check_status,
    explained,
    parse,
    read_body,
    retry_after_s,
)

FIRST_FINAL_STATUS = 200
"""Those below announce an answer that is still to come."""


class Wire:
    """The way to one server. `session` owns connections, TLS, timeout and the headers sent with each request.

    Parameters
    ----------
    base : any address of the server; only its scheme, host and port count
    """

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self._session = session
        self._base = base
        self._origin: aiohttp.ClientRequest | None = None
        self._head = ""

    async def get_json(
        self,
        target: str,
        pause_s: Callable[[Mapping[str, str]], float | None] = retry_after_s,
    ) -> JsonAnswer:
        """Get JSON, as `http.get_json` does, which see for what it raises.

        Parameters
        ----------
        target : path and query, percent-encoded
        """
        try:
            async with asyncio.timeout(self._session.timeout.total):
                return await self._ask(target, pause_s)
        except TROUBLES as error:
            raise explained(error) from None
        except HttpProcessingError as error:
            raise Transient(f"connection broke: {type(error).__name__}") from None

    async def _ask(self, target: str, pause_s: Callable[[Mapping[str, str]], float | None]) -> JsonAnswer:
        request = self._request(target)
        connector = self._session.connector
        if connector is None or self._origin is None:
            raise aiohttp.ClientConnectionError("the session is closed")
        connection = await connector.connect(self._origin, [], self._session.timeout)
        answered = False
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params()
            transport.write(request)
            message, payload = await protocol.read()
            while message.code < FIRST_FINAL_STATUS:
                message, payload = await protocol.read()
            answered = True
            check_status(message.code, message.headers, pause_s)
            body = await read_body(payload)
        finally:
            # Released, it is closed if anything of the answer is unread. Without an answer it must not go
            # back to the others: the next request would get this one's.
            if answered:
                connection.release()
            else:
                connection.close()
        return JsonAnswer(message.code, message.headers, parse(body, message.code))

    def _request(self, target: str) -> bytes:
        """A request as it goes over the wire. Raises `ValueError` if the target would end its line."""
        if self._origin is None:  # needs the event loop, and is good for all requests
            self._origin = aiohttp.ClientRequest(
                "GET",
                self._base.origin(),
                headers=self._session.headers,
                loop=asyncio.get_running_loop(),
                session=self._session,
            )
            lines = [f"{name}: {value}" for name, value in self._origin.headers.items()]
            self._head = "\r\n".join([" HTTP/1.1", *lines, "", ""])
        if not target.isprintable() or " " in target:
            raise ValueError("no address")
        return f"GET {target}{self._head}".encode("ascii")
