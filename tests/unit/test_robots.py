"""What servers forbid to robots is left alone, and asking costs one request a host."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from actors.lanes import Traffic, fetch_all
from actors.paced import Backoff
from raylike import robots
from raylike.config import DownloadSettings
from raylike.robots import forbidden_by, parse
from raylike.stages.download import Photo, PhotoJob
from raylike.workspace import Workspace
from tests.pictures import photo

SETTINGS = DownloadSettings(timeout_s=2.0, attempts=2)
TRAFFIC = Traffic(backoff=Backoff(attempts=2, first_s=0.01))


class Hosts:
    """Photos under any path of any host `*.test`; each host has its own robots.txt, as status and text."""

    def __init__(self, **rules: tuple[int, str]) -> None:
        self.rules = rules
        self.hits: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.bodies_sent = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        place = f"{request.host}{request.path}"
        self.hits[place] += 1
        if request.path == "/robots.txt":
            status, text = self.rules.get(request.host.removesuffix(".test"), (404, ""))
            await asyncio.sleep(0.01)
            return web.Response(status=status, text=text)
        if place in self.redirects:
            raise web.HTTPFound(self.redirects[place])
        return web.Response(body=photo(), headers=self.headers)


def fetch(hosts: Hosts, *places: str, settings: DownloadSettings = SETTINGS) -> list[dict[str, Any]]:
    """The rows of the photos at these places, such as `a.test/1.jpg`."""

    async def go(port: int) -> list[dict[str, Any]]:
        resolve = {f"{name}.test": f"127.0.0.1:{port}" for name in "abc"}
        items = [Photo(f"p{i}", f"http://{place}", is_file=False) for i, place in enumerate(places)]
        async with PhotoJob(Workspace("unused"), settings, resolve, allow_private=False) as job:
            rows = [row async for row in fetch_all(job, items, TRAFFIC)]
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]

    return asyncio.run(_with_server(hosts, go))


async def _with_server(
    hosts: Hosts, go: Callable[[int], Awaitable[list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    app = web.Application()
    app.router.add_get("/{path:.*}", hosts.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        return await go(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def test_what_robots_txt_disallows_is_not_asked_for() -> None:
    hosts = Hosts(a=(200, "User-agent: *\nDisallow: /private/"))
    open_, closed = fetch(hosts, "a.test/1.jpg", "a.test/private/1.jpg")
    assert open_["status"] == "ok"
    assert closed["status"] == "disallowed"
    assert closed["error"] == "robots.txt of a.test disallows /private/1.jpg"
    assert hosts.hits["a.test/private/1.jpg"] == 0


def test_robots_txt_is_asked_for_once_a_host() -> None:
    hosts = Hosts(a=(200, "User-agent: *\nDisallow: /x"), b=(404, ""))
    places = [f"{host}.test/{i}.jpg" for i in range(20) for host in "ab"]
    assert {row["status"] for row in fetch(hosts, *places)} == {"ok"}
    assert (hosts.hits["a.test/robots.txt"], hosts.hits["b.test/robots.txt"]) == (1, 1)


def test_many_redirects_to_one_host_ask_it_once() -> None:
    hosts = Hosts()
    places = [f"a.test/{i}.jpg" for i in range(20)]
    hosts.redirects = {place: f"http://b.test/{i}.jpg" for i, place in enumerate(places)}
    assert {row["status"] for row in fetch(hosts, *places)} == {"ok"}
    assert hosts.hits["b.test/robots.txt"] == 1


def test_the_rules_of_the_host_that_a_redirect_names_count() -> None:
    hosts = Hosts(b=(200, "User-agent: raylike\nDisallow: /"))
    hosts.redirects = {"a.test/1.jpg": "http://b.test/1.jpg"}
    (row,) = fetch(hosts, "a.test/1.jpg")
    assert row["status"] == "disallowed"
    assert hosts.hits["b.test/1.jpg"] == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "ok"), (403, "ok"), (404, "ok"), (410, "ok"), (500, "robots_unreachable"),
     (503, "robots_unreachable"), (429, "rate_limited")],
)  # fmt: skip
def test_what_a_host_without_robots_txt_allows(status: int, expected: str) -> None:
    hosts = Hosts(a=(status, "User-agent: *\nDisallow: /"))
    (row,) = fetch(hosts, "a.test/1.jpg")
    assert row["status"] == expected
    assert (hosts.hits["a.test/1.jpg"] > 0) == (expected == "ok")


def test_a_robots_txt_that_comes_back_is_believed() -> None:
    hosts = Hosts(a=(503, ""))
    answers = iter([503, 200])
    plain = hosts.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            hosts.rules["a"] = (next(answers), "User-agent: *\nAllow: /")
        return await plain(request)

    hosts.answer = answer  # type: ignore[method-assign]
    assert fetch(hosts, "a.test/1.jpg")[0]["status"] == "ok"


def test_robots_txt_that_redirects_for_ever_is_taken_for_none() -> None:
    hosts = Hosts()
    hosts.redirects = {"a.test/robots.txt": "http://a.test/robots.txt"}
    plain = hosts.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            raise web.HTTPFound("/robots.txt")
        return await plain(request)

    hosts.answer = answer  # type: ignore[method-assign]
    assert fetch(hosts, "a.test/1.jpg")[0]["status"] == "ok"


def test_a_robots_txt_that_never_ends_is_read_as_far_as_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "LIMITS", robots.FetchLimits(1000, 2.0, 5))
    hosts = Hosts(a=(200, "User-agent: *\nDisallow: /private/\n" + "#" * 10_000_000))
    open_, closed = fetch(hosts, "a.test/1.jpg", "a.test/private/1.jpg")
    assert (open_["status"], closed["status"]) == ("ok", "disallowed")


def test_a_header_forbids_before_the_body_is_read() -> None:
    hosts = Hosts()
    hosts.headers = {"X-Robots-Tag": "noai, noimageai"}
    (row,) = fetch(hosts, "a.test/1.jpg")
    assert (row["status"], row["error"], row["byte_size"]) == ("disallowed", "X-Robots-Tag: noai", 0)


def test_rules_can_be_turned_off() -> None:
    hosts = Hosts(a=(200, "User-agent: *\nDisallow: /"))
    hosts.headers = {"X-Robots-Tag": "noindex"}
    settings = SETTINGS.model_copy(update={"honour_robots": False})
    (row,) = fetch(hosts, "a.test/1.jpg", settings=settings)
    assert row["status"] == "ok"
    assert hosts.hits["a.test/robots.txt"] == 0


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([], None),
        (["index, follow"], None),
        (["noindex"], "noindex"),
        (["nofollow, NOAI"], "noai"),
        (["none"], "none"),
        (["noimageai"], "noimageai"),
        (["googlebot: noindex"], None),
        (["googlebot: nofollow, noindex"], None),
        (["raylike: noindex"], "noindex"),
        (["RayLike: nofollow, noai"], "noai"),
        (["googlebot: noindex", "noimageai"], "noimageai"),
        (["max-image-preview: large, noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noindex"], "noindex"),
        (["", ":", ",,,", "noindexing"], None),
    ],
)
def test_which_headers_forbid(values: list[str], word: str | None) -> None:
    assert forbidden_by(values) == word


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: other\nDisallow: /", "/a.jpg", True),
        ("User-agent: RayLike/2.0 # us\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: raylike\nAllow: /", "/a.jpg", True),
        ("User-agent: one\nUser-agent: raylike\nUser-agent: two\nDisallow: /", "/a.jpg", False),
        ("User-agent: raylike\nUser-agent: b\nDisallow: /x\n\nUser-agent: b\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nDisallow: /p/\nAllow: /p/open", "/p/open.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg?size=1", True),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", False),
        ("<!DOCTYPE html><html>not found</html>", "/a.jpg", True),
    ],
)  # fmt: skip
def test_rules_are_read_as_the_standard_says(text: str, path: str, allowed: bool) -> None:
    assert parse(text.encode()).can_fetch(f"http://a.test{path}", "raylike") is allowed


FIELDS = st.sampled_from(["User-agent", "Disallow", "Allow", "Crawl-delay", "Request-rate", "Visit-time"])
LINES = st.builds(lambda field, value: f"{field}: {value}".encode(), FIELDS, st.text(max_size=20))


@given(st.lists(st.one_of(st.binary(max_size=40), LINES), max_size=20))
def test_no_file_breaks_the_parser(lines: list[bytes]) -> None:
    assert parse(b"\n".join(lines)).can_fetch("http://a.test/a.jpg", "raylike") in (True, False)


def test_thousands_of_agents_above_thousands_of_rules_do_not_multiply() -> None:
    agents = "".join(f"User-agent: a{i}\n" for i in range(5000))
    rules = "".join(f"Disallow: /{i}\n" for i in range(5000))
    found = parse(f"{agents}{rules}User-agent: *\nDisallow: /p".encode())
    assert not found.can_fetch("http://a.test/p/1.jpg", "raylike")
    assert len(found._user_agents) == 2


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "KEPT_BYTES", 1500)  # room for one
    hosts = Hosts()
    places = ["a.test/1.jpg", "b.test/1.jpg", "c.test/1.jpg", "a.test/2.jpg", "b.test/2.jpg", "c.test/2.jpg"]
    rows = fetch(hosts, *places)
    assert {row["status"] for row in rows} == {"ok"}
    assert hosts.hits["a.test/robots.txt"] == 2
