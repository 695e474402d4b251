"""OAuth as Mastodon speaks it: applications register themselves, tokens do not expire.

    POST /api/v1/apps       an application: its id and secret
    GET  /oauth/authorize   a code, by redirect or shown; everybody agrees at once
    POST /oauth/token       code, or the application alone -> token
    POST /oauth/revoke      a token ends

Knows requests and the site's tokens. Knows nothing of posts.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from raylike.simulator.networks.base import Site

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""As a redirect address: show the code, so that it can be typed elsewhere."""
SCOPES = frozenset({"read", "profile", "write", "follow", "push"})
"""Each stands for the narrower ones below it, such as read:statuses."""


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
        form = await form_of(request)
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
        form = await form_of(request)
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
        form = await form_of(request)
        if self._app(form) is None:
            return _error(403, "unauthorized_client", "You are not authorized to revoke this token.")
        self._revoked.add(form.get("token", ""))
        return web.json_response({})

    def _app(self, form: Mapping[str, str]) -> App | None:
        """The application that a form names, if the secret is right."""
        app = self._apps.get(form.get("client_id", ""))
        given = form.get("client_secret", "").encode()
        return app if app is not None and secrets.compare_digest(app.secret.encode(), given) else None


async def form_of(request: web.Request) -> dict[str, str]:
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
