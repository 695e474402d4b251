"""Connections that go to public addresses only, whatever a URL, a redirect or a name server says.

Photos' addresses come from strangers. Were any address good, a post could make this machine ask its
own services or the cloud's metadata endpoint, so addresses are checked where the connection is made:
after DNS, on every redirect, and for literal IP addresses, which no resolver ever sees.

Knows aiohttp and IP addresses. Knows nothing of photos or of any network's API.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.resolver import ThreadedResolver

from raylike.errors import ConfigError, ServiceUnavailable

DNS_CACHE_S = 60
"""How long a checked answer is believed; a connection only ever goes to an address that was checked."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses seen through a translating gateway, RFC 6052."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(ServiceUnavailable):
    """An address on this machine, in its network, or otherwise not public."""


def connector(
    resolve: Mapping[str, str], *, allow_private: bool, limit: int = 100, limit_per_host: int = 0
) -> aiohttp.TCPConnector:
    """Return a connector for a `ClientSession` that guards where connections go.

    Parameters
    ----------
    resolve : host name -> "IP:PORT", as curl's --resolve: requests to such a host go there, whatever
        port their URL names and whether or not the address is public
    allow_private : let all other hosts have any address
    limit, limit_per_host : connections in use at once, in all and to one host and port; 0 for no limit.
        As many again as `limit` may be kept open for the next request

    Raises
    ------
    ConfigError : if a value of `resolve` is not of the form IP:PORT
    AddressRefused : from requests, not from here
    """
    pinned = {host.lower(): _endpoint(host, target) for host, target in resolve.items()}
    return _GuardedConnector(pinned, allow_private, limit, limit_per_host)


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the internet at large, also where it wraps an IPv4 address."""
    inner = _wrapped_ipv4(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast


class _GuardedConnector(aiohttp.TCPConnector):
    allowed_protocol_schema_set = frozenset({"http", "https"})

    def __init__(
        self,
        pinned: Mapping[str, tuple[IpAddress, int]],
        allow_private: bool,
        limit: int,
        limit_per_host: int,
    ) -> None:
        resolver = _GuardedResolver(pinned, allow_private)
        super().__init__(
            resolver=resolver, limit=limit, limit_per_host=limit_per_host, ttl_dns_cache=DNS_CACHE_S
        )
        self._allow_private = allow_private

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        if not self._allow_private:
            _refuse_literal(req.url.host or "")
        return await super().connect(req, traces, timeout)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Keep the connection for the next request; of those kept, close the oldest if they get too many.

        aiohttp's own limit counts connections in use only: with many hosts, those kept would use up the
        process's descriptors within the 15 s for which each is kept.
        """
        super()._release(key, protocol, should_close=should_close)
        if self.limit and sum(map(len, self._conns.values())) > self.limit:
            oldest = next(iter(self._conns))
            idle, _ = self._conns[oldest].popleft()
            idle.close()
            if not self._conns[oldest]:
                del self._conns[oldest]


class _GuardedResolver(AbstractResolver):
    """Looks names up in threads, and gives back public addresses only."""

    def __init__(self, pinned: Mapping[str, tuple[IpAddress, int]], allow_private: bool) -> None:
        self._pinned = pinned
        self._allow_private = allow_private
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.lower() in self._pinned:
            return [self._pinned_result(host)]
        found = await self._names.resolve(host, port, family)
        if self._allow_private:
            return found
        public = [result for result in found if is_public(ipaddress.ip_address(result["host"]))]
        if not public:
            raise _refused(host, found[0]["host"] if found else "nothing")
        return public

    def _pinned_result(self, host: str) -> ResolveResult:
        address, port = self._pinned[host.lower()]
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        return ResolveResult(
            hostname=host, host=str(address), port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
        )

    async def close(self) -> None:
        await self._names.close()


@lru_cache(maxsize=1024)
def _refuse_literal(host: str) -> None:
    """Raise `AddressRefused` if a URL's host is an IP address that is not public.

    aiohttp connects to what consists of digits and dots without asking a resolver, and the system may
    read `2130706433` or `127.1` as 127.0.0.1: no honest URL is written so.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if re.fullmatch(r"[\d.]+", host):
            raise _refused(host, host) from None
        return
    if not is_public(address):
        raise _refused(host, host)


def _refused(host: str, address: str) -> AddressRefused:
    what = "is not a public address" if host == address else f"has no public address, only {address}"
    return AddressRefused(what, host, "--allow-private-addresses lets such addresses through")


def _wrapped_ipv4(address: IpAddress) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _endpoint(host: str, target: str) -> tuple[IpAddress, int]:
    address, _, port = target.rpartition(":")
    try:
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError
        return ipaddress.ip_address(address.strip("[]")), number
    except ValueError:
        raise ConfigError(
            f"{target!r} is not of the form IP:PORT", f"source.resolve.{host}", 'such as "127.0.0.1:8080"'
        ) from None
