"""A server of photos that costs little itself, in a process of its own: what download benchmarks fetch from.

    python -m benchmarks.photo_server --latency-s 0.1

prints its port. Any host name will do; `strict.test` lets 50 requests through in any second, then answers
429 with Retry-After for 2 s. Every photo is another JPEG of about 66 kB. `/stats` counts, `/outage?N` hangs
up on everybody for N seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import uvloop
from PIL import Image

SIDE_PX = 640
PICTURES = 64
STRICT_HOST = b"strict.test"
STRICT_PER_S = 50
RETRY_AFTER_S = 2
ON_THE_WAY_S = 0.05
"""For an answer to reach a client whose processor is busy."""


def pictures() -> list[bytes]:
    """Textured 640 px JPEGs, of about 66 kB as photos of that size are."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) / SIDE_PX
    files = []
    for seed in range(PICTURES):
        random = np.random.default_rng(seed)
        scene = np.stack([200 * x, 255 * y, 127 + 120 * np.sin(6 * x + seed) * np.cos(4 * y)], axis=-1)
        grain = random.normal(0, 19, (SIDE_PX // 2, SIDE_PX // 2, 3)).astype(np.float32)
        noise = np.asarray(
            [np.asarray(Image.fromarray(grain[..., c]).resize((SIDE_PX, SIDE_PX), 2)) for c in range(3)]
        )
        file = io.BytesIO()
        pixels = (scene + noise.transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", quality=75)
        files.append(file.getvalue())
    return files


@dataclass
class Stats:
    """What was asked so far."""

    hits: Counter[str] = field(default_factory=Counter)
    by_host: Counter[str] = field(default_factory=Counter)
    last_by_host: dict[str, float] = field(default_factory=dict)
    robots: int = 0
    refused: int = 0
    in_pause: int = 0
    connections: int = 0
    most_connections: int = 0
    first: float = 0.0

    def as_json(self) -> bytes:
        """For the benchmark."""
        counts = {
            "hits": self.hits.total(),
            "photos": len(self.hits),
            "repeated": self.hits.total() - len(self.hits),
            "robots": self.robots,
            "refused": self.refused,
            "in_pause": self.in_pause,
            "first": self.first,
            "most_connections": self.most_connections,
            "by_host": self.by_host,
            "last_by_host": self.last_by_host,
        }
        return json.dumps(counts).encode()


class Site:
    """What all connections share."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.pictures = pictures()
        self.stats = Stats()
        self.out_until = 0.0
        self.open: set[asyncio.Transport] = set()
        self._recent: deque[float] = deque()
        self._announced_at = self._paused_until = 0.0

    def answer(self, path: str, host: bytes, asked_at: float) -> list[bytes]:
        """Header and body, in pieces."""
        if path == "/stats":
            return _whole(200, self.stats.as_json())
        if path.startswith("/reset"):
            self.stats = Stats(connections=self.stats.connections, most_connections=self.stats.connections)
            self.latency_s = float(path.partition("?")[2] or self.latency_s)
            return _whole(200, b"")
        if path.startswith("/outage"):
            self.out_until = time.monotonic() + float(path.partition("?")[2])
            for transport in self.open:
                transport.abort()
            return _whole(200, b"")
        if path == "/robots.txt":
            self.stats.robots += 1
            return _whole(404, b"none")
        return self._photo(path, host, asked_at)

    def _photo(self, path: str, host: bytes, asked_at: float) -> list[bytes]:
        now = time.monotonic()
        stats = self.stats
        stats.first = stats.first or asked_at
        name = host.decode()
        if host == STRICT_HOST and not self._lets_through(now, asked_at):
            stats.refused += 1
            return _whole(429, b"", f"Retry-After: {RETRY_AFTER_S}\r\n")
        stats.hits[path] += 1
        stats.by_host[name] += 1
        stats.last_by_host[name] = now
        number = int(path.strip("/").partition(".")[0])
        picture = self.pictures[number % PICTURES]
        comment = b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big")  # another file, the same picture
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture) + 12}\r\n\r\n"
        return [head.encode() + picture[:2] + comment, memoryview(picture)[2:]]  # type: ignore[list-item]

    def _lets_through(self, now: float, asked_at: float) -> bool:
        if now < self._paused_until:
            # What was under way when the pause was announced could not know of it.
            self.stats.in_pause += asked_at > self._announced_at + ON_THE_WAY_S
            return False
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= STRICT_PER_S:
            self._announced_at, self._paused_until = now, now + RETRY_AFTER_S
            return False
        self._recent.append(now)
        return True


class Connection(asyncio.Protocol):
    """One client, one request at a time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        stats = self._site.stats
        stats.connections += 1
        stats.most_connections = max(stats.most_connections, stats.connections)
        if time.monotonic() < self._site.out_until:
            self._transport.abort()
        self._site.open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.stats.connections -= 1
        self._site.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        head, self._buffer = self._buffer, b""
        path = head[4 : head.index(b" ", 4)].decode()
        at = head.lower().index(b"\r\nhost: ") + 8
        host = head[at : head.index(b"\r\n", at)].partition(b":")[0]
        now, latency_s = time.monotonic(), self._site.latency_s
        if latency_s and path[1:2].isdigit():
            asyncio.get_running_loop().call_later(latency_s, self._respond, path, host, now)
        else:
            self._respond(path, host, now)

    def _respond(self, path: str, host: bytes, asked_at: float) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(self._site.answer(path, host, asked_at))


def _whole(status: int, body: bytes, headers: str = "") -> list[bytes]:
    return [f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body]


async def _serve(latency_s: float) -> None:
    site = Site(latency_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency-s", type=float, default=0.0)
    uvloop.run(_serve(parser.parse_args().latency_s))
