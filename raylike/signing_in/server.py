"""The page where friends sign in: served until enough tokens have come, or until it is stopped.

    GET /           what it is about, and a button
    GET /start      a new sign-in, bound to this browser by a cookie; on to the network
    GET /callback   back from the network: the code becomes a token, which is handed on

Knows requests. What networks want `exchange.py` knows, what friends see `pages.py`; where tokens are
kept, whoever calls `receive`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import SecretStr
from yarl import URL

from raylike.connections import connector
from raylike.errors import ConfigError, RaylikeError, ServiceUnavailable, TryAgainLater
from raylike.providers import USER_AGENT
from raylike.signing_in import pages
from raylike.signing_in.exchange import App, Exchange, Grant, NoToken, register
from raylike.signing_in.networks import SignIn, is_loopback
from raylike.signing_in.visits import LIFETIME_S, Visits

COOKIE = "raylike-sign-in"
REQUEST_TIMEOUT_S = 30.0
GOODBYE_S = 10.0
"""For answers under way when the last token has come: a friend should still read the thanks."""

HTTP_OK, HTTP_FOUND, HTTP_BAD_REQUEST = 200, 302, 400
HTTP_INTERNAL, HTTP_BAD_GATEWAY = 500, 502

_SILENT = logging.Logger("raylike.signing_in")
"""For aiohttp, whose complaints repeat what was sent: there may be a code in it."""
_SILENT.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Invitation:
    """What friends are asked for, and where.

    Attributes
    ----------
    app : None lets the server register one
    host, port : to listen at; port 0 takes a free one
    public_url : of the page as friends reach it; empty: the address listened at
    count : people whose tokens are wanted
    timeout_s : how long to wait for them; None: until they have come
    """

    network: SignIn
    app: App | None = None
    host: str = "127.0.0.1"
    port: int = 8787
    public_url: str = ""
    count: int = 1
    timeout_s: float | None = None
    allow_private: bool = False


@dataclass(frozen=True)
class Opened:
    """The page is up.

    Attributes
    ----------
    page : address for friends
    redirect_uri : where the network sends them back, to be registered with the application
    warnings : what the one who opened it should know
    """

    page: str
    redirect_uri: str
    warnings: tuple[str, ...] = ()


Keep = Callable[[Grant], str]
"""Stores a token; returns the alias that it goes by."""


async def receive(
    invitation: Invitation,
    keep: Keep,
    opened: Callable[[Opened], None],
    note: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Serve the page until the tokens of `count` people are kept.

    Parameters
    ----------
    keep : is called with each token; what it raises ends the page and is raised from here
    opened : is told, once, where the page is
    note : is told, in words without secrets, why a sign-in failed

    Raises
    ------
    ConfigError : if friends could not reach the page at the address listened at
    ServiceUnavailable : if the address is taken, or the network registers no application
    TryAgainLater : if the time is up; what has come until then is kept
    """
    _refuse_unreachable(invitation)
    with closing(_listening(invitation.host, invitation.port)) as listening:
        base = _public_url(invitation, listening.getsockname()[1])
        redirect_uri = f"{base}/callback"
        async with aiohttp.ClientSession(
            connector=connector({}, allow_private=invitation.allow_private),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
        ) as session:
            network, app = invitation.network, invitation.app
            if app is None:
                try:
                    app = await register(session, network, redirect_uri)
                except NoToken as error:
                    raise ServiceUnavailable(
                        str(error), network.server, "is it the right --base-url?"
                    ) from None
            exchange = Exchange(session, network, app, redirect_uri)
            page = SignInPage(exchange, base, invitation.count, keep, note, clock)
            runner = web.AppRunner(page.app(), access_log=None, logger=_SILENT, shutdown_timeout=GOODBYE_S)
            await runner.setup()
            try:
                await web.SockSite(runner, listening).start()
                opened(Opened(f"{base}/", redirect_uri, warnings_of(invitation, base)))
                async with asyncio.timeout(invitation.timeout_s):
                    await page.finished
            except TimeoutError:
                raise TryAgainLater(
                    f"time is up: {len(page.lenders)} of {invitation.count} have signed in",
                    "",
                    "what has come is kept; the same command waits for more",
                ) from None
            finally:
                await runner.cleanup()


