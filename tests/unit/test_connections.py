"""Where connections may go: by name, by literal address, by redirect, and where a name is pinned."""

from __future__ import annotations

import asyncio
import ipaddress
import pickle
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from raylike import connections
from raylike.connections import AddressRefused, connector, is_public
from raylike.errors import ConfigError


def fetch(url: str, resolve: Mapping[str, str] | None = None, *, allow_private: bool = False) -> str:
    """The text at `url`, fetched through a guarded connector while a small server is up.

    `PORT` in the URL and in `resolve` stands for the server's port.
    """

    async def go(port: int) -> str:
        pinned = {host: target.replace("PORT", str(port)) for host, target in (resolve or {}).items()}
        guard = connector(pinned, allow_private=allow_private)
        async with (
            aiohttp.ClientSession(connector=guard) as session,
            session.get(url.replace("PORT", str(port))) as answer,
        ):
            return await answer.text()

    return asyncio.run(_with_server(go))


async def _with_server(go: Callable[[int], Awaitable[str]]) -> str:
    async def answer(request: web.Request) -> web.Response:
        if target := request.query.get("to"):
            raise web.HTTPFound(target)
        return web.Response(text=f"{request.host} {request.path}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return await go(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def answer_names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let name servers answer with these addresses, one list a look-up."""
    remaining = iter(answers)

    async def resolve(self: Any, host: str, port: int = 0, family: Any = None) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=0)
            for ip in next(remaining)
        ]

    monkeypatch.setattr(connections.ThreadedResolver, "resolve", resolve)


def test_a_pinned_name_goes_to_its_address_and_port_under_its_own_name() -> None:
    text = fetch("http://photos.simulator.test/a.jpg", {"photos.simulator.test": "127.0.0.1:PORT"})
    assert text == "photos.simulator.test /a.jpg"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "localhost",
    ],
)
def test_private_hosts_are_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        fetch(f"http://{host}:PORT/")


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "017700000001"])
def test_odd_spellings_of_loopback_are_refused(host: str) -> None:
    with pytest.raises((AddressRefused, aiohttp.InvalidURL)):
        fetch(f"http://{host}:PORT/")


def test_a_pinned_address_is_not_open_under_its_number() -> None:
    with pytest.raises(AddressRefused):
        fetch("http://127.0.0.1:PORT/", {"photos.simulator.test": "127.0.0.1:PORT"})


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]:1/"]
)
def test_redirects_are_checked(target: str) -> None:
    with pytest.raises(AddressRefused):
        fetch(f"http://simulator.test/?to={target}", {"simulator.test": "127.0.0.1:PORT"})


def test_a_name_with_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_names(monkeypatch, ["192.168.0.7"])
    with pytest.raises(AddressRefused, match=r"photos.example: has no public address, only 192.168.0.7"):
        fetch("http://photos.example/")


def test_private_addresses_among_public_ones_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_names(monkeypatch, ["127.0.0.1", "93.184.215.14"])

    async def look_up() -> list[str]:
        resolver = connections._GuardedResolver({}, allow_private=False)
        return [result["host"] for result in await resolver.resolve("photos.example", 80)]

    assert asyncio.run(look_up()) == ["93.184.215.14"]


def test_a_name_that_turns_private_later_is_refused_then(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_names(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])

    async def look_up_twice() -> None:
        resolver = connections._GuardedResolver({}, allow_private=False)
        await resolver.resolve("photos.example", 80)
        await resolver.resolve("photos.example", 80)

    with pytest.raises(AddressRefused):
        asyncio.run(look_up_twice())


def test_connections_kept_for_later_are_bounded_whatever_the_number_of_hosts() -> None:
    limit, n_hosts, opened, most = 4, 30, set(), [0]

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            opened.add(self)
            most[0] = max(most[0], len(opened))

        def connection_lost(self, exc: Exception | None) -> None:
            opened.discard(self)

        def data_received(self, data: bytes) -> None:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def go() -> int:
        server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hosts = [f"h{i}.test" for i in range(n_hosts)]
        guard = connector({host: f"127.0.0.1:{port}" for host in hosts}, allow_private=False, limit=limit)
        async with aiohttp.ClientSession(connector=guard) as session:

            async def get(host: str) -> str:
                async with session.get(f"http://{host}/") as answer:
                    return await answer.text()

            assert await asyncio.gather(*map(get, hosts * 3)) == ["ok"] * 3 * n_hosts
            await asyncio.sleep(0)
            kept = len(opened)
        server.close()
        return kept

    assert asyncio.run(go()) <= 2 * limit
    assert most[0] < n_hosts / 2  # the server hears of a closed connection a little later


def test_private_addresses_are_open_where_the_user_allows_them() -> None:
    assert fetch("http://127.0.0.1:PORT/x", allow_private=True).endswith(" /x")


@pytest.mark.parametrize("url", ["ftp://example.org/a", "ws://example.org/a", "file:///etc/passwd"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        fetch(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("ff02::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost:80", "127.0.0.1:0", "127.0.0.1:http"])
def test_a_pin_that_is_no_address_and_port_is_a_config_error(target: str) -> None:
    with pytest.raises(ConfigError, match="IP:PORT"):
        connector({"a.test": target}, allow_private=False)


def test_the_refusal_survives_pickling() -> None:
    error = AddressRefused("is not a public address", "127.0.0.1", "a hint")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, AddressRefused)
    assert str(again) == str(error)
