"""The Instagram API with Facebook Login over HTTP, below /graph/v25.0.

    GET /dialog/oauth                                a code, or a token, by redirect; everybody agrees at once
    GET /oauth/access_token                          code, or a token -> token
    GET /me/accounts                                 the pages of who signed in, with their accounts
    GET /{own account}?fields=business_discovery...  another account, and its posts
    GET /{own account}/recently_searched_hashtags    ids of hashtags
    GET /ig_hashtag_search                           a hashtag's id
    GET /{hashtag}/top_media, /recent_media          posts

In earnest the dialog is on another host. The limit is a sliding window for each token; headers tell, in
percent and rounded down, how much of it is used. Whoever signs in here has a professional account.

Knows requests; what the answers say comes from `bodies.py`.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from raylike.simulator.limits import SlidingWindow
from raylike.simulator.networks.base import TEST_DOMAIN, Json, Site, admit
from raylike.simulator.networks.instagram_graph import bodies
from raylike.simulator.networks.instagram_graph.bodies import Failure, Field

API_HOST = f"graph{TEST_DOMAIN}"
DOCUMENTED_LIMIT = (200, 3600.0)
MOST_TAGS, TAGS_WINDOW_S = 30, 7 * 86_400.0
"""Different hashtags that one account may search for, and in what time."""
TOKEN_LASTS_S = 5_183_944
"""Sixty days, as answered in the documentation. Tokens of the simulator last as long as it does."""


class InstagramGraph:
    """The network."""

    name = "instagram_graph"
    path = "/graph/v25.0"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bodies = bodies.InstagramGraph(site.world)
        self.window = SlidingWindow(*(site.options.limit() or DOCUMENTED_LIMIT), site.clock)
        self._searches = _Searches(site.clock)

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        node = self.path + "/{id:[0-9]+}"
        return [
            web.get(f"{self.path}/dialog/oauth", self._dialog),
            web.get(f"{self.path}/oauth/access_token", self._access_token),
            web.get(f"{self.path}/me/accounts", self._own_pages),
            web.get(f"{self.path}/ig_hashtag_search", self._tag_search),
            web.get(node, self._own_account),
            web.get(f"{node}/recently_searched_hashtags", self._recent_searches),
            web.get(node + "/{edge:top_media|recent_media}", self._tag_media),
        ]

    async def _dialog(self, request: web.Request) -> web.Response:
        query = request.query
        redirect_uri, client_id = query.get("redirect_uri", ""), query.get("client_id", "")
        kind = query.get("response_type", "code")
        if urlsplit(redirect_uri).scheme not in ("http", "https") or not client_id:
            return _failed(bodies.bad_parameter("You must include a valid client_id and redirect_uri"))
        user_id = self.site.next_user_id()
        if kind == "code":
            answer = {"code": self.site.tokens.grant(client_id, redirect_uri, user_id)}
            joint = "&" if urlsplit(redirect_uri).query else "?"
        elif kind == "token":
            answer = {"access_token": self.site.tokens.issue(user_id, client_id)}
            joint = "#"
        else:
            return _failed(bodies.bad_parameter("response_type must be code or token"))
        answer |= {"state": query["state"]} if "state" in query else {}
        return web.Response(status=302, headers={"Location": f"{redirect_uri}{joint}{urlencode(answer)}"})

    async def _access_token(self, request: web.Request) -> web.Response:
        query, tokens = request.query, self.site.tokens
        client_id = query.get("client_id", "")
        if not client_id or not query.get("client_secret"):
            return _failed(Failure(bodies.error(1, "Error validating client secret.")))
        if query.get("grant_type") == "fb_exchange_token":
            old = query.get("fb_exchange_token", "")
            if tokens.number(old) is None:
                return _failed(Failure(bodies.BAD_TOKEN))
            return _token(tokens.issue(_user_id(old), client_id))
        made = tokens.exchange(query.get("code", ""), client_id, query.get("redirect_uri", ""))
        if made is None:
            return _failed(Failure(bodies.error(100, "This authorization code has been used.", 36009)))
        return _token(made[0])

    async def _own_pages(self, request: web.Request) -> web.Response:
        call = _Call(self, request)

        def answer() -> Json:
            return self.bodies.own_pages(call.user_id, call.fields("id,name"))

        return await call.answered("pages", "own", answer)

    async def _own_account(self, request: web.Request) -> web.Response:
        call, asked = _Call(self, request), request.query.get("fields", "")
        photos = self.site.bases(request, API_HOST, self.path)[1]

        def answer() -> Json:
            call.must_be_own(request.match_info["id"])
            told = self.bodies.own_account(call.user_id, call.fields("id"), photos)
            self.site.stats.pages[asked] += 1
            return told

        return await call.answered("accounts", asked, answer)

    async def _recent_searches(self, request: web.Request) -> web.Response:
        call = _Call(self, request)

        def answer() -> Json:
            call.must_be_own(request.match_info["id"])
            tag_ids = []
            for tag in self._searches.of(call.own_id):
                try:
                    tag_ids.append(self.bodies.tag_id(tag))
                except Failure:  # searched for, and not found
                    continue
            return {"data": [{"id": tag_id} for tag_id in tag_ids]}

        return await call.answered("searches", "own", answer)

    async def _tag_search(self, request: web.Request) -> web.Response:
        call, tag = _Call(self, request), request.query.get("q", "").lower()

        def answer() -> Json:
            call.must_be_own(request.query.get("user_id", ""))
            if not tag:
                raise bodies.bad_parameter("The parameter q is required")
            if not self._searches.add(call.own_id, tag):
                raise Failure(bodies.TOO_MANY_TAGS)
            return {"data": [{"id": self.bodies.tag_id(tag)}]}

        return await call.answered("searches", tag, answer)

    async def _tag_media(self, request: web.Request) -> web.Response:
        call, query = _Call(self, request), request.query
        tag_id, edge = request.match_info["id"], request.match_info["edge"]
        identity = f"{tag_id}/{edge}@{query.get('after', '')}"
        api, photos = self.site.bases(request, API_HOST, self.path)

        def answer() -> Json:
            call.must_be_own(query.get("user_id", ""))
            page = self.bodies.tag_media(
                tag_id, edge, call.fields("id"), query.get("limit", ""), query.get("after", ""), photos
            )
            self.site.stats.pages[identity] += 1
            if cursors := page["paging"].get("cursors"):
                following = {**query, "access_token": call.secret, "after": cursors["after"]}
                page["paging"]["next"] = f"{api}/{tag_id}/{edge}?{urlencode(following)}"
            return page

        return await call.answered("hashtags", identity, answer)


class _Call:
    """One request: whose token it has, and how it is answered."""

    def __init__(self, network: InstagramGraph, request: web.Request) -> None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        self.secret = secret if scheme.lower() == "bearer" else request.query.get("access_token", "")
        self.user_id = _user_id(self.secret)
        self.own_id = network.bodies.account_of(self.user_id) or ""
        self._network, self._request = network, request
        self._token = network.site.tokens.number(self.secret)

    async def answered(self, kind: str, identity: str, answer: Callable[[], Json]) -> web.Response:
        """What `answer` gives if the request is admitted; else what it is refused with."""
        refused = await admit(
            self._network.site,
            self._request,
            self._token,
            (self._network.window,),
            self,
            kind=f"{self._network.name} {kind}",
            identity=identity,
            has_token=bool(self.secret),
        )
        if refused is not None:
            return refused
        assert self._token is not None  # `admit` has checked it
        try:
            return web.json_response(answer(), headers=self._usage(self._token))
        except Failure as failure:
            return web.json_response(failure.body, status=400, headers=self._usage(self._token))

    def fields(self, default: str) -> Sequence[Field]:
        """The fields that are asked for."""
        return bodies.read_fields(self._request.query.get("fields") or default)

    def must_be_own(self, node_id: str) -> None:
        """Raise `Failure` unless this is the id of the account that the token belongs to."""
        if node_id != self.own_id or not node_id:
            raise bodies.unknown_node(node_id)

    def no_token(self) -> web.Response:
        """No token came with the request."""
        return web.json_response(bodies.NO_TOKEN, status=400)

    def bad_token(self) -> web.Response:
        """The token was never issued, or was revoked."""
        return web.json_response(bodies.BAD_TOKEN, status=400)

    def limited(self, token: int) -> web.Response:
        """One hit too many, or the fault that says so: then it is over in a minute."""
        window = self._network.window
        minutes = 1 if window.has_room(token) else math.ceil(window.reset_after_s() / 60)
        usage = {
            "type": "instagram",
            "call_count": 100,
            "total_cputime": 0,
            "total_time": 0,
            "estimated_time_to_regain_access": minutes,
        }
        headers = {"X-Business-Use-Case-Usage": json.dumps({self.own_id: [usage]})}
        return web.json_response(bodies.RATE_LIMITED, status=400, headers=self._usage(token) | headers)

    def _usage(self, token: int) -> dict[str, str]:
        window = self._network.window
        percent = 100 * (window.hits - window.remaining(token)) // window.hits
        return {"X-App-Usage": json.dumps({"call_count": percent, "total_time": 0, "total_cputime": 0})}


class _Searches:
    """Which hashtags an account has searched for in seven days; searching again is free."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first_s: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def of(self, account_id: str) -> list[str]:
        """The hashtags of an account."""
        since = self._clock() - TAGS_WINDOW_S
        searched = {tag: first for tag, first in self._first_s[account_id].items() if first > since}
        self._first_s[account_id] = searched
        return list(searched)

    def add(self, account_id: str, tag: str) -> bool:
        """Note a search; False, and nothing is noted, if it would be one hashtag too many."""
        searched = self.of(account_id)
        if tag not in searched:
            if len(searched) >= MOST_TAGS:
                return False
            self._first_s[account_id][tag] = self._clock()
        return True


def _user_id(token: str) -> str:
    """Whose token it is: its first part, as `TokenBook` makes them."""
    return token.partition(".")[0]


def _failed(failure: Failure) -> web.Response:
    return web.json_response(failure.body, status=400)


def _token(secret: str) -> web.Response:
    return web.json_response({"access_token": secret, "token_type": "bearer", "expires_in": TOKEN_LASTS_S})
