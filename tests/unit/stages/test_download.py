"""A photo's way from a server that may mean harm to its row: every mischief ends as a status."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.lanes import Traffic, fetch_all
from actors.paced import Backoff
from raylike.config import DownloadSettings
from raylike.stages import download
from raylike.stages.download import Photo, PhotoJob
from raylike.workspace import Workspace
from tests.pictures import encode, photo, png_bomb, scene

HOST = "photos.test"
SETTINGS = DownloadSettings(max_bytes=300_000, timeout_s=0.5, attempts=2, max_pixels=10_000_000)
TRAFFIC = Traffic(backoff=Backoff(attempts=2, first_s=0.01))

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def body(data: bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=data, status=status, headers={"Content-Type": "image/jpeg", **named})

    return answer


def redirect(target: str) -> Answer:
    return body(b"", 302, Location=target)


def in_pieces(first: bytes, piece: bytes, pause_s: float, n: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(first)
        try:
            for _ in range(n):
                await response.write(piece)
                await asyncio.sleep(pause_s)
        except ConnectionError:
            pass  # hung up on, as is right
        return response

    return answer


def raw(data: bytes) -> Answer:
    """Bytes on the wire as they are, then the end of the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        return web.Response()

    return answer


class Flaky:
    """Fails so many times, then serves a photo."""

    def __init__(self, failures: int, failure: Answer) -> None:
        self.failures = failures
        self.failure = failure
        self.hits = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        choice = self.failure if self.hits <= self.failures else body(photo())
        return await choice(request)


def fetch(answer: Answer, settings: DownloadSettings = SETTINGS, path: str = "/a.jpg") -> dict[str, Any]:
    """The row that comes of a photo at a server that answers so."""
    return fetch_many(answer, [f"http://{HOST}{path}"], settings)[0]


def fetch_many(
    answer: Answer, places: list[str], settings: DownloadSettings = SETTINGS
) -> list[dict[str, Any]]:
    async def go() -> list[dict[str, Any]]:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        resolve = {HOST: f"127.0.0.1:{runner.addresses[0][1]}"}
        items = [Photo(f"p{i}", place, is_file=False) for i, place in enumerate(places)]
        try:
            async with PhotoJob(Workspace("unused"), settings, resolve, allow_private=False) as job:
                rows = [row async for row in fetch_all(job, items, TRAFFIC)]
        finally:
            await runner.cleanup()
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    return asyncio.run(go())


def test_a_good_photo_arrives_whole() -> None:
    data = photo(320, 240)
    row = fetch(body(data))
    assert row["status"] == "ok"
    assert row["bytes"] == data
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["format"], row["width"], row["height"], row["byte_size"]) == ("jpeg", 320, 240, len(data))
    assert len(row["phash"]) == 16
    assert row["error"] is None


