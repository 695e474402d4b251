"""A photo's way from a server that may mean harm to its row: every mischief ends as a status."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from actors.lanes import Traffic, fetch_all
from actors.paced import Backoff
from raylike import connections, fetching
from raylike.commits import Commit
from raylike.config import DownloadSettings
from raylike.descriptors import plan
from raylike.sizing import plan_downloaders
from raylike.stages import download
from raylike.stages.download import Photo, PhotoJob, Photos
from raylike.tables import COHORT, POSTS
from raylike.workspace import Workspace
from tests.pictures import encode, photo, png_bomb, scene
from tests.unit.stages.learning_workspace import NOW

HOST = "photos.test"
SETTINGS = DownloadSettings(max_bytes=300_000, timeout_s=0.5, attempts=2, max_pixels=10_000_000)
TRAFFIC = Traffic(backoff=Backoff(attempts=2, first_s=0.01))

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def body(data: bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=data, status=status, headers={"Content-Type": "image/jpeg", **named})

    return answer


NO_RULES = body(b"no rules here", 404)


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
    answer: Answer,
    places: list[str],
    settings: DownloadSettings = SETTINGS,
    robots: Answer = NO_RULES,
    traffic: Traffic = TRAFFIC,
) -> list[dict[str, Any]]:
    async def go() -> list[dict[str, Any]]:
        app = web.Application()
        app.router.add_get("/robots.txt", robots)
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        resolve = {HOST: f"127.0.0.1:{runner.addresses[0][1]}"}
        items = [Photo(f"p{i}", place, is_file=False) for i, place in enumerate(places)]
        try:
            async with PhotoJob(Workspace("unused"), settings, resolve, allow_private=False) as job:
                rows = [row async for row in fetch_all(job, items, traffic)]
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


class Strict:
    """Refuses the third request, asks for a second of patience, and counts who comes within it."""

    def __init__(self) -> None:
        self.hits = 0
        self.refused_at = float("inf")
        self.too_early = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        if self.hits == 3:
            self.refused_at = time.monotonic()
            return await body(b"", 429, Retry_After="1")(request)
        self.too_early += self.refused_at < time.monotonic() < self.refused_at + 1.0
        return await body(photo())(request)


def test_a_host_is_left_in_peace_for_as_long_as_it_asks() -> None:
    server, settings = Strict(), SETTINGS.model_copy(update={"per_host": 1})
    traffic = Traffic(per_lane=1, backoff=TRAFFIC.backoff)
    rows = fetch_many(server.answer, [f"http://{HOST}/{i}.jpg" for i in range(6)], settings, traffic=traffic)
    assert [row["status"] for row in rows] == ["ok"] * 6
    assert (server.hits, server.too_early) == (7, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("0", 0), ("120", 120), (" 7 ", 7), ("soon", None), ("-3", None), ("1.5", None),
     ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", fetching.LONGEST_WAIT_S),
     ("9" * 400, fetching.LONGEST_WAIT_S)],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(text: str | None, seconds: float | None) -> None:
    assert fetching._retry_after_s(text) == seconds


def test_a_name_that_turns_private_between_robots_txt_and_photo_is_refused_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """127.0.0.2 stands for a public address; the photo's own look-up gives 127.0.0.1."""
    looked_up = iter(["127.0.0.2", "127.0.0.1"])
    port = 0

    async def resolve(self: Any, host: str, *_: Any) -> list[ResolveResult]:
        ip = next(looked_up)
        return [ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=0)]

    monkeypatch.setattr(connections.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr(connections, "is_public", lambda address: str(address) == "127.0.0.2")
    monkeypatch.setattr(connections, "DNS_CACHE_S", 0)
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(
            status=404 if request.path == "/robots.txt" else 200, headers={"Connection": "close"}
        )

    async def go() -> dict[str, Any]:
        nonlocal port
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0).start()
        port = runner.addresses[0][1]
        try:
            async with PhotoJob(Workspace("unused"), SETTINGS, {}, allow_private=False) as job:
                return await job.fetch(Photo("p", f"http://rebinding.test:{port}/a.jpg", is_file=False))
        finally:
            await runner.cleanup()

    row = asyncio.run(go())
    assert row["status"] == "refused_address"
    assert "127.0.0.1" in row["error"]
    assert seen == ["/robots.txt"]


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


@pytest.mark.parametrize(
    ("n_photos", "cpus", "actors"),
    [(0, 4, 1), (100, 4, 1), (2499, 4, 1), (5000, 2, 2), (5000, 16, 2), (120_000, 4, 4), (120_000, 64, 8)],
)
def test_how_many_processes_are_worth_it(n_photos: int, cpus: int, actors: int) -> None:
    assert plan_downloaders(n_photos, cpus) == actors


def test_the_plan_states_connections_and_descriptors_and_what_did_not_fit() -> None:
    settings = DownloadSettings(in_flight=500, per_host=400)
    fits = download._plan(settings, 2, plan(500, 4096), 4096)
    assert fits == (
        "download: 2 processes, 500 at once in each, 400 from one host; "
        "at most 1000 connections and 1256 descriptors in each"
    )
    lowered = download._plan(settings, 2, plan(500, 1024), 1024)
    assert "384 at once in each, 384 from one host" in lowered
    assert "download.in_flight = 500 does not fit into the limit of 1024" in lowered


def test_photos_are_held_in_columns() -> None:
    table = pa.table({"post_id": ["a", "b", "c"], "place": ["x", "y", "z"], "is_file": [False, True, False]})
    photos = Photos(table)
    assert list(photos) == [photos[0], photos[1], photos[2]]
    assert list(photos.take(np.array([2, 0]))) == [Photo("c", "z", False), Photo("a", "x", False)]
    assert list(photos.without(pa.chunked_array([["a", "c"]]))) == [Photo("b", "y", True)]


@pytest.mark.parametrize(
    ("provider", "place", "is_file"),
    [
        ("files", "/photos/1.jpg", True),
        ("files", "https://photos.test/1.jpg", False),
        ("files", "HTTP://photos.test/1.jpg", False),
        ("mastodon", "/etc/passwd", False),
        ("mastodon", "file:///etc/passwd", False),
    ],
)
def test_paths_are_opened_only_where_the_user_gave_them(
    workspace_path: Path, provider: str, place: str, is_file: bool
) -> None:
    workspace = Workspace(workspace_path)
    post = {
        "post_id": "p", "provider": provider, "user_id": "u", "created_at": NOW, "collected_at": NOW,
        "image_url": place, "likes": 1, "tags": [],
    }  # fmt: skip
    kept = {"post_id": "p", "user_id": "u", "likes": 1, "kept": True, "reason": ""}
    workspace.write("posts", pa.Table.from_pylist([post], schema=POSTS.schema), Commit("collect", "f"))
    workspace.write("cohort", pa.Table.from_pylist([kept], schema=COHORT.schema), Commit("cohort", "f"))
    assert list(download._wanted(workspace)) == [Photo("p", place, is_file)]


def test_the_job_takes_no_secret_along() -> None:
    from raylike.config import resolve

    settings = resolve({"source": {"tokens": ("a-secret-token",)}}, environ={}).settings
    job = download._job_factory(Workspace("unused"), settings.download, settings.source)
    assert "a-secret-token" not in repr(job.args)
    assert settings.source not in job.args
