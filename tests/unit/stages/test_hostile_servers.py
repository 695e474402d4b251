"""Whatever a server sends, a photo's row has a known status, in time, and within the limits on bytes."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from actors.lanes import Traffic, fetch_all
from actors.paced import Backoff
from raylike.causes import CAUSES, OK
from raylike.config import DownloadSettings
from raylike.stages.download import Photo, PhotoJob
from raylike.workspace import Workspace
from tests.hostile_files import FILES, STATUS
from tests.pictures import photo

HOST = "photos.test"
SETTINGS = DownloadSettings(
    max_bytes=200_000, timeout_s=0.3, attempts=2, max_pixels=1_000_000, min_side_px=16, max_redirects=2
)
TRAFFIC = Traffic(backoff=Backoff(attempts=2, first_s=0.001, cap_s=0.002), patience_s=0.05)
MEMORY_BYTES = 30_000_000
"""Far more than Python needs for files of 200 kB and a million pixels, far less than what is offered."""


@dataclass(frozen=True)
class Answer:
    """What the server sends: a head, and a body that is sent so often, in pieces, with pauses between."""

    head: bytes
    body: bytes = field(repr=False)
    times: int = 1
    piece: int = 1 << 16
    pause_s: float = 0.0
    stays_open: bool = False

    def pieces(self) -> Iterator[bytes]:
        yield self.head
        for _ in range(self.times):
            for at in range(0, len(self.body), self.piece):
                yield self.body[at : at + self.piece]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    data = draw(st.one_of(st.sampled_from(list(FILES)).map(FILES.__getitem__), st.binary(max_size=300)))
    change = draw(st.sampled_from(["none", "none", "cut", "flip", "pad"]))
    if change == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if change == "flip" and data:
        changed = bytearray(data)
        for at in draw(st.lists(st.integers(0, min(len(data), 2000) - 1), max_size=8)):
            changed[at] ^= draw(st.integers(1, 255))
        return bytes(changed)
    return data + draw(st.binary(max_size=40)) if change == "pad" else data


def framings(size: int) -> st.SearchStrategy[list[str]]:
    lengths = [size, size + 1000, max(size - 10, 0), 99_999_999_999, -1]
    honest = st.just([f"Content-Length: {size}"])
    lying = st.sampled_from(lengths).map(lambda n: [f"Content-Length: {n}"])
    odd = st.sampled_from([
        [], ["Transfer-Encoding: chunked"], ["Content-Length: many"], ["Content-Length: 1"] * 2,
        [f"Content-Length: {size}", "Transfer-Encoding: chunked"],
    ])  # fmt: skip
    return st.one_of(honest, honest, honest, lying, odd)


TARGETS = [
    "http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://localhost:1/",
    "file:///etc/passwd", "http://[", "//", "", "/again.jpg", "?x", "http://photos.test:99999/",
    "http://user:secret@10.0.0.1/", "http://0x7f.1/", "gopher://a/", "http://" + "a" * 300 + "/",
]  # fmt: skip
ODD_HEADERS = [
    "Content-Encoding: gzip", "Content-Encoding: br", "Content-Type: image/jpeg", "Content-Type: text/html",
    "X-Robots-Tag: noai", "X-Robots-Tag: :::,,", "Set-Cookie: a=b; Domain=.test", "Connection: close",
    "Retry-After: 0", "Retry-After: " + "9" * 400, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",
    "Retry-After: yesterday", "X-Huge: " + "h" * 20_000, "X-Null: a\0b", "no colon at all", "X-Fold: a\r\n b",
]  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    if draw(st.integers(0, 19)) == 19:
        return Answer(draw(st.binary(max_size=60)), b"")  # no HTTP at all
    body = draw(bodies())
    status = draw(
        st.sampled_from([200] * 12 + [204, 206, 301, 302, 308, 304, 401, 404, 418, 429, 500, 503, 99])
    )
    headers = draw(framings(len(body)))
    if draw(st.integers(0, 3)) == 3:
        headers += draw(st.lists(st.sampled_from(ODD_HEADERS), min_size=1, max_size=2))
    if 300 <= status < 400:
        headers.append(f"Location: {draw(st.sampled_from(TARGETS))}")
    if draw(st.integers(0, 19)) == 19:
        headers += [f"X-{i}: {'x' * 50}" for i in range(2000)]
    head = "\r\n".join([f"HTTP/1.1 {status} X", *headers, "", ""]).encode()
    slowly = draw(st.integers(0, 9)) == 9
    return Answer(
        head,
        body,
        times=10_000 if draw(st.integers(0, 14)) == 14 else 1,
        piece=7 if slowly else 1 << 16,
        pause_s=0.02 if slowly else 0.0,
        stays_open=draw(st.booleans()) and slowly,
    )


async def fetch(answer: Answer, robots: Answer) -> dict[str, Any]:
    """The row of a photo; two tries of 0.3 s, and what exceeds a minute would go on for ever."""
    serving: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            chosen = robots if head.startswith(b"GET /robots.txt") else answer
            for piece in chosen.pieces():
                writer.write(piece)
                await writer.drain()
                if chosen.pause_s:
                    await asyncio.sleep(chosen.pause_s)
            while chosen.stays_open:
                await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    resolve = {HOST: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    try:
        async with (
            asyncio.timeout(60),
            PhotoJob(Workspace("unused"), SETTINGS, resolve, allow_private=False) as job,
        ):
            items = [Photo("p", f"http://{HOST}/a.jpg", is_file=False)]
            (row,) = [row async for _, row in fetch_all(job, items, TRAFFIC)]
            return row
    finally:
        server.close()
        for task in filter(None, serving):
            task.cancel()
        await asyncio.gather(*filter(None, serving), return_exceptions=True)


NO_RULES = Answer(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", b"")
ENDLESS = Answer(b"HTTP/1.1 200 X\r\n\r\n", b"\xff\xd8\xff" + bytes(60_000), times=10_000)
DRIP = Answer(b"HTTP/1.1 200 X\r\n\r\n", photo(), piece=1, pause_s=0.05)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=answers(), robots=st.one_of(st.just(NO_RULES), st.just(NO_RULES), answers()))
@example(answer=ENDLESS, robots=NO_RULES)
@example(answer=DRIP, robots=NO_RULES)
@example(answer=NO_RULES, robots=ENDLESS)
@example(answer=NO_RULES, robots=DRIP)
@example(answer=Answer(b"HTTP/1.1 200 X\r\nX-Endless: ", b"h" * 60_000, times=10_000), robots=NO_RULES)
def test_whatever_a_server_sends_ends_as_a_known_status(answer: Answer, robots: Answer) -> None:
    tracemalloc.start()
    try:
        row = asyncio.run(fetch(answer, robots))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    event(row["status"])
    assert row["status"] in {OK, *CAUSES}
    assert (row["error"] is None) == (row["status"] == OK)
    assert (row["bytes"] is not None) == (row["status"] == OK)
    assert row["byte_size"] <= SETTINGS.max_bytes
    assert peak_bytes < MEMORY_BYTES


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_accounted_for_when_it_is_served_honestly(name: str) -> None:
    data = FILES[name]
    answer = Answer(f"HTTP/1.1 200 X\r\nContent-Length: {len(data)}\r\n\r\n".encode(), data)
    assert asyncio.run(fetch(answer, NO_RULES))["status"] == STATUS.get(name, OK)
