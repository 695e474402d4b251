"""Bluesky over HTTP, below /bluesky, as the server of an account answers.

    POST xrpc/com.atproto.server.createSession    name and app password -> two tokens
    POST xrpc/com.atproto.server.refreshSession   the second token -> two new ones, once
    GET  xrpc/com.atproto.server.getSession       whose token it is
    GET  xrpc/app.bsky.feed.searchPosts           posts of a tag, in pages, down to a certain depth
    GET  xrpc/app.bsky.feed.getPosts              posts, up to 25
    GET  xrpc/app.bsky.actor.getProfiles          accounts with their followers, up to 25
    GET  xrpc/app.bsky.actor.getProfile           an account
    GET  xrpc/app.bsky.notification.listNotifications, POST xrpc/com.atproto.repo.putRecord: `mentions.py`

The limit is a fixed window. The network holds it against an address; here, where all come from one, it is
held against whose token it was that was given out at the start. Signing in has a limit besides.

Knows requests; what the answers say comes from `bodies.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from raylike.simulator.limits import FixedWindow
from raylike.simulator.networks.base import TEST_DOMAIN, Json, Site, admit
from raylike.simulator.networks.bluesky import bodies, mentions
from raylike.simulator.networks.bluesky.problems import (
    BAD_TOKEN,
    LIMITED,
    NO_METHOD,
    NO_PROFILE,
    NO_TOKEN,
    WRONG_PASSWORD,
    Problem,
)
from raylike.simulator.networks.bluesky.sessions import ACCESS, REFRESH, Sessions

API_HOST = f"bluesky{TEST_DOMAIN}"

DOCUMENTED_LIMIT = (3000, 300.0)
SIGN_IN_LIMIT = (30, 300.0)
"""docs.bsky.app, rate-limits. The simulator's `rate_limit` takes the place of the first only."""

DEFAULT_LIMIT, MAX_LIMIT = 25, 100
"""Posts on a page: without `limit`, and at most."""
MAX_ITEMS = 25
"""Accounts, or posts, that one request may name."""


