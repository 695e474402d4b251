"""The simulated networks as one HTTP service on loopback.

    GET  /photos/{media_id}.jpg       a photo, drawn on request
    GET  /_simulator/stats            what was asked so far, as JSON

and what each of `networks/` answers. Knows how they are put together and serves the photos that all of
them show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from aiohttp import web

from raylike.simulator.faults import LATENCY_S, STALL_S, bomb, unit_hash
from raylike.simulator.networks.base import Network, Site, noise_of, spoiled_answer
from raylike.simulator.networks.bluesky.routes import Bluesky
from raylike.simulator.networks.instagram_graph.routes import InstagramGraph
from raylike.simulator.networks.instagram_v1.routes import InstagramV1
from raylike.simulator.networks.mastodon.routes import Mastodon, Pixelfed
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.photos import SIDES_PX, Photos

NETWORKS: tuple[Callable[[Site], Network], ...] = (InstagramV1, InstagramGraph, Mastodon, Pixelfed, Bluesky)

_METADATA_URL = "http://169.254.169.254/latest/meta-data/"


class Server:
    """One world, told by every network, and its photos.

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
        self.site = Site(options, clock, sleep)
        self.networks = [make(self.site) for make in NETWORKS]
        self._photos = Photos(self.site.world, executor)

    @property
    def logins(self) -> dict[str, tuple[str, ...]]:
        """Names and passwords by network, where people sign in with these rather than bring a token."""
        return {network.name: network.logins for network in self.networks if isinstance(network, Bluesky)}

    def app(self) -> web.Application:
        """The routes, ready to serve."""
        app = web.Application()
        for network in self.networks:
            app.add_routes(network.routes())
        app.add_routes(
            [
                web.get(r"/photos/{name:[0-9_]+}.jpg", self._photo),
                web.get("/_simulator/stats", self._show_stats),
            ]
        )
        return app

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        media_id, size = (name[:-2], name[-2:]) if name[-2:] in SIDES_PX else (name, "")
        post = self.site.world.find_post(media_id)
        if post is None:
            return web.Response(status=404, text="Not Found")
        await self.site.wait(self.site.options.latency_s)
        fault = self.site.pick_fault("photo", media_id)
        if fault in ("stall", "latency"):
            await self.site.wait(STALL_S if fault == "stall" else LATENCY_S)
        elif fault is not None and fault not in ("reset", "truncated"):
            return _spoiled_photo(fault, media_id)
        photo = await self._photos.get(post, SIDES_PX[size])
        if fault == "reset":
            return await self._cut_off(request, photo)
        if fault == "truncated":
            photo = photo[: len(photo) // 2]
        self.site.stats.photos[name] += 1
        return web.Response(body=photo, content_type="image/jpeg")

    async def _show_stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.site.stats.as_json(len(self.site.tokens)))

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


def _spoiled_photo(fault: str, identity: str) -> web.Response:
    """The answer that a fault gives instead of a photo."""
    match fault:
        case "corrupt":
            return web.Response(
                body=b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + noise_of(identity, 16_000),
                content_type="image/jpeg",
            )
        case "missing":
            return web.Response(
                body=b"URL signature expired", status=404 if unit_hash(identity) < 0.5 else 410
            )
        case "redirect_internal":
            return web.Response(status=302, headers={"Location": _METADATA_URL})
        case "bomb":
            return web.Response(body=bomb(), content_type="image/png")
    return spoiled_answer(fault)


async def listen(server: Server, port: int) -> tuple[web.AppRunner, int]:
    """Serve on 127.0.0.1; returns what to clean up and the port taken."""
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    return runner, int(runner.addresses[0][1])
