"""The simulated network as an HTTP service on loopback.

    GET  /oauth/authorize             a code, or a token, by redirect; everybody agrees at once
    POST /oauth/access_token          code -> token
    GET  /v1/tags/{tag}/media/recent  posts, newest tag first
    GET  /v1/users/{id}               an account with its followers
    GET  /photos/{media_id}.jpg       a photo, drawn on request
    GET  /_simulator/stats            what was asked so far, as JSON

Addresses in answers follow the Host header: who calls it `instagram.simulator.test` gets names of that
kind, which no DNS knows and a client resolves itself; everybody else gets 127.0.0.1.
Knows HTTP, tokens, limits and faults; what the answers say comes from `instagram_v1.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from raylike.simulator import instagram_v1 as v1
from raylike.simulator.faults import LATENCY_S, STALL_S, FaultPlan, bomb, unit_hash
from raylike.simulator.limits import SlidingWindow
from raylike.simulator.oauth import TokenBook
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.photos import SIDES_PX, Photos
from raylike.simulator.stats import Stats
from raylike.simulator.world import World

API_HOST, PHOTO_HOST = "instagram.simulator.test", "photos.simulator.test"
"""Names that stay the same from run to run while the port changes."""
_TEST_DOMAIN = ".simulator.test"
_CLIENT_ID = "5a1d10ff0e6b4f1c8a7f2b9d3c4e5f60"
_PROXY_PAGE = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>502</h1></body></html>"
_METADATA_URL = "http://169.254.169.254/latest/meta-data/"


class Network:
    """One simulated network: a world and those who may ask it.

    Parameters
    ----------
    options : what to simulate
    executor : draws the photos; whoever made it shuts it down
    clock : seconds, for the limits; tests hand in their own
    sleep : how to wait, for latency and stalls; likewise
    """

    def __init__(
        self,
        options: SimulatorOptions,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.world = World(options.seed, options.users)
        self.stats = Stats()
        self.tokens = TokenBook()
        self.first_tokens = [self._new_token() for _ in range(options.tokens)]
        self._latency_s = options.latency_s
        self._seed = options.seed
        self._sleep = sleep
        self._v1 = v1.InstagramV1(self.world)
        self._photos = Photos(self.world, executor)
        self._window = SlidingWindow(*options.limit(), clock)
        self._faults = FaultPlan(options.seed, options.faults, options.tokens)
        self._attempts: Counter[tuple[str, str]] = Counter()

    def app(self) -> web.Application:
        """The routes, ready to serve."""
        app = web.Application()
        slash, suffix = "{slash:/?}", r"{suffix:(\.json)?/?}"
        app.add_routes(
            [
                web.get(f"/oauth/authorize{slash}", self._authorize),
                web.post(f"/oauth/access_token{slash}", self._access_token),
                web.get(f"/v1/tags/{{tag}}/media/recent{suffix}", self._recent),
                web.get(r"/v1/users/{user_id:[^/.]+}" + suffix, self._user),
                web.get(r"/photos/{name:[0-9_]+}.jpg", self._photo),
                web.get("/_simulator/stats", self._show_stats),
            ]
        )
        return app

    def _new_token(self) -> str:
        """A token of the next account in line, given to the network's own client."""
        return self.tokens.issue(self.world.user_id(len(self.tokens) % self.world.n_users), _CLIENT_ID)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        redirect_uri, client_id = query.get("redirect_uri", ""), query.get("client_id", "")
        if urlsplit(redirect_uri).scheme not in ("http", "https") or not client_id:
            return web.json_response(
                v1.oauth_error("You must include a valid client_id and redirect_uri."), status=400
            )
        user_id = self.world.user_id(len(self.tokens) % self.world.n_users)
        state = {"state": query["state"]} if "state" in query else {}
        if query.get("response_type") == "code":
            answer = {"code": self.tokens.grant(client_id, redirect_uri, user_id)}
            joint = "&" if urlsplit(redirect_uri).query else "?"
        elif query.get("response_type") == "token":
            answer = {"access_token": self.tokens.issue(user_id, client_id)}
            joint = "#"
        else:
            return web.json_response(v1.oauth_error("response_type must be code or token."), status=400)
        location = f"{redirect_uri}{joint}{urlencode(answer | state)}"
        return web.Response(status=302, headers={"Location": location})

    async def _access_token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        if form.get("grant_type") != "authorization_code" or not form.get("client_secret"):
            return web.json_response(v1.oauth_error("Invalid grant_type or client_secret."), status=400)
        made = self.tokens.exchange(
            form.get("code", ""), form.get("client_id", ""), form.get("redirect_uri", "")
        )
        if made is None:
            message = "Matching code was not found or was already used."
            return web.json_response(v1.oauth_error(message), status=400)
        token, user_id = made
        user = self.world.find_user(user_id)
        assert user is not None  # grants are made for accounts of this world
        _, photos = self._bases(request)
        return web.json_response({"access_token": token, "user": self._v1.profile(user, photos)})

    async def _recent(self, request: web.Request) -> web.Response:
        tag = request.match_info["tag"]
        identity = f"{tag}@{request.query.get('max_tag_id', '')}"
        refused = await self._admit(request, "tags", identity)
        if refused is not None:
            return refused
        if tag.lower() in v1.BANNED_TAGS:
            return self._answer(request, v1.BANNED_TAG, 400)
        numbers: dict[str, int | None] = {}
        for name in ("count", "max_tag_id", "min_tag_id"):
            text = request.query.get(name)
            if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
                return self._answer(request, v1.bad_parameter(name), 400)
            numbers[name] = int(text) if text else None
        count = v1.DEFAULT_COUNT if numbers["count"] is None else numbers["count"]
        page = self._v1.recent(tag, count, numbers["max_tag_id"], numbers["min_tag_id"],
                               *self._bases(request), request.query["access_token"])  # fmt: skip
        self.stats.pages[identity] += 1
        return self._answer(request, page)

    async def _user(self, request: web.Request) -> web.Response:
        user_id = request.match_info["user_id"]
        refused = await self._admit(request, "users", user_id)
        if refused is not None:
            return refused
        _, photos = self._bases(request)
        status, body = self._v1.user(user_id, photos)
        self.stats.users[user_id] += 1
        return self._answer(request, body, status)

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        media_id, size = (name[:-2], name[-2:]) if name[-2:] in SIDES_PX else (name, "")
        post = self.world.find_post(media_id)
        if post is None:
            return web.Response(status=404, text="Not Found")
        await self._wait(self._latency_s)
        fault = self._pick_fault("photo", media_id)
        if fault in ("stall", "latency"):
            await self._wait(STALL_S if fault == "stall" else LATENCY_S)
        elif fault is not None and fault not in ("reset", "truncated"):
            return _spoiled(fault, media_id)
        photo = await self._photos.get(post, SIDES_PX[size])
        if fault == "reset":
            return await self._cut_off(request, photo)
        if fault == "truncated":
            photo = photo[: len(photo) // 2]
        self.stats.photos[name] += 1
        return web.Response(body=photo, content_type="image/jpeg")

    async def _show_stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats.as_json(len(self.tokens)))

    async def _admit(self, request: web.Request, kind: str, identity: str) -> web.Response | None:
        """Check token, limit and faults; an answer if the request goes no further."""
        await self._wait(self._latency_s)
        text = request.query.get("access_token")
        if not text:
            return web.json_response(v1.NO_TOKEN, status=400)
        token = self.tokens.number(text)
        if token is None or self._faults.is_revoked(token, self.stats.hits[token]):
            self.stats.bad_tokens += 1
            return web.json_response(v1.BAD_TOKEN, status=400)
        self.stats.hits[token] += 1
        if not self._window.take(token):
            self.stats.violations += 1
            return self._answer(request, v1.RATE_LIMITED, 429)
        fault = self._pick_fault(kind, identity)
        if fault in ("stall", "latency"):
            await self._wait(STALL_S if fault == "stall" else LATENCY_S)
            return None
        if fault == "rate_limited":
            return self._answer(request, v1.RATE_LIMITED, 429)
        if fault == "reset" and request.transport is not None:
            request.transport.abort()  # what is answered now is never sent
        return None if fault is None else _spoiled(fault, identity)

    def _pick_fault(self, kind: str, identity: str) -> str | None:
        fault = self._faults.pick(kind, identity, self._attempts[kind, identity])
        self._attempts[kind, identity] += 1
        if fault is not None:
            self.stats.faults[fault] += 1
        return fault

    async def _cut_off(self, request: web.Request, photo: bytes) -> web.StreamResponse:
        """Promise a whole photo, send half of it, close."""
        response = web.StreamResponse(
            headers={"Content-Type": "image/jpeg", "Content-Length": str(len(photo))}
        )
        await response.prepare(request)
        await response.write(photo[: len(photo) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _answer(self, request: web.Request, body: v1.Json, status: int = 200) -> web.Response:
        """A JSON answer with the token's limit in its headers."""
        token = self.tokens.number(request.query["access_token"])
        assert token is not None  # `_admit` has checked it
        headers = {
            "X-Ratelimit-Limit": str(self._window.hits),
            "X-Ratelimit-Remaining": str(self._window.remaining(token)),
        }
        return web.json_response(body, status=status, headers=headers)

    def _bases(self, request: web.Request) -> tuple[str, str]:
        """Where this client finds the API and the photos."""
        host, _, port = request.host.partition(":")
        if host.endswith(_TEST_DOMAIN):
            suffix = f":{port}" if port else ""
            return f"http://{API_HOST}{suffix}/v1", f"http://{PHOTO_HOST}{suffix}"
        address = request.get_extra_info("sockname")
        here = f"http://127.0.0.1:{address[1]}"
        return f"{here}/v1", here

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)


def _spoiled(fault: str, identity: str) -> web.Response:
    """The answer that a fault gives instead of the right one."""
    status, headers = 200, dict[str, str]()
    body, kind = b"Internal Server Error", "text/plain"
    match fault:
        case "error_500" | "reset":
            status = 500
        case "error_503":
            body, status = b"", 503
        case "html":
            body, kind = _PROXY_PAGE, "text/html"
        case "corrupt":
            noise = (int(unit_hash(identity, k) * 2**64).to_bytes(8, "big") for k in range(2000))
            body, kind = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"".join(noise), "image/jpeg"
        case "missing":
            body, status = b"URL signature expired", 404 if unit_hash(identity) < 0.5 else 410
        case "redirect_internal":
            body, status, headers = b"", 302, {"Location": _METADATA_URL}
        case "bomb":
            body, kind = bomb(), "image/png"
        case _:
            raise ValueError(f"no answer for fault {fault}")
    return web.Response(body=body, status=status, headers=headers, content_type=kind)


async def listen(network: Network, port: int) -> tuple[web.AppRunner, int]:
    """Serve a network on 127.0.0.1; returns what to clean up and the port taken."""
    runner = web.AppRunner(network.app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    return runner, int(runner.addresses[0][1])
