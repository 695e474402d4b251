"""Instagram's API v1 over HTTP.

    GET  /oauth/authorize             a code, or a token, by redirect; everybody agrees at once
    POST /oauth/access_token          code -> token
    GET  /v1/tags/{tag}/media/recent  posts, newest tag first
    GET  /v1/users/{id}               an account with its followers
    GET  /v1/media/{id}               a post

Knows requests; what the answers say comes from `bodies.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from raylike.simulator.limits import SlidingWindow
from raylike.simulator.networks.base import TEST_DOMAIN, Json, Site, admit
from raylike.simulator.networks.instagram_v1 import bodies

API_HOST = f"instagram{TEST_DOMAIN}"
DOCUMENTED_LIMIT = (5000, 3600.0)


class InstagramV1:
    """The network. Its limit is a sliding window for each token; no header says when it ends."""

    name = "instagram_v1"
    path = "/v1"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bodies = bodies.InstagramV1(site.world)
        self._window = SlidingWindow(*(site.options.limit() or DOCUMENTED_LIMIT), site.clock)

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        slash, suffix = "{slash:/?}", r"{suffix:(\.json)?/?}"
        return [
            web.get(f"/oauth/authorize{slash}", self._authorize),
            web.post(f"/oauth/access_token{slash}", self._access_token),
            web.get(f"/v1/tags/{{tag}}/media/recent{suffix}", self._recent),
            web.get(r"/v1/users/{user_id:[^/.]+}" + suffix, self._user),
            web.get(r"/v1/media/{media_id:[^/.]+}" + suffix, self._media),
        ]

    def no_token(self) -> web.Response:
        """No token came with the request."""
        return web.json_response(bodies.NO_TOKEN, status=400)

    def bad_token(self) -> web.Response:
        """The token was never issued, or was revoked."""
        return web.json_response(bodies.BAD_TOKEN, status=400)

    def limited(self, token: int) -> web.Response:
        """One hit too many."""
        return self._answer(token, bodies.RATE_LIMITED, 429)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        redirect_uri, client_id = query.get("redirect_uri", ""), query.get("client_id", "")
        if urlsplit(redirect_uri).scheme not in ("http", "https") or not client_id:
            return web.json_response(
                bodies.oauth_error("You must include a valid client_id and redirect_uri."), status=400
            )
        user_id = self._site.next_user_id()
        state = {"state": query["state"]} if "state" in query else {}
        if query.get("response_type") == "code":
            answer = {"code": self._site.tokens.grant(client_id, redirect_uri, user_id)}
            joint = "&" if urlsplit(redirect_uri).query else "?"
        elif query.get("response_type") == "token":
            answer = {"access_token": self._site.tokens.issue(user_id, client_id)}
            joint = "#"
        else:
            return web.json_response(bodies.oauth_error("response_type must be code or token."), status=400)
        location = f"{redirect_uri}{joint}{urlencode(answer | state)}"
        return web.Response(status=302, headers={"Location": location})

    async def _access_token(self, request: web.Request) -> web.Response:
        sent = await request.post() or dict(parse_qsl(await request.text()))  # whatever its content type is
        form = {key: str(value) for key, value in sent.items()}
        if form.get("grant_type") != "authorization_code" or not form.get("client_secret"):
            return web.json_response(bodies.oauth_error("Invalid grant_type or client_secret."), status=400)
        made = self._site.tokens.exchange(
            form.get("code", ""), form.get("client_id", ""), form.get("redirect_uri", "")
        )
        if made is None:
            message = "Matching code was not found or was already used."
            return web.json_response(bodies.oauth_error(message), status=400)
        token, user_id = made
        user = self._site.world.find_user(user_id)
        assert user is not None  # grants are made for accounts of this world
        _, photos = self._bases(request)
        return web.json_response({"access_token": token, "user": self._bodies.profile(user, photos)})

    async def _recent(self, request: web.Request) -> web.Response:
        tag = request.match_info["tag"]
        identity = f"{tag}@{request.query.get('max_tag_id', '')}"
        refused = await self._admit(request, "tags", identity)
        if refused is not None:
            return refused
        token = self._token(request)
        if tag.lower() in bodies.BANNED_TAGS:
            return self._answer(token, bodies.BANNED_TAG, 400)
        numbers: dict[str, int | None] = {}
        for name in ("count", "max_tag_id", "min_tag_id"):
            text = request.query.get(name)
            if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
                return self._answer(token, bodies.bad_parameter(name), 400)
            numbers[name] = int(text) if text else None
        count = bodies.DEFAULT_COUNT if numbers["count"] is None else numbers["count"]
        page = self._bodies.recent(tag, count, numbers["max_tag_id"], numbers["min_tag_id"],
                                   *self._bases(request), request.query["access_token"])  # fmt: skip
        self._site.stats.pages[identity] += 1
        return self._answer(token, page)

    async def _user(self, request: web.Request) -> web.Response:
        user_id = request.match_info["user_id"]
        refused = await self._admit(request, "users", user_id)
        if refused is not None:
            return refused
        _, photos = self._bases(request)
        status, body = self._bodies.user(user_id, photos)
        self._site.stats.users[user_id] += 1
        return self._answer(self._token(request), body, status)

    async def _media(self, request: web.Request) -> web.Response:
        media_id = request.match_info["media_id"]
        refused = await self._admit(request, "media", media_id)
        if refused is not None:
            return refused
        status, body = self._bodies.media(media_id, self._bases(request)[1])
        return self._answer(self._token(request), body, status)

    async def _admit(self, request: web.Request, kind: str, identity: str) -> web.Response | None:
        return await admit(
            self._site,
            request,
            self._token(request),
            (self._window,),
            self,
            kind=kind,
            identity=identity,
            has_token=bool(request.query.get("access_token")),
        )

    def _token(self, request: web.Request) -> int | None:
        return self._site.tokens.number(request.query.get("access_token", ""))

    def _answer(self, token: int | None, body: Json, status: int = 200) -> web.Response:
        """A JSON answer with the token's limit in its headers."""
        assert token is not None  # `admit` has checked it
        headers = {
            "X-Ratelimit-Limit": str(self._window.hits),
            "X-Ratelimit-Remaining": str(self._window.remaining(token)),
        }
        return web.json_response(body, status=status, headers=headers)

    def _bases(self, request: web.Request) -> tuple[str, str]:
        return self._site.bases(request, API_HOST, self.path)
