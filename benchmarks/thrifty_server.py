"""A server that answers every look-up of an account alike, at about a sixth of the simulator's cost.

    python -m benchmarks.thrifty_server

prints the port it listens on at 127.0.0.1 and serves until standard input ends. Against it the clients are
what is measured. It reads requests just far enough to count them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

USER = (
    b'{"meta": {"code": 200}, "data": {"id": "1000000001", "username": "user1", "full_name": "", "bio": "", '
    b'"profile_picture": "http://photos.simulator.test/profiles/1.jpg", "website": "", '
    b'"counts": {"media": 1320, "followed_by": 3410, "follows": 420}}}'
)
END = b"\r\n\r\n"


def answer(body: bytes) -> bytes:
    """A whole answer with what the simulator's has for headers."""
    head = (
        "HTTP/1.1 200 OK\r\nX-Ratelimit-Limit: 1000000\r\nX-Ratelimit-Remaining: 999000\r\n"
        "Content-Type: application/json; charset=utf-8\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n"
        f"Server: thrifty\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Thrifty(asyncio.Protocol):
    """One connection; the counts are of all."""

    hits = 0
    first_s = last_s = 0.0
    said = answer(USER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as have come in whole."""
        data = self._unread + data
        *requests, self._unread = data.split(END)
        for request in requests:
            self._transport.write(self._stats() if b"/_simulator/stats" in request else self._user())

    def _user(self) -> bytes:
        kind = type(self)
        kind.last_s = time.monotonic()
        kind.first_s = kind.first_s or kind.last_s
        kind.hits += 1
        return self.said

    def _stats(self) -> bytes:
        counted = {"hits": [self.hits], "first_to_last_hit_s": self.last_s - self.first_s}
        return answer(json.dumps(counted).encode())


async def serve() -> None:
    """Until standard input ends."""
    server = await asyncio.get_running_loop().create_server(Thrifty, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
