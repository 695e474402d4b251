"""A stand-in for the Instagram v1 API on loopback, with a sliding limit per token that it enforces.

It runs in a thread of its own, so that it serves stages that run a loop, and token actors.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

TOKEN = "101.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
PAGE_SIZE = 5

RATE_ERROR = {
    "meta": {
        "error_type": "OAuthRateLimitException",
        "code": 429,
        "error_message": "The maximum number of requests per hour has been exceeded.",
    }
}


def meta_error(kind: str, message: str = "no", code: int = 400) -> dict[str, Any]:
    return {"meta": {"error_type": kind, "code": code, "error_message": message}}


def media(number: int, by: int = 501, **changes: Any) -> dict[str, Any]:
    """An entry of a tag's page, as recorded in 2015."""
    entry: dict[str, Any] = {
        "attribution": None,
        "tags": ["me", "selfie"],
        "type": "image",
        "location": None,
        "comments": {"count": 2, "data": []},
        "filter": "Valencia",
        "created_time": "1443657600",
        "link": "https://instagram.com/p/AbCdEf/",
        "likes": {"count": 37, "data": [{"username": "x", "id": "9"}]},
        "images": {
            "low_resolution": {"url": "http://img.test/1_6.jpg", "width": 306, "height": 306},
            "standard_resolution": {"url": f"http://img.test/{number}_7.jpg", "width": 640, "height": 640},
        },
        "users_in_photo": [],
        "caption": {"created_time": "1443657601", "text": "#me", "id": "471"},
        "user_has_liked": False,
        "id": f"{number}_{by}",
        "user": {"username": f"u{by}", "id": str(by), "full_name": "U"},
    }
    return {**entry, **changes}


class V1Server:
    """Serves `posts` five a page, and any user in `users`: a number of followers, `private` or `gone`."""

    def __init__(self, limit: int = 5000, window_s: float = 3600.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self.posts: list[dict[str, Any]] = []
        self.users: dict[str, int | str] = {}
        self.revoked: set[str] = set()
        self.latency_s = 0.0
        self.slow: dict[str, float] = {}
        """Path -> seconds more."""
        self.answer: Callable[[web.Request], web.Response | None] = lambda request: None
        """Called first: what it returns is sent instead of the regular answer."""
        self.hits: Counter[str] = Counter()
        self.hits_by_token: Counter[str] = Counter()
        self.over_limit = 0
        self.pages_asked: list[str] = []
        self._windows: dict[str, deque[float]] = defaultdict(deque)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> V1Server:
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.run(self._main(started))

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/v1/tags/{tag}/media/recent", self._page)
        app.router.add_get("/v1/users/{id}", self._user)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = runner.addresses[0][1]
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _gate(self, request: web.Request) -> tuple[web.Response | None, dict[str, str]]:
        """Count a hit; an answer if it is refused, and the headers of any answer."""
        self.hits[request.path] += 1
        token = request.query.get("access_token", "")
        self.hits_by_token[token] += 1
        window, now = self._windows[token], time.monotonic()
        while window and window[0] <= now - self.window_s:
            window.popleft()
        window.append(now)
        headers = {
            "X-Ratelimit-Limit": str(self.limit),
            "X-Ratelimit-Remaining": str(max(0, self.limit - len(window))),
        }
        if latency_s := self.latency_s + self.slow.get(request.path, 0.0):
            await asyncio.sleep(latency_s)
        if (special := self.answer(request)) is not None:
            return special, headers
        if token in self.revoked:
            error = meta_error("OAuthAccessTokenException", "The access_token provided is invalid.")
            return web.json_response(error, status=400, headers=headers), headers
        if len(window) > self.limit:
            self.over_limit += 1
            return web.json_response(RATE_ERROR, status=429, headers=headers), headers
        return None, headers

    async def _page(self, request: web.Request) -> web.Response:
        refused, headers = await self._gate(request)
        if refused is not None:
            return refused
        start = int(request.query.get("max_tag_id", 0))
        self.pages_asked.append(str(start))
        end = start + PAGE_SIZE
        pagination = {"min_tag_id": "1"}
        if end < len(self.posts):
            token = request.query["access_token"]
            pagination["next_url"] = (
                f"{self.base_url}/tags/me/media/recent?access_token={token}&max_tag_id={end}"
            )
        body = {"pagination": pagination, "meta": {"code": 200}, "data": self.posts[start:end]}
        return web.json_response(body, headers=headers)

    async def _user(self, request: web.Request) -> web.Response:
        refused, headers = await self._gate(request)
        if refused is not None:
            return refused
        user_id = request.match_info["id"]
        known = self.users.get(user_id, "gone")
        if known == "private":
            error = meta_error("APINotAllowedError", "you cannot view this resource")
            return web.json_response(error, status=400, headers=headers)
        if known == "gone":
            error = meta_error("APINotFoundError", "this user does not exist")
            return web.json_response(error, status=400, headers=headers)
        counts = {"media": 120, "followed_by": known, "follows": 280}
        return web.json_response(
            {"meta": {"code": 200}, "data": {"id": user_id, "counts": counts}}, headers=headers
        )
