"""Mastodon's API over HTTP, below /mastodon, and Pixelfed's below /pixelfed.

    POST /api/v1/apps, /oauth/...               signing in: `sign_in.py`
    GET  /api/v1/accounts/verify_credentials   whose token it is
    GET  /api/v1/timelines/tag/{tag}           posts, newest first, with their accounts' followers
    GET  /api/v1/accounts?id[]=                accounts, up to 40
    GET  /api/v1/accounts/{id}                 an account
    GET  /api/v1/statuses?id[]=                posts, up to 20
    GET  /api/v1/statuses/{id}                 a post
    GET  /api/v1/instance, /api/v2/instance    which version this is
    GET  /api/v1/notifications, POST /api/v1/statuses: `mentions.py`

The server is closed: without a token it answers 401, as one does that shows its timelines to its own
people only. Two limits overlap, both fixed windows: one for all hits of a token, one for those that page;
the headers tell of the nearer one.

Knows requests; what the answers say comes from `bodies.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from raylike.simulator.limits import FixedWindow
from raylike.simulator.networks.base import TEST_DOMAIN, Json, Site, admit
from raylike.simulator.networks.mastodon import bodies, mentions
from raylike.simulator.networks.mastodon.sign_in import SignIn, form_of

DOCUMENTED_LIMIT = (300, 300.0)
PAGING_LIMIT = (300, 900.0)
"""rack_attack.rb. The simulator's `rate_limit` takes the place of the first; the second holds besides."""
PIXELFED_LIMIT = (512, 60.0)
"""pixelfed#6874."""
PAGING_PARAMETERS = ("page", "max_id", "min_id", "since_id")

UNKNOWN_RECORD = {"error": "Record not found"}
BAD_TOKEN = {"error": "The access token is invalid"}
TOO_MANY_REQUESTS = {"error": "Too many requests"}
TOO_MANY_IDS = {"error": "Mastodon::ValidationError"}
OUT_OF_SCOPE = {"error": "This action is outside the authorized scopes"}
NO_ACCOUNT = {"error": "This method requires an authenticated user"}

_Find = Callable[[str, str, str], Json | None]
"""A body from an id and the addresses of server and photos."""


