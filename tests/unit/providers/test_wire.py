"""Requests over the session's own connections: each gets its own answer, whatever became of the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from actors.outcomes import ClientError, Credential, Refused, Transient
from raylike.providers import Connection, Endpoint, http
from raylike.providers.base import User
from tests.unit.providers.v1_server import V1Server

ANNA = Credential("anna", SecretStr("1" * 20))


@pytest.fixture
def server() -> Iterator[V1Server]:
    with V1Server() as running:
        running.users = {"1": 100, "2": 200}
        yield running


def connect(server: V1Server, timeout_s: float = 5.0) -> Connection:
    return Connection(Endpoint("instagram_v1", server.base_url, allow_private=True, timeout_s=timeout_s))


async def one(connection: Connection, user_id: str, credential: Credential = ANNA) -> User | ClientError:
    try:
        return (await connection.send(credential, [user_id])).value[0]
    except ClientError as error:
        return error


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(server: V1Server) -> None:
    async def main() -> list[Any]:
        async with connect(server, timeout_s=0.1) as connection:
            server.latency_s = 0.15
            late = await one(connection, "1")
            server.latency_s = 0.0
            await asyncio.sleep(0.1)
            return [late, await one(connection, "2")]

    late, other = asyncio.run(main())
    assert str(late) == "timeout"
    assert (other.user_id, other.followers) == ("2", 200)


def test_a_request_given_up_takes_its_connection_with_it(server: V1Server) -> None:
    async def main() -> User | ClientError:
        async with connect(server) as connection:
            server.latency_s = 0.1
            given_up = asyncio.create_task(one(connection, "1"))
            await asyncio.sleep(0.05)
            given_up.cancel()
            await asyncio.wait([given_up])
            server.latency_s = 0.0
            return await one(connection, "2")

    user = asyncio.run(main())
    assert isinstance(user, User)
    assert user.followers == 200


def test_connections_are_kept_for_the_next_request_also_after_an_error(server: V1Server) -> None:
    peers = set()

    def note(request: web.Request) -> web.Response | None:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=500, text="oh") if request.path.endswith("/1") else None

    async def main() -> list[Any]:
        async with connect(server) as connection:
            return [await one(connection, user_id) for user_id in ("2", "1", "2")]

    server.answer = note
    first, second, third = asyncio.run(main())
    assert (first.followers, str(second), third.followers) == (200, "HTTP 500", 200)
    assert len(peers) == 1


@pytest.mark.parametrize("how", ["chunked", "gzip", "close"])
def test_a_body_may_be_framed_as_the_server_likes(server: V1Server, how: str) -> None:
    def framed(_: web.Request) -> web.Response:
        answer = web.json_response({"meta": {"code": 200}, "data": {"counts": {"followed_by": 7}}})
        if how == "chunked":
            answer.enable_chunked_encoding()
        elif how == "gzip":
            answer.enable_compression(web.ContentCoding.gzip)
        else:
            answer.force_close()
        return answer

    async def main() -> list[Any]:
        async with connect(server) as connection:
            return [await one(connection, "1") for _ in range(2)]

    server.answer = framed
    assert [user.followers for user in asyncio.run(main())] == [7, 7]


def test_what_would_end_the_request_line_is_not_sent(server: V1Server) -> None:
    odd = Credential("eve", SecretStr("a b\r\nX-Evil: 1\r\n\r\n\u2603"))

    async def main() -> tuple[Any, Any]:
        async with connect(server) as connection:
            by_token = await one(connection, "1", odd)
            with pytest.raises(Refused, match="not valid"):
                await connection.provider._wire.get_json("/v1/users/1 HTTP/1.1\r\n")  # type: ignore[attr-defined]
            return by_token, list(server.hits_by_token)

    user, tokens = asyncio.run(main())
    assert user.followers == 100
    assert tokens == [odd.secret.get_secret_value()], "percent-encoded, it arrives whole"


def test_an_endless_answer_is_cut_off(server: V1Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> User | ClientError:
        async with connect(server) as connection:
            return await one(connection, "1")

    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 50)
    answer = asyncio.run(main())
    assert isinstance(answer, Refused)
    assert "more than 50 bytes" in str(answer)


def test_no_http_at_all_is_a_broken_connection() -> None:
    async def main() -> User | ClientError:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        endpoint = Endpoint("instagram_v1", f"http://127.0.0.1:{port}/v1", allow_private=True)
        async with listener, Connection(endpoint) as connection:
            return await one(connection, "1")

    answer = asyncio.run(main())
    assert isinstance(answer, Transient)
    assert "connection broke" in str(answer)