class Bluesky:
    """The network.

    Parameters
    ----------
    site : the world, and what its networks share
    """

    name = "bluesky"
    path = "/bluesky"
    scroll_depth = 10_000
    """Posts of one search that its pages reach: search/handlers.go of bluesky-social/indigo."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bodies = bodies.Bluesky(site.world)
        self.sessions = Sessions(site, self.bodies)
        self._answering = mentions.Answering(site, self.bodies)
        self.window = FixedWindow(*(site.options.limit() or DOCUMENTED_LIMIT), site.clock)
        self.sign_in_window = FixedWindow(*SIGN_IN_LIMIT, site.clock)

    @property
    def logins(self) -> tuple[str, ...]:
        """HANDLE:APP-PASSWORD, one for each token that was given out at the start."""
        return tuple(
            f"{self.bodies.handle(self.sessions.user(number))}:{self.sessions.password(number)}"
            for number in range(len(self.site.first_tokens))
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        xrpc = f"{self.path}/xrpc"
        return [
            web.post(f"{xrpc}/com.atproto.server.createSession", self._create_session),
            web.post(f"{xrpc}/com.atproto.server.refreshSession", self._refresh_session),
            web.get(f"{xrpc}/com.atproto.server.getSession", self._get_session),
            web.get(f"{xrpc}/app.bsky.feed.searchPosts", self._search_posts),
            web.get(f"{xrpc}/app.bsky.feed.getPosts", self._get_posts),
            web.get(f"{xrpc}/app.bsky.actor.getProfiles", self._get_profiles),
            web.get(f"{xrpc}/app.bsky.actor.getProfile", self._get_profile),
            web.get(f"{xrpc}/app.bsky.notification.listNotifications", self._list_notifications),
            web.post(f"{xrpc}/com.atproto.repo.putRecord", self._put_record),
            web.route("*", f"{xrpc}/{{method}}", self._no_method),
        ]

    def rate_headers(self, windows: Sequence[FixedWindow], token: int) -> dict[str, str]:
        """Of the limit that is nearest to being used up, in lower case, as HTTP/2 has them."""
        window = min(windows, key=lambda window: window.remaining(token))
        return {
            "ratelimit-limit": str(window.hits),
            "ratelimit-remaining": str(window.remaining(token)),
            "ratelimit-reset": str(int(time.time() + window.reset_after_s())),
            "ratelimit-policy": f"{window.hits};w={window.window_s:g}",
        }

    async def _create_session(self, request: web.Request) -> web.Response:
        given = await _json(request)
        name, password = given.get("identifier"), given.get("password")
        user = self.bodies.find(name) if isinstance(name, str) else None
        number = self.sessions.sign_in(user, str(password))
        call = _Call(self, request, number, WRONG_PASSWORD, (self.sign_in_window, self.window))
        refused = await call.admit("sessions", str(name))
        if refused is not None:
            return refused
        if not isinstance(name, str) or not isinstance(password, str):
            return call.answer(Problem("InvalidRequest", "Input must have the property identifier"))
        return call.answer(self._session(call.number, self.sessions.open(call.number)))

    async def _refresh_session(self, request: web.Request) -> web.Response:
        found = self.sessions.find(_bearer(request), REFRESH)
        call = self._call(request, found)
        refused = await call.admit("sessions", "refresh")
        if refused is not None:
            return refused
        if await request.read():
            return call.answer(
                Problem("InvalidRequest", "A request body was provided when none was expected")
            )
        # Another request may have used the token while this one was waiting.
        found = self.sessions.use(_bearer(request))
        if isinstance(found, Problem):
            return call.answer(found)
        return call.answer(self._session(found, self.sessions.open(found)))

    async def _get_session(self, request: web.Request) -> web.Response:
        call = self._call(request)
        refused = await call.admit("sessions", "own")
        return refused if refused is not None else call.answer(self._session(call.number, {}))

    async def _search_posts(self, request: web.Request) -> web.Response:
        call, query = self._call(request), request.query
        tags = ",".join(query.getall("tag", []))
        identity = f"{query.get('q', '')} {tags}@{query.get('until', '')}+{query.get('cursor', '')}"
        refused = await call.admit("search", identity)
        if refused is not None:
            return refused
        try:
            body = self._found(query, self._photos(request))
        except Problem as problem:
            return call.answer(problem)
        self.site.stats.pages[identity] += 1
        return call.answer(body)

    def _found(self, query: MultiMapping[str], photos: str) -> Json:
        """A page of a search. Raises `Problem` for parameters that are none."""
        words = tuple(query.get("q", "").split())
        if not words:
            raise Problem("InvalidRequest", 'Error: Params must have the property "q"')
        if query.get("sort", "latest") not in ("latest", "top"):
            raise Problem("InvalidRequest", "Error: sort must be one of (top|latest)")
        limit = _number(query, "limit", DEFAULT_LIMIT)
        if not 1 <= limit <= MAX_LIMIT:
            raise Problem("InvalidRequest", f"Error: limit must be from 1 to {MAX_LIMIT}")
        first = _number(query, "cursor", 0)
        if first > self.scroll_depth:
            raise Problem("InvalidRequest", "invalid value for 'cursor' (can't paginate so deep)")
        rows = self.bodies.search(
            bodies.Search(
                words,
                tuple(query.getall("tag", [])),
                _moment(query, "since"),
                _moment(query, "until"),
                query.get("sort") == "top",
            )
        )
        rows = rows[: self.scroll_depth]
        end = first + limit
        page = [int(row) for row in rows[first:end]]
        body: Json = {"hitsTotal": int(rows.size), "posts": self.bodies.posts(page, photos)}
        return body if end >= rows.size else {"cursor": str(end)} | body

    async def _get_posts(self, request: web.Request) -> web.Response:
        return await self._many(request, "posts", "uris")

    async def _get_profiles(self, request: web.Request) -> web.Response:
        return await self._many(request, "profiles", "actors")

    async def _many(self, request: web.Request, kind: str, parameter: str) -> web.Response:
        """Posts or profiles; those that are not there are left out."""
        call, items = self._call(request), list(dict.fromkeys(request.query.getall(parameter, [])))
        refused = await call.admit(kind, ",".join(items))
        if refused is not None:
            return refused
        if not 1 <= len(items) <= MAX_ITEMS:
            message = f"Error: {parameter} must have from 1 to {MAX_ITEMS} elements"
            return call.answer(Problem("InvalidRequest", message))
        photos = self._photos(request)
        if kind == "profiles":
            self.site.stats.users.update(items)
            found = [self.bodies.profile(item, photos) for item in items]
        else:
            me = self._did(call)
            found = [
                self._answering.post(item, me, photos) or self.bodies.post(item, photos) for item in items
            ]
        return call.answer({kind: [body for body in found if body is not None]})

    async def _get_profile(self, request: web.Request) -> web.Response:
        call, actor = self._call(request), request.query.get("actor", "")
        refused = await call.admit("profiles", actor)
        if refused is not None:
            return refused
        self.site.stats.users[actor] += 1
        return call.answer(self.bodies.profile(actor, self._photos(request)) or NO_PROFILE)

    async def _list_notifications(self, request: web.Request) -> web.Response:
        call = self._call(request)
        refused = await call.admit("notifications", request.query.get("cursor", ""))
        if refused is not None:
            return refused
        query, me = request.query, self._did(call)
        try:
            limit = _number(query, "limit", mentions.DEFAULT_LIMIT)
            before = _number(query, "cursor", mentions.NEWEST)
        except Problem as problem:
            return call.answer(problem)
        limit = min(max(limit, 1), mentions.MAX_LIMIT)
        reasons, photos = query.getall("reasons", []), self._photos(request)
        return call.answer(self._answering.notifications(reasons, limit, before, me, photos))

    async def _put_record(self, request: web.Request) -> web.Response:
        call, body = self._call(request), await _json(request)
        refused = await call.admit("records", str(body.get("rkey")))
        if refused is not None:
            return refused
        try:
            return call.answer(self._answering.put(body, self._did(call)))
        except Problem as problem:
            return call.answer(problem)

    def _did(self, call: _Call) -> str:
        """Of the account that asks."""
        return self.bodies.did(self.sessions.user(call.number))

    async def _no_method(self, _: web.Request) -> web.Response:
        return web.json_response(NO_METHOD.body, status=NO_METHOD.status)

    def _call(self, request: web.Request, found: int | Problem | None = None) -> _Call:
        """A request with a token; `found` : what is known of it, if it is not for access."""
        found = self.sessions.find(_bearer(request), ACCESS) if found is None else found
        number, trouble = (None, found) if isinstance(found, Problem) else (found, BAD_TOKEN)
        return _Call(self, request, number, trouble, (self.window,))

    def _session(self, number: int, tokens: Json) -> Json:
        user = self.sessions.user(number)
        about = {"did": self.bodies.did(user), "handle": self.bodies.handle(user), "active": True}
        return about | tokens

    def _photos(self, request: web.Request) -> str:
        return self.site.bases(request, API_HOST, self.path)[1]


class _Call:
    """One request: whose it is, what it counts under, and how it is answered.

    Parameters
    ----------
    token : its number; None if there is none that counts
    trouble : what is said in that case, or if the token was revoked
    """

    def __init__(
        self,
        network: Bluesky,
        request: web.Request,
        token: int | None,
        trouble: Problem,
        windows: Sequence[FixedWindow],
    ) -> None:
        self._network, self._request = network, request
        self._token, self._trouble, self._windows = token, trouble, windows

    @property
    def number(self) -> int:
        """Of the token, once the request is admitted."""
        assert self._token is not None
        return self._token

    async def admit(self, kind: str, identity: str) -> web.Response | None:
        """An answer if the request goes no further, else None."""
        return await admit(
            self._network.site,
            self._request,
            self._token,
            self._windows,
            self,
            kind=f"{self._network.name} {kind}",
            identity=identity,
            has_token=self._trouble is not NO_TOKEN,
        )

    def answer(self, body: Json | Problem) -> web.Response:
        """An answer to a request that was admitted."""
        headers = self._network.rate_headers(self._windows, self.number)
        if isinstance(body, Problem):
            return web.json_response(body.body, status=body.status, headers=headers)
        return web.json_response(body, headers=headers)

    def no_token(self) -> web.Response:
        """No token came with the request."""
        return self.bad_token()

    def bad_token(self) -> web.Response:
        """The token was never issued, has ended, or was revoked; or the password is wrong."""
        return web.json_response(self._trouble.body, status=self._trouble.status)

    def limited(self, token: int) -> web.Response:
        """One hit too many."""
        return self.answer(LIMITED)


def _bearer(request: web.Request) -> str | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret if scheme == "Bearer" and secret else None


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _number(query: MultiMapping[str], name: str, otherwise: int) -> int:
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("InvalidRequest", f"Error: {name} must be an integer")
    return int(text)


def _moment(query: MultiMapping[str], name: str) -> int | None:
    if name not in query:
        return None
    moment = bodies.parse_moment(query[name])
    if moment is None:
        raise Problem("BadQueryString", f"invalid value for '{name}'")
    return moment