class Mastodon:
    """The network.

    Parameters
    ----------
    site : the world, and what its networks share
    """

    name = "mastodon"
    path = "/mastodon"
    version = "4.3.0"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sign_in = SignIn(site, self.path)
        self._bodies = self._make_bodies()
        self._answering = mentions.Answering(site, self._bodies)
        # Windows end on whole seconds of the wall clock, as Mastodon's do, whichever clock counts them.
        ahead_s = (time.time() - site.clock()) % 1.0
        self._limits = tuple(
            FixedWindow(*limit, lambda: site.clock() + ahead_s) for limit in self._make_limits()
        )

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        api = f"{self.path}/api/v1"
        return [
            *self.sign_in.routes(),
            web.get(self.path + "/api/{number:v[12]}/instance{slash:/?}", self._instance),
            web.get(f"{api}/accounts/verify_credentials", self._verify_credentials),
            web.get(api + "/timelines/tag/{tag}", self._timeline),
            web.get(api + "/accounts/{id}", self._account),
            web.get(api + "/statuses/{id}", self._status),
            *self._routes_of_mastodon_alone(),
        ]

    def limits(self, request: web.Request) -> Sequence[FixedWindow]:
        """Those that a request counts under."""
        pages = any(request.query.get(name) for name in PAGING_PARAMETERS)
        return self._limits if pages else self._limits[:1]

    def rate_headers(self, window: FixedWindow, remaining: int, refused: bool) -> dict[str, str]:
        """What an answer says of a limit; `refused`: that it is used up, and the request not fulfilled.

        The moment of reset has the fraction of the present second, as in rate_limit_headers.rb.
        """
        reset = datetime.now(UTC) + timedelta(seconds=math.ceil(window.reset_after_s()))
        return {
            "X-RateLimit-Limit": str(window.hits),
            "X-RateLimit-Remaining": "0" if refused else str(remaining),
            "X-RateLimit-Reset": reset.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }

    def no_token(self) -> web.Response:
        """The answer to a request without a token."""
        return web.json_response(BAD_TOKEN, status=401)

    def _make_bodies(self) -> bodies.Mastodon:
        return bodies.Mastodon(self.site.world)

    def _make_limits(self) -> tuple[tuple[int, float], ...]:
        """Hits and seconds: of all requests, then of those that page."""
        return self.site.options.limit() or DOCUMENTED_LIMIT, PAGING_LIMIT

    def _routes_of_mastodon_alone(self) -> Iterable[web.RouteDef]:
        return [
            web.get(f"{self.path}/api/v1/accounts", self._accounts),
            web.get(f"{self.path}/api/v1/statuses", self._statuses),
            web.get(f"{self.path}/api/v1/notifications", self._notifications),
            web.post(f"{self.path}/api/v1/statuses", self._post_status),
        ]

    async def _instance(self, request: web.Request) -> web.Response:
        told: Json = {"title": "Simulated", "version": self.version}
        host = urlsplit(self._bases(request)[0]).netloc
        if request.match_info["number"] == "v1":
            return web.json_response(told | {"uri": host})
        return web.json_response(told | {"domain": host, "api_versions": {"mastodon": 2}})

    async def _verify_credentials(self, request: web.Request) -> web.Response:
        call = _Call(self, request)
        refused = await call.admit("credentials", "own")
        if refused is not None:
            return refused
        account = self._account_of(call, request)
        if account is None:
            return call.answer(NO_ACCOUNT, 422)
        source = {"privacy": "public", "sensitive": False, "language": "en", "note": "", "fields": []}
        return call.answer(account | {"source": source | {"follow_requests_count": 0}})

    async def _timeline(self, request: web.Request) -> web.Response:
        query, tag = request.query, request.match_info["tag"]
        identity = f"{tag}@{query.get('max_id', '')}"
        call = _Call(self, request)
        refused = await call.admit("timelines", identity)
        if refused is not None:
            return refused
        limit = bodies.number(query["limit"]) if "limit" in query else bodies.DEFAULT_LIMIT
        max_id, since_id, min_id = (
            bodies.number(query[name]) if query.get(name) else None
            for name in ("max_id", "since_id", "min_id")
        )
        api, photos = self._bases(request)
        page = self._bodies.timeline(tag, limit, max_id, since_id, min_id, api, photos)
        if query.get("remote", "false") not in ("false", "0"):
            page = []  # everybody is at home here
        self.site.stats.pages[identity] += 1
        url = f"{api}/api/v1/timelines/tag/{quote(tag, safe='')}"
        return call.answer(page, link=self._link(page, query, url))

    def _link(self, page: Sequence[Json], query: Mapping[str, str], url: str) -> str | None:
        """The addresses of the next page and the one before, unless this page is empty."""
        if not page:
            return None
        kept = {name: query[name] for name in ("local", "limit", "only_media") if name in query}
        older, newer = kept | {"max_id": page[-1]["id"]}, kept | {"min_id": page[0]["id"]}
        return f'<{url}?{urlencode(older)}>; rel="next", <{url}?{urlencode(newer)}>; rel="prev"'

    async def _account(self, request: web.Request) -> web.Response:
        return await self._one(request, "accounts", self._bodies.account)

    async def _status(self, request: web.Request) -> web.Response:
        return await self._one(request, "statuses", self._bodies.status)

    async def _accounts(self, request: web.Request) -> web.Response:
        return await self._many(request, "accounts", self._bodies.account, bodies.MAX_ACCOUNTS)

    async def _statuses(self, request: web.Request) -> web.Response:
        return await self._many(request, "statuses", self._bodies.status, bodies.MAX_STATUSES)

    async def _one(self, request: web.Request, kind: str, find: _Find) -> web.Response:
        call, item = _Call(self, request), request.match_info["id"]
        refused = await call.admit(kind, item)
        if refused is not None:
            return refused
        if kind == "accounts":
            self.site.stats.users[item] += 1
        found = find(item, *self._bases(request))
        return call.answer(UNKNOWN_RECORD, 404) if found is None else call.answer(found)

    async def _many(self, request: web.Request, kind: str, find: _Find, at_most: int) -> web.Response:
        call, items = _Call(self, request), list(dict.fromkeys(request.query.getall("id[]", [])))
        refused = await call.admit(kind, ",".join(items))
        if refused is not None:
            return refused
        if len(items) > at_most:
            return call.answer(TOO_MANY_IDS, 422)
        if kind == "accounts":
            self.site.stats.users.update(items)
        found = [find(item, *self._bases(request)) for item in items]
        return call.answer([body for body in found if body is not None])

    async def _notifications(self, request: web.Request) -> web.Response:
        call = _Call(self, request)
        refused = await call.admit("notifications", request.query.get("min_id", ""), "read:notifications")
        if refused is not None:
            return refused
        me = self._account_of(call, request)
        if me is None:
            return call.answer(NO_ACCOUNT, 422)
        return call.answer(self._answering.notifications(request.query, me, *self._bases(request)))

    async def _post_status(self, request: web.Request) -> web.Response:
        call, form = _Call(self, request), await form_of(request)
        refused = await call.admit("posting", form.get("in_reply_to_id", ""), "write:statuses")
        if refused is not None:
            return refused
        me = self._account_of(call, request)
        if me is None:
            return call.answer(NO_ACCOUNT, 422)
        return call.answer(*self._answering.answer(form, request.headers.get("Idempotency-Key", ""), me))

    def _account_of(self, call: _Call, request: web.Request) -> Json | None:
        """The account that asks; None for an application's token."""
        return self._bodies.account(self.sign_in.account_id(call.secret), *self._bases(request))

    def _bases(self, request: web.Request) -> tuple[str, str]:
        return self.site.bases(request, f"{self.name}{TEST_DOMAIN}", self.path)