class SignInPage:
    """The page itself, as an application to serve.

    Attributes
    ----------
    lenders : aliases of those who have signed in
    finished : done when there are enough, or when a token could not be kept
    """

    def __init__(
        self,
        exchange: Exchange,
        base: str,
        count: int,
        keep: Keep,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lenders: set[str] = set()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchange = exchange
        self._base = base
        self._cookie_path = URL(base).path
        self._secure = base.startswith("https:")
        self._count = count
        self._keep = keep
        self._note = note
        self._visits = Visits(clock)

    def app(self) -> web.Application:
        """The routes, ready to serve."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._welcome)
        # Not for HEAD: what looks ahead at links must not begin or end a sign-in.
        app.router.add_get("/start", self._start, allow_head=False)
        app.router.add_get("/callback", self._callback, allow_head=False)
        return app

    async def _welcome(self, _: web.Request) -> web.StreamResponse:
        return self._page(pages.ENOUGH if self.finished.done() else pages.WELCOME)

    async def _start(self, _: web.Request) -> web.StreamResponse:
        if self.finished.done():
            return self._page(pages.ENOUGH)
        verifier = self._exchange.new_verifier()
        state, visit = self._visits.begin(verifier)
        address = self._exchange.address(state, verifier)
        response = web.Response(status=HTTP_FOUND, headers={"Location": str(address)})
        response.set_cookie(
            _cookie(state),
            visit.browser.get_secret_value(),
            max_age=int(LIFETIME_S),
            path=self._cookie_path,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    async def _callback(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        state = query.get("state", "")
        visit = self._visits.end(state, request.cookies.get(_cookie(state), ""))
        if visit is None:
            return self._page(pages.STALE, HTTP_BAD_REQUEST)
        if "error" in query:
            response = self._refused(query["error"])
        elif code := query.get("code"):
            response = await self._finish(SecretStr(code), visit.verifier)
        else:
            response = self._page(pages.STALE, HTTP_BAD_REQUEST)
        response.del_cookie(_cookie(state), path=self._cookie_path)
        return response

    def _refused(self, error: str) -> web.Response:
        if error == "access_denied":
            self._note("somebody did not agree; nothing was stored")
            return self._page(pages.DENIED)
        self._note(f"{self._exchange.network.title} ended a sign-in without a code")
        return self._page(pages.FAILED, HTTP_BAD_GATEWAY)

    async def _finish(self, code: SecretStr, verifier: SecretStr) -> web.Response:
        try:
            alias = self._keep(await self._exchange.grant(code, verifier))
        except NoToken as error:
            self._note(f"{self._exchange.network.title} gave no token: {error}")
            return self._page(pages.FAILED, HTTP_BAD_GATEWAY)
        except RaylikeError as error:  # nobody else's sign-in would end better
            if not self.finished.done():
                self.finished.set_exception(error)
            return self._page(pages.BROKEN, HTTP_INTERNAL)
        self.lenders.add(alias)
        if len(self.lenders) >= self._count and not self.finished.done():
            self.finished.set_result(None)
        return self._page(pages.THANKS, alias=alias)

    def _page(self, moment: str, status: int = HTTP_OK, alias: str = "") -> web.Response:
        text = pages.page(moment, self._exchange.network, f"{self._base}/start", alias)
        return web.Response(text=text, status=status, content_type="text/html")

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A polite page instead of any error, and the same headers with every answer."""
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = self._page(pages.NOT_HERE, error.status)
        except Exception as error:  # its text may hold what was sent
            self._note(f"a sign-in broke: {type(error).__name__}")
            response = self._page(pages.BROKEN, HTTP_INTERNAL)
        response.headers.update(pages.headers())
        return response


def _cookie(state: str) -> str:
    """One for each sign-in, so that two tabs do not get into each other's way."""
    return f"{COOKIE}-{hashlib.sha256(state.encode()).hexdigest()[:16]}"


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ServiceUnavailable(
            f"cannot listen: {error.strerror}", f"{host}:{port}", "--listen 127.0.0.1:0 takes a free port"
        ) from None


def _refuse_unreachable(invitation: Invitation) -> None:
    given = invitation.public_url
    if not given and invitation.host in ("0.0.0.0", "::"):
        raise ConfigError(
            "listens at every address of this machine, so friends' browsers must be told which",
            "--public-url",
            "such as https://lend.example.org",
        )
    if given:
        try:
            url = URL(given)
            valid = url.scheme in ("http", "https") and bool(url.host) and not (url.query or url.fragment)
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError("is no http(s) address", "--public-url", "such as https://lend.example.org")


def _public_url(invitation: Invitation, port: int) -> str:
    """The page's address without a slash at its end."""
    given = invitation.public_url or str(URL.build(scheme="http", host=invitation.host, port=port))
    return given.rstrip("/")


def warnings_of(invitation: Invitation, base: str) -> tuple[str, ...]:
    """What is risky about a page at an address, for the one who opens it."""
    url = URL(base)
    warnings: list[str] = []
    if not is_loopback(invitation.host):
        warnings.append(f"the page can be reached by others, at {invitation.host}")
    if url.scheme != "https" and not is_loopback(url.host or ""):
        warnings.append(f"{base} is not https: what friends' browsers bring can be read on its way")
    return tuple(warnings)
