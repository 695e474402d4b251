"""Mastodon's API over HTTP, below /mastodon, and Pixelfed's below /pixelfed.

    POST /api/v1/apps                          an application: its id and secret
    GET  /oauth/authorize                      a code, by redirect or shown; everybody agrees at once
    POST /oauth/token                          code, or the application alone -> token
    POST /oauth/revoke                         a token ends
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

import base64
import hashlib
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from raylike.simulator.limits import FixedWindow
from raylike.simulator.networks.base import TEST_DOMAIN, Json, Site, admit
from raylike.simulator.networks.mastodon import bodies, mentions

DOCUMENTED_LIMIT = (300, 300.0)
PAGING_LIMIT = (300, 900.0)
"""rack_attack.rb. The simulator's `rate_limit` takes the place of the first; the second holds besides."""
PIXELFED_LIMIT = (512, 60.0)
"""pixelfed#6874."""
PAGING_PARAMETERS = ("page", "max_id", "min_id", "since_id")

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""As a redirect address: show the code, so that it can be typed elsewhere."""
SCOPES = frozenset({"read", "profile", "write", "follow", "push"})
"""Each stands for the narrower ones below it, such as read:statuses."""

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
        call, form = _Call(self, request), await _form(request)
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


@dataclass(frozen=True)
class App:
    """An application that registered itself."""

    secret: str
    redirect_uris: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True)
class Asked:
    """What a code was asked for, beside what `TokenBook` knows of it.

    Attributes
    ----------
    challenge : of PKCE (RFC 7636), as SHA-256; empty where none was given
    """

    scope: str
    challenge: str


class SignIn:
    """OAuth as Mastodon speaks it: applications register themselves, tokens do not expire.

    Parameters
    ----------
    site : its tokens are good for every network; one revoked here is refused here alone
    path : of the network
    """

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path
        self._apps: dict[str, App] = {}
        self._asked: dict[str, Asked] = {}
        self._scopes: dict[str, str] = {}
        """By token, of those that were asked for here; the first ones may do everything."""
        self._revoked: set[str] = set()

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        return [
            web.post(f"{self._path}/api/v1/apps", self._register),
            web.get(f"{self._path}/oauth/authorize", self._authorize),
            web.post(f"{self._path}/oauth/token", self._exchange),
            web.post(f"{self._path}/oauth/revoke", self._revoke),
        ]

    def number(self, secret: str) -> int | None:
        """A token's number, from 0, or None if it was never issued, or was revoked."""
        return None if secret in self._revoked else self._site.tokens.number(secret)

    def allows(self, secret: str, scope: str) -> bool:
        """Whether a token is good for a scope, such as read:statuses."""
        given = self._scopes.get(secret)
        return given is None or _within(scope, frozenset(given.split()))

    def account_id(self, secret: str) -> str:
        """Whose token it is: its first part, as `TokenBook` makes them. An application's is nobody's."""
        return secret.partition(".")[0]

    async def _register(self, request: web.Request) -> web.Response:
        form = await _form(request)
        uris, scopes = form.get("redirect_uris", "").split(), form.get("scopes") or "read"
        if not form.get("client_name") or not uris or not _within(scopes, SCOPES):
            return web.json_response({"error": "Validation failed"}, status=422)
        client_id, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._apps[client_id] = App(secret, frozenset(uris), frozenset(scopes.split()))
        return web.json_response({
            "id": str(len(self._apps)), "name": form["client_name"], "website": form.get("website"),
            "scopes": scopes.split(), "redirect_uri": "\n".join(uris), "redirect_uris": uris,
            "client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0,
        })  # fmt: skip

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri", "")
        app, scope = self._apps.get(client_id), query.get("scope") or "read"
        if app is None:
            return _error(401, "invalid_client", "This application is not known.")
        if redirect_uri not in app.redirect_uris or query.get("response_type") != "code":
            return _error(400, "invalid_request", "redirect_uri or response_type is not right.")
        if query.get("code_challenge_method", "S256") != "S256":
            return _error(400, "invalid_request", "code_challenge_method must be S256.")
        if not _within(scope, app.scopes):
            return _error(400, "invalid_scope", "The application was not registered for this scope.")
        code = self._site.tokens.grant(client_id, redirect_uri, self._site.next_user_id())
        self._asked[code] = Asked(scope, query.get("code_challenge", ""))
        if redirect_uri == OUT_OF_BAND:
            return web.Response(text=code)
        answer = {"code": code} | ({"state": query["state"]} if "state" in query else {})
        joint = "&" if urlsplit(redirect_uri).query else "?"
        return web.Response(status=302, headers={"Location": f"{redirect_uri}{joint}{urlencode(answer)}"})

    async def _exchange(self, request: web.Request) -> web.Response:
        form = await _form(request)
        app = self._app(form)
        if app is None:
            return _error(401, "invalid_client", "The application is not known, or its secret is wrong.")
        if form.get("grant_type") == "client_credentials":
            scope = form.get("scope") or "read"
            if not _within(scope, app.scopes):
                return _error(400, "invalid_scope", "The application was not registered for this scope.")
            return self._token(self._site.tokens.issue("app", form["client_id"]), scope)
        if form.get("grant_type") != "authorization_code":
            return _error(400, "unsupported_grant_type", "Only authorization_code and client_credentials.")
        code = form.get("code", "")
        asked = self._asked.pop(code, None)
        made = self._site.tokens.exchange(code, form["client_id"], form.get("redirect_uri", ""))
        if asked is None or made is None or not _proves(form.get("code_verifier", ""), asked.challenge):
            return _error(400, "invalid_grant", "The code is not known, was used, or is somebody else's.")
        return self._token(made[0], asked.scope)

    def _token(self, secret: str, scope: str) -> web.Response:
        """The answer that brings a token, whose scope is remembered."""
        self._scopes[secret] = scope
        created_at = int(datetime.now(UTC).timestamp())
        return web.json_response(
            {"access_token": secret, "token_type": "Bearer", "scope": scope, "created_at": created_at}
        )

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if self._app(form) is None:
            return _error(403, "unauthorized_client", "You are not authorized to revoke this token.")
        self._revoked.add(form.get("token", ""))
        return web.json_response({})

    def _app(self, form: Mapping[str, str]) -> App | None:
        """The application that a form names, if the secret is right."""
        app = self._apps.get(form.get("client_id", ""))
        given = form.get("client_secret", "").encode()
        return app if app is not None and secrets.compare_digest(app.secret.encode(), given) else None


async def _form(request: web.Request) -> dict[str, str]:
    """A form's fields that are text."""
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _within(scopes: str, allowed: frozenset[str]) -> bool:
    """Whether each of some scopes is allowed, by itself or as part of a wider one."""
    return all(scope in allowed or scope.partition(":")[0] in allowed for scope in scopes.split())


def _proves(verifier: str, challenge: str) -> bool:
    """Whether who has the verifier has made the challenge; with no challenge there is nothing to prove."""
    digest = hashlib.sha256(verifier.encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return not challenge or secrets.compare_digest(made.encode(), challenge.encode())


def _error(status: int, kind: str, description: str) -> web.Response:
    return web.json_response({"error": kind, "error_description": description}, status=status)