class Pixelfed(Mastodon):
    """The differences: one limit, a reset for the refused alone, no Link headers, nothing in bulk."""

    name = "pixelfed"
    path = "/pixelfed"
    version = "3.5.3 (compatible; Pixelfed 0.12.4)"

    def rate_headers(self, window: FixedWindow, remaining: int, refused: bool) -> dict[str, str]:
        """As Laravel's: seconds, and a moment in Unix seconds, for those who are refused."""
        told = super().rate_headers(window, remaining, refused)
        reset = datetime.fromisoformat(told.pop("X-RateLimit-Reset"))
        if refused:
            told["Retry-After"] = str(math.ceil(window.reset_after_s()))
            told["X-RateLimit-Reset"] = str(int(reset.timestamp()))
        return told

    def no_token(self) -> web.Response:
        """The answer to a request without a token."""
        return web.json_response({"message": "Forbidden"}, status=403)

    def _make_bodies(self) -> bodies.Mastodon:
        return bodies.Pixelfed(self.site.world)

    def _make_limits(self) -> tuple[tuple[int, float], ...]:
        return (self.site.options.limit() or PIXELFED_LIMIT,)

    def _routes_of_mastodon_alone(self) -> Iterable[web.RouteDef]:
        return []

    def _link(self, page: Sequence[Json], query: Mapping[str, str], url: str) -> str | None:
        return None


class _Call:
    """One request: whose token it has, which limits it counts under, and how it is answered."""

    def __init__(self, network: Mastodon, request: web.Request) -> None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        self.secret = secret if scheme.lower() == "bearer" else ""
        self._network, self._request = network, request
        self._limits = network.limits(request)
        self._token = network.sign_in.number(self.secret)

    async def admit(self, kind: str, identity: str, scope: str = "") -> web.Response | None:
        """An answer if the request goes no further, else None. `scope` : that the token has to have"""
        refused = await admit(
            self._network.site,
            self._request,
            self._token,
            self._limits,
            self,
            kind=f"{self._network.name} {kind}",
            identity=identity,
            has_token=bool(self.secret),
        )
        if refused is None and scope and not self._network.sign_in.allows(self.secret, scope):
            return self.answer(OUT_OF_SCOPE, 403)
        return refused

    def answer(self, body: Json | list[Json], status: int = 200, link: str | None = None) -> web.Response:
        """A JSON answer to a request that was admitted."""
        assert self._token is not None  # `admit` has checked it
        response = self._respond(self._token, body, status)
        if link is not None:
            response.headers["Link"] = link
        return response

    def no_token(self) -> web.Response:
        """No token came with the request."""
        return self._network.no_token()

    def bad_token(self) -> web.Response:
        """The token was never issued, or was revoked."""
        return web.json_response(BAD_TOKEN, status=401)

    def limited(self, token: int) -> web.Response:
        """One hit too many."""
        return self._respond(token, TOO_MANY_REQUESTS, 429)

    def _respond(self, token: int, body: Json | list[Json], status: int) -> web.Response:
        nearest = min(self._limits, key=lambda window: window.remaining(token))
        headers = self._network.rate_headers(nearest, nearest.remaining(token), refused=status == 429)
        return web.json_response(body, status=status, headers=headers)