MISCHIEF: dict[str, tuple[Answer, str]] = {
    "gone": (body(b"", 410), "gone"),
    "not found": (body(b"no", 404), "gone"),
    "forbidden": (body(b"no", 403), "http_error"),
    "server error": (body(b"no", 500), "http_error"),
    "endless body": (in_pieces(photo(), bytes(50_000), 0.0, 10**6), "too_large"),
    "slow drip": (in_pieces(b"\xff\xd8\xff", b"\0", 0.05, 1000), "timeout"),
    "silence": (in_pieces(b"", b"", 60, 1), "timeout"),
    "a huge length announced": (body(b"", Content_Length="99999999999"), "too_large"),
    "length too long": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + photo()), "truncated"),
    "length too short": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + photo()), "http_error"),
    "no HTTP": (raw(b"hello\r\n\r\n"), "http_error"),
    "hung up": (raw(b""), "connection"),
    "gzip bomb": (body(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"), "not_an_image"),
    "unnamed gzip bomb": (body(gzip.compress(bytes(50_000_000))), "not_an_image"),
    "one pixel": (body(photo(1, 1)), "too_small"),
    "2.5 billion pixels": (body(png_bomb(50_000)), "too_many_pixels"),
    "SVG": (body(b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>"), "not_an_image"),
    "HTML": (body(b"<!DOCTYPE html><html>please log in</html>"), "not_an_image"),
    "GIF": (body(encode(scene(), "GIF")), "not_an_image"),
    "nothing": (body(b""), "not_an_image"),
    "cut off": (body(photo()[:-500]), "truncated"),
    "redirect to loopback": (redirect("http://127.0.0.1:1/"), "refused_address"),
    "redirect to metadata": (redirect("http://169.254.169.254/latest/meta-data"), "refused_address"),
    "redirect to IPv6 loopback": (redirect("http://[::1]:1/"), "refused_address"),
    "redirect to loopback in IPv6": (redirect("http://[::ffff:127.0.0.1]:1/"), "refused_address"),
    "redirect to localhost": (redirect("http://localhost:1/"), "refused_address"),
    "redirect to a file": (redirect("file:///etc/passwd"), "refused_address"),
    "redirect in a ring": (redirect("/a.jpg"), "too_many_redirects"),
    "redirect to nowhere": (body(b"", 301), "http_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISCHIEF)
def test_mischief_ends_as_a_status(name: str) -> None:
    answer, status = MISCHIEF[name]
    started = time.monotonic()
    row = fetch(answer)
    assert row["status"] == status, row["error"]
    assert row["error"]
    assert row["bytes"] is None
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encode(scene(320, 200), orientation=6), (320, 200)),
        (encode(scene(320, 200), mode="CMYK"), (320, 200)),
        (encode(scene(320, 200), progressive=True), (320, 200)),
        (encode(scene(320, 200), "WEBP"), (320, 200)),
        (encode(scene(320, 200), "PNG", mode="RGBA"), (320, 200)),
        (photo() + bytes(64), (320, 240)),
    ],
    ids=["rotated", "CMYK", "progressive", "WebP", "alpha", "padded"],
)
def test_unusual_photos_are_photos(data: bytes, size: tuple[int, int]) -> None:
    row = fetch(body(data))
    assert row["status"] == "ok"
    assert (row["width"], row["height"]) == size


@pytest.mark.parametrize(
    "failure",
    [
        body(b"", 503),
        body(b"", 429, Retry_After="0"),
        body(b"", 429),
        raw(b""),
        in_pieces(b"\xff", b"\0", 0.1, 9),
    ],
    ids=["503", "429 with a time", "429", "reset", "drip"],
)
def test_passing_faults_pass(failure: Answer) -> None:
    server = Flaky(1, failure)
    assert fetch(server.answer)["status"] == "ok"
    assert server.hits == 2


@pytest.mark.parametrize("failure", [body(b"", 404), body(b"<html>"), body(photo()[:-500])])
def test_lasting_faults_are_not_tried_again(failure: Answer) -> None:
    server = Flaky(9, failure)
    assert fetch(server.answer)["status"] != "ok"
    assert server.hits == 1


def test_redirects_are_followed_as_far_as_allowed() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        left = int(request.path.strip("/"))
        return await (redirect(f"/{left - 1}") if left else body(photo()))(request)

    assert fetch(answer, path="/3")["status"] == "ok"
    assert fetch(answer, path="/4")["status"] == "too_many_redirects"


@pytest.mark.parametrize(
    "place",
    ["http://127.0.0.1:80/a.jpg", "http://[::1]/a.jpg", "http://2130706433/", "/etc/passwd", "file:///etc/passwd",
     "ftp://photos.test/a.jpg", "http://[bad/", "http://", ""],
)  # fmt: skip
def test_places_that_are_no_public_address_are_refused(place: str) -> None:
    (row,) = fetch_many(body(photo()), [place])
    assert row["status"] == "refused_address"


def read(path: Path) -> dict[str, Any]:
    async def go() -> dict[str, Any]:
        async with PhotoJob(Workspace("unused"), SETTINGS, {}, allow_private=False) as job:
            return await job.fetch(Photo("p", str(path), is_file=True))

    return asyncio.run(go())


def test_files_pass_the_same_checks(tmp_path: Path) -> None:
    good, text, large, pipe = (tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    good.write_bytes(photo())
    text.write_text("no photo")
    large.write_bytes(bytes(SETTINGS.max_bytes + 1))
    os.mkfifo(pipe)
    assert read(good)["status"] == "ok"
    assert read(text)["status"] == "not_an_image"
    assert read(large)["status"] == "too_large"
    assert read(pipe)["status"] == "not_an_image"
    assert read(tmp_path)["status"] == "unreadable"
    assert read(tmp_path / "missing.jpg")["status"] == "gone"


def test_the_job_takes_no_secret_along() -> None:
    from raylike.config import resolve

    settings = resolve({"source": {"tokens": ("a-secret-token",)}}, environ={}).settings
    job = download._job_factory(Workspace("unused"), settings.download, settings.source)
    assert "a-secret-token" not in repr(job.args)
    assert settings.source not in job.args
