"""Friends lend their tokens at a page: every way through it, and every way that ends politely.

Friends are HTTP clients with cookies; the networks are the simulated ones, and a small Mastodon that says
no when something is missing.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from yarl import URL

from raylike.errors import ConfigError, CredentialsError, ServiceUnavailable, TryAgainLater
from raylike.signing_in import pages
from raylike.signing_in.exchange import App, Exchange, Grant, NoToken
from raylike.signing_in.networks import SignIn, is_loopback, sign_in
from raylike.signing_in.server import Invitation, Opened, SignInPage, receive, warnings_of
from raylike.signing_in.visits import LIFETIME_S, MAX_OPEN, Visit, Visits
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server
from raylike.tokens import keeping
from raylike.tokens.store import TokenStore
from raylike.tokens.text import Scope

APP = App("5a1d10ff0e6b", SecretStr("a-client-secret-nobody-may-see"))


class SmallMastodon:
    """Registers applications and signs people in, once a code and with proof; keeps what it gave out."""

    def __init__(self) -> None:
        self.user: str | None = "anna"
        self.denies = False
        self.forgets_codes = False
        self.n_proofs = 0
        self.tokens: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.verifiers: list[str] = []
        self.apps: dict[str, dict[str, str]] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/api/v1/apps", self._register),
                web.get("/oauth/authorize", self._authorize),
                web.post("/oauth/token", self._token),
                web.get("/api/v1/accounts/verify_credentials", self._who),
            ]
        )
        return app

    @property
    def secrets(self) -> list[str]:
        return [
            *self.tokens,
            *self.codes,
            *self.verifiers,
            *(app["client_secret"] for app in self.apps.values()),
        ]

    async def _register(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        client_id = secrets.token_urlsafe(16)
        self.apps[client_id] = {**form, "client_secret": secrets.token_urlsafe(16)}
        return web.json_response({**self.apps[client_id], "client_id": client_id})

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        app = self.apps[query["client_id"]]
        assert (query["response_type"], query["scope"], app["scopes"]) == ("code", "read", "read")
        assert query["redirect_uri"] == app["redirect_uris"]
        assert query["code_challenge_method"] == "S256"
        if self.denies:
            answer = {"error": "access_denied", "error_description": "The resource owner denied."}
        else:
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            answer = {"code": code}
        raise web.HTTPFound(URL(query["redirect_uri"]).with_query(answer | {"state": query["state"]}))

    async def _token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        app, asked = self.apps[form["client_id"]], self.codes.get(form["code"])
        self.verifiers.append(form.get("code_verifier", ""))
        if form["client_secret"] != app["client_secret"]:
            return web.json_response({"error": "invalid_client"}, status=401)
        if asked is None or self.forgets_codes or asked.pop("used", ""):
            repeated = f"unknown code {form['code']} with {form['client_secret']}"
            error = {"error": "invalid_grant", "error_description": repeated}
            return web.json_response(error, status=400)
        asked["used"] = "yes"
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.n_proofs += 1
        self.tokens.append(secrets.token_urlsafe(32))
        return web.json_response({"access_token": self.tokens[-1], "token_type": "Bearer", "scope": "read"})

    async def _who(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {self.tokens[-1]}"
        if self.user is None:
            return web.json_response({"error": "This action is outside the authorized scopes"}, status=403)
        return web.json_response({"username": self.user, "acct": self.user})


class Seen:
    """What one friend's browser has been shown: status, text, and everything that went with it."""

    def __init__(self, status: int, text: str, headers: Any, history: Any) -> None:
        self.status = status
        self.text = text
        self.headers = headers
        self.history = history

    @property
    def title(self) -> str:
        found = re.search(r"<h1>(.*)</h1>", self.text)
        assert found is not None
        return found[1]


class Friend:
    """A browser of its own."""

    def __init__(self, page: str) -> None:
        self.page = page
        # Addresses made of numbers have cookies too.
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def open(self, address: str, **options: Any) -> Seen:
        async with self.session.get(address, **options) as response:
            return Seen(response.status, await response.text(), response.headers, response.history)

    async def sign_in(self) -> Seen:
        welcome = await self.open(self.page)
        found = re.search(r'class="button" href="([^"]+)"', welcome.text)
        assert found is not None
        return await self.open(found[1])

    async def stop_before_callback(self) -> str:
        """Begin, agree at the network, and return where it sends the browser back to, unopened."""
        begun = await self.open(f"{self.page}start", allow_redirects=False)
        agreed = await self.open(begun.headers["Location"], allow_redirects=False)
        return str(agreed.headers["Location"])


class Lending:
    """A page being served, and what comes of it."""

    def __init__(self, store: TokenStore, opened: Opened, task: asyncio.Task[None]) -> None:
        self.store = store
        self.opened = opened
        self.task = task
        self.notes: list[str] = []
        self.aliases: list[str] = []
        self.friends: list[Friend] = []

    def friend(self) -> Friend:
        self.friends.append(Friend(self.opened.page))
        return self.friends[-1]

    def tokens(self, network: SignIn) -> dict[str, str]:
        lent = self.store.read().lent
        assert {one.scope for one in lent} <= {Scope(network.provider, network.server)}
        return {one.alias: one.token for one in lent}


@asynccontextmanager
async def lending(path: Path, network: SignIn, **options: Any) -> AsyncIterator[Lending]:
    clock: Callable[[], float] = options.pop("clock", asyncio.get_running_loop().time)
    app = options.pop("app", APP if network.register is None else None)
    store = TokenStore(path / "tokens")
    store.prepare()
    came: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    notes: list[str] = []
    aliases: list[str] = []

    def keep(grant: Grant) -> str:
        kept = keeping.renew(store, grant.token, Scope(network.provider, network.server), grant.alias)
        aliases.append(f"{kept.credential.alias} {kept.how}")
        return kept.credential.alias

    invitation = Invitation(network, app, port=0, **{"allow_private": True, **options})
    task = asyncio.create_task(receive(invitation, keep, came.set_result, notes.append, clock))
    await asyncio.wait({task, came}, return_when=asyncio.FIRST_COMPLETED)
    if not came.done():
        await task
    here = Lending(store, came.result(), task)
    here.notes, here.aliases = notes, aliases
    try:
        yield here
    finally:
        for friend in here.friends:
            await friend.session.close()
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def small_mastodon() -> AsyncIterator[tuple[SmallMastodon, SignIn]]:
    mastodon = SmallMastodon()
    async with TestServer(mastodon.app()) as server:
        yield mastodon, sign_in("mastodon", f"http://127.0.0.1:{server.port}")


@asynccontextmanager
async def simulator(provider: str) -> AsyncIterator[tuple[Server, SignIn]]:
    with ThreadPoolExecutor(1) as executor:
        simulated = Server(SimulatorOptions(users=60, tokens=1), executor)
        path = next(network.path for network in simulated.networks if network.name == provider)
        async with TestServer(simulated.app()) as server:
            yield simulated, sign_in(provider, f"http://127.0.0.1:{server.port}{path}")


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["instagram_v1", "instagram_graph", "mastodon", "pixelfed"])
def test_two_friends_lend_their_tokens_and_the_page_ends(tmp_path: Path, provider: str) -> None:
    async def test() -> None:
        async with simulator(provider) as (simulated, network), lending(tmp_path, network, count=2) as here:
            for _ in range(2):
                seen = await here.friend().sign_in()
                assert (seen.status, seen.title) == (200, "Thank you, that’s it.")
            await here.task
            tokens = here.tokens(network)
            assert here.aliases == [f"{alias} new" for alias in tokens]
            assert len(tokens) == 2
            assert not any(alias.startswith("friend-") for alias in tokens)
            known = [simulated.site.tokens.number(token) for token in tokens.values()]
            assert None not in known
            # The first of Facebook's two tokens ends in hours and must not be the one that is kept.
            assert known == ([2, 4] if provider == "instagram_graph" else [1, 2])
            assert here.notes == []

    run(test)


def test_nothing_that_is_secret_is_shown_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test() -> None:
        async with small_mastodon() as (mastodon, network), lending(tmp_path, network) as here:
            mastodon.forgets_codes = True
            seen = [await here.friend().sign_in()]
            mastodon.forgets_codes = False
            reused = await here.friends[0].stop_before_callback()
            seen.append(await here.friends[0].open(reused))
            await here.task
            own = [
                thing
                for thing in gc.get_objects()
                if issubclass(type(thing), SignInPage | Exchange | Visit | App)
            ]
            shown = [page.text + str(page.headers) for page in seen] + here.notes + [caplog.text]
            shown += [repr(thing) + str(vars(thing)) for thing in own]
            assert [page.status for page in seen] == [502, 200]
            assert here.notes == ["Mastodon gave no token: HTTP 400, invalid_grant"]
            assert len(mastodon.secrets) == 6
            assert mastodon.tokens[0] in here.store.path.read_text()
            for secret in mastodon.secrets:
                assert all(secret not in text for text in shown)

    run(test)


def test_the_server_checks_that_who_asks_is_who_sent_the_friend(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            small_mastodon() as (mastodon, network),
            lending(tmp_path, network) as here,
            aiohttp.ClientSession() as session,
        ):
            back = await here.friend().stop_before_callback()
            (client_id,) = mastodon.apps
            app = App(client_id, SecretStr(mastodon.apps[client_id]["client_secret"]))
            thief = Exchange(session, network, app, here.opened.redirect_uri)
            code = SecretStr(parse_qs(urlsplit(back).query)["code"][0])
            with pytest.raises(NoToken, match="invalid_grant"):
                await thief.grant(code, thief.new_verifier())
            assert mastodon.n_proofs == 0
            await here.friend().sign_in()
            await here.task
            assert mastodon.n_proofs == 1

    run(test)


def test_who_signs_in_again_renews_and_counts_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (mastodon, network), lending(tmp_path, network, count=2) as here:
            await here.friend().sign_in()
            await here.friends[0].sign_in()
            assert not here.task.done()
            mastodon.user = "bert"
            await here.friend().sign_in()
            await here.task
            host = URL(network.server)
            anna, bert = (f"{name}-at-{host.host}-{host.port}" for name in ("anna", "bert"))
            assert here.aliases == [f"{anna} new", f"{anna} renewed", f"{bert} new"]
            assert here.tokens(network) == {anna: mastodon.tokens[1], bert: mastodon.tokens[2]}

    run(test)


def test_a_server_that_does_not_say_who_it_is_makes_a_friend(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (mastodon, network), lending(tmp_path, network) as here:
            mastodon.user = None
            assert (await here.friend().sign_in()).status == 200
            await here.task
            assert list(here.tokens(network)) == ["friend-1"]

    run(test)


def test_who_does_not_agree_is_told_that_nothing_was_stored(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (mastodon, network), lending(tmp_path, network) as here:
            mastodon.denies = True
            seen = await here.friend().sign_in()
            assert (seen.status, seen.title) == (200, "No problem.")
            assert "nothing was stored" in seen.text
            assert here.tokens(network) == {}
            assert not here.task.done()
            mastodon.denies = False
            assert (await here.friends[0].sign_in()).title == "Thank you, that’s it."

    run(test)


class TestACallbackIsRefusedPolitely:
    """And brings no token, whatever the code in it."""

    def refused(self, path: Path, change: Callable[[Lending, Friend, str], Awaitable[Seen]]) -> None:
        async def test() -> None:
            now = [0.0]
            async with (
                small_mastodon() as (mastodon, network),
                lending(path, network, count=2, clock=lambda: now[0]) as here,
            ):
                friend = here.friend()
                back = await friend.stop_before_callback()
                here.now = now  # type: ignore[attr-defined]
                seen = await change(here, friend, back)
                assert (seen.status, seen.title) == (400, "This sign-in is over.")
                assert "Nothing was stored" in seen.text
                assert len(here.aliases) == len(mastodon.tokens) <= 1

        run(test)

    def test_with_a_state_that_is_not_ours(self, tmp_path: Path) -> None:
        async def change(_: Lending, friend: Friend, back: str) -> Seen:
            return await friend.open(str(URL(back).update_query(state="made-up")))

        self.refused(tmp_path, change)

    def test_without_a_state(self, tmp_path: Path) -> None:
        async def change(_: Lending, friend: Friend, back: str) -> Seen:
            return await friend.open(str(URL(back).without_query_params("state")))

        self.refused(tmp_path, change)

    def test_without_a_code(self, tmp_path: Path) -> None:
        async def change(_: Lending, friend: Friend, back: str) -> Seen:
            return await friend.open(str(URL(back).without_query_params("code")))

        self.refused(tmp_path, change)

    def test_in_another_browser_and_then_in_the_first(self, tmp_path: Path) -> None:
        async def change(here: Lending, friend: Friend, back: str) -> Seen:
            other = here.friend()
            await other.stop_before_callback()  # it has a cookie, for a sign-in of its own
            assert (await other.open(back)).status == 400
            return await friend.open(back)

        self.refused(tmp_path, change)

    def test_a_second_time(self, tmp_path: Path) -> None:
        async def change(here: Lending, friend: Friend, back: str) -> Seen:
            assert (await friend.open(back)).status == 200
            assert len(here.aliases) == 1
            return await friend.open(back)

        self.refused(tmp_path, change)

    def test_after_ten_minutes(self, tmp_path: Path) -> None:
        async def change(here: Lending, friend: Friend, back: str) -> Seen:
            here.now[0] = LIFETIME_S + 1  # type: ignore[attr-defined]
            return await friend.open(back)

        self.refused(tmp_path, change)


def test_two_tabs_of_a_browser_do_not_get_into_each_other_s_way(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (_, network), lending(tmp_path, network, count=2) as here:
            friend = here.friend()
            first, second = await friend.stop_before_callback(), await friend.stop_before_callback()
            assert [(await friend.open(back)).status for back in (first, second)] == [200, 200]

    run(test)


def test_what_looks_ahead_at_links_neither_begins_nor_ends_a_sign_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (_, network), lending(tmp_path, network) as here:
            friend = here.friend()
            back = await friend.stop_before_callback()
            for address in (f"{here.opened.page}start", back):
                async with friend.session.head(address) as response:
                    assert response.status == 405
            assert (await friend.open(back)).status == 200

    run(test)


def test_a_network_that_sends_friends_back_with_an_error_of_its_own(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (_, network), lending(tmp_path, network) as here:
            friend = here.friend()
            back = URL(await friend.stop_before_callback()).without_query_params("code")
            seen = await friend.open(str(back.update_query(error="server_error")))
            assert (seen.status, seen.title) == (502, "That did not work.")
            assert here.notes == ["Mastodon ended a sign-in without a code"]

    run(test)


def test_a_store_that_cannot_take_the_token_ends_the_page(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (mastodon, network), lending(tmp_path, network) as here:
            here.store.path.chmod(0o644)
            seen = await here.friend().sign_in()
            assert (seen.status, seen.title) == (500, "Something broke here.")
            with pytest.raises(CredentialsError, match="chmod 600") as caught:
                await here.task
            assert mastodon.tokens[0] not in str(caught.value)

    run(test)


def test_time_that_is_up_is_a_reason_to_try_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            small_mastodon() as (_, network),
            lending(tmp_path, network, count=2, timeout_s=0) as here,
        ):
            with pytest.raises(TryAgainLater, match="0 of 2 have signed in"):
                await here.task

    run(test)


def test_private_addresses_have_to_be_allowed(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (_, network):
            with pytest.raises(ServiceUnavailable, match="not a public address"):
                async with lending(tmp_path, network, allow_private=False):
                    raise AssertionError("the page was opened")
            # With an application at hand it is the first friend who meets it.
            async with lending(tmp_path, network, app=APP, allow_private=False) as here:
                friend = here.friend()
                begun = await friend.open(f"{here.opened.page}start", allow_redirects=False)
                state = URL(begun.headers["Location"]).query["state"]
                seen = await friend.open(f"{here.opened.redirect_uri}?state={state}&code=c")
                assert seen.status == 500
                with pytest.raises(ServiceUnavailable, match="not a public address"):
                    await here.task

    run(test)


def test_a_server_that_registers_no_application_is_unavailable(tmp_path: Path) -> None:
    async def test() -> None:
        async with TestServer(web.Application()) as server:
            network = sign_in("mastodon", f"http://127.0.0.1:{server.port}")
            with pytest.raises(ServiceUnavailable, match="did not register"):
                async with lending(tmp_path, network):
                    raise AssertionError("the page was opened")

    run(test)


def test_a_port_that_is_taken_is_unavailable(tmp_path: Path) -> None:
    async def test() -> None:
        async with small_mastodon() as (_, network):
            taken = URL(network.server).port
            invitation = Invitation(network, APP, port=taken or 0)
            with pytest.raises(ServiceUnavailable, match="cannot listen"):
                await receive(invitation, lambda grant: "", lambda opened: None, lambda note: None)

    run(test)


class TestPages:
    def test_a_page_needs_nothing_from_elsewhere_and_lets_nothing_in(self, tmp_path: Path) -> None:
        async def test() -> None:
            async with small_mastodon() as (_, network), lending(tmp_path, network) as here:
                seen = [await here.friend().open(here.opened.page + path) for path in ("", "callback", "x")]
            assert [page.status for page in seen] == [200, 400, 404]
            for page in seen:
                policy = page.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none';")
                assert "frame-ancestors 'none'" in policy
                assert page.headers["Referrer-Policy"] == "no-referrer"
                assert page.headers["Cache-Control"] == "no-store"
                style = re.search("<style>(.*?)</style>", page.text, re.DOTALL)
                assert style is not None
                digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
                assert f"style-src 'sha256-{digest}'" in policy
                assert not re.search(
                    r"<script|<img|<link|<form|<iframe|style=|\bon\w+=|url\(|@import", page.text
                )

        run(test)

    @pytest.mark.parametrize("provider", ["instagram_v1", "instagram_graph", "mastodon"])
    def test_friends_read_what_they_lend_before_they_do(self, provider: str) -> None:
        network = sign_in(provider, "https://social.example" if provider == "mastodon" else "")
        text = pages.page(pages.WELCOME, network, "https://lend.example/start")
        assert 'href="https://lend.example/start"' in text
        for said in ("public posts with a hashtag", "followers", "writing, posting", network.withdraw):
            assert said in text
        assert f"Sign in with {network.title}" in text

    def test_a_name_from_outside_is_text(self) -> None:
        text = pages.page(pages.THANKS, sign_in("instagram_v1"), "x", "<script>alert(1)</script>")
        assert "<script" not in text

    @pytest.mark.parametrize(
        ("public_url", "path", "secure"),
        [("https://lend.example/raylike/", "/raylike", True), ("http://127.0.0.1:1", "/", False)],
    )
    def test_the_cookie_belongs_to_the_page_and_to_one_browser(
        self, tmp_path: Path, public_url: str, path: str, secure: bool
    ) -> None:
        async def test() -> None:
            async with (
                small_mastodon() as (_, network),
                lending(tmp_path, network, app=APP, public_url=public_url) as here,
            ):
                assert here.opened.page == f"{public_url.rstrip('/')}/"
                assert here.opened.redirect_uri == f"{public_url.rstrip('/')}/callback"

        run(test)

        async def cookie() -> str:
            network = sign_in("instagram_v1")
            async with aiohttp.ClientSession() as session:
                exchange = Exchange(session, network, APP, f"{public_url.rstrip('/')}/callback")
                served = SignInPage(exchange, public_url.rstrip("/"), 1, lambda grant: "", print)
                async with TestServer(served.app()) as server:
                    address = f"http://127.0.0.1:{server.port}/start"
                    async with session.get(address, allow_redirects=False) as response:
                        assert response.headers["Location"].startswith("https://api.instagram.com/oauth/")
                        return response.headers["Set-Cookie"]

        flags = asyncio.run(cookie()).split("; ")[1:]
        assert ("Secure" in flags) is secure
        assert {"HttpOnly", "SameSite=Lax", f"Path={path}", "Max-Age=600"} <= set(flags)


class TestWhoCanReachThePage:
    NETWORK = sign_in("instagram_v1")

    def test_every_address_of_the_machine_needs_a_public_one(self) -> None:
        async def test() -> None:
            invitation = Invitation(self.NETWORK, APP, host="0.0.0.0", port=0)
            with pytest.raises(ConfigError, match="--public-url"):
                await receive(invitation, lambda grant: "", lambda opened: None, lambda note: None)

        run(test)

    @pytest.mark.parametrize("public_url", ["lend.example", "ftp://h", "https://h/?a=1", "https://h:port"])
    def test_a_public_address_is_one(self, public_url: str) -> None:
        async def test() -> None:
            invitation = Invitation(self.NETWORK, APP, port=0, public_url=public_url)
            with pytest.raises(ConfigError, match="no http"):
                await receive(invitation, lambda grant: "", lambda opened: None, lambda note: None)

        run(test)

    @pytest.mark.parametrize(
        ("host", "base", "n_warnings"),
        [
            ("127.0.0.1", "http://127.0.0.1:8787", 0),
            ("127.0.0.1", "https://lend.example", 0),
            ("127.0.0.1", "http://lend.example", 1),
            ("0.0.0.0", "https://lend.example", 1),
            ("192.0.2.1", "http://192.0.2.1:8787", 2),
        ],
    )
    def test_what_is_risky_is_said(self, host: str, base: str, n_warnings: int) -> None:
        assert len(warnings_of(Invitation(self.NETWORK, APP, host=host), base)) == n_warnings

    @pytest.mark.parametrize(
        ("host", "expected"),
        [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("h.example", False)],
    )
    def test_loopback_is_known(self, host: str, expected: bool) -> None:
        assert is_loopback(host) is expected


class TestNetworks:
    @pytest.mark.parametrize(
        ("provider", "base_url", "authorize", "token"),
        [
            (
                "instagram_v1",
                "",
                "https://api.instagram.com/oauth/authorize",
                "https://api.instagram.com/oauth/access_token",
            ),
            (
                "instagram_v1",
                "http://127.0.0.1:9/v1",
                "http://127.0.0.1:9/oauth/authorize",
                "http://127.0.0.1:9/oauth/access_token",
            ),
            (
                "instagram_graph",
                "",
                "https://www.facebook.com/v25.0/dialog/oauth",
                "https://graph.facebook.com/v25.0/oauth/access_token",
            ),
            (
                "instagram_graph",
                "https://graph.facebook.com/v24.0/",
                "https://www.facebook.com/v24.0/dialog/oauth",
                "https://graph.facebook.com/v24.0/oauth/access_token",
            ),
            (
                "instagram_graph",
                "http://127.0.0.1:9/graph/v25.0",
                "http://127.0.0.1:9/graph/v25.0/dialog/oauth",
                "http://127.0.0.1:9/graph/v25.0/oauth/access_token",
            ),
            (
                "mastodon",
                "https://social.example",
                "https://social.example/oauth/authorize",
                "https://social.example/oauth/token",
            ),
            (
                "pixelfed",
                "https://pics.example/",
                "https://pics.example/oauth/authorize",
                "https://pics.example/oauth/token",
            ),
        ],
    )
    def test_each_has_its_addresses(self, provider: str, base_url: str, authorize: str, token: str) -> None:
        network = sign_in(provider, base_url)
        assert (str(network.authorize), str(network.token)) == (authorize, token)

    @pytest.mark.parametrize(
        ("provider", "base_url"),
        [
            ("bluesky", ""),
            ("mastodon", ""),
            ("unheard_of", ""),
            ("mastodon", "social.example"),
            ("mastodon", "http://social.example"),
            ("instagram_v1", "http://192.0.2.1/v1"),
        ],
    )
    def test_what_cannot_be_signed_in_to_safely_is_refused(self, provider: str, base_url: str) -> None:
        with pytest.raises(ConfigError):
            sign_in(provider, base_url)

    def test_who_has_app_passwords_is_sent_to_add(self) -> None:
        with pytest.raises(ConfigError, match="raylike tokens add"):
            sign_in("bluesky")

    @pytest.mark.parametrize("provider", ["instagram_v1", "instagram_graph"])
    def test_instagram_is_sent_no_proof_that_it_would_not_check(self, provider: str) -> None:
        async def test() -> None:
            async with aiohttp.ClientSession() as session:
                exchange = Exchange(session, sign_in(provider), APP, "http://127.0.0.1:8787/callback")
                address = exchange.address("s", exchange.new_verifier())
                assert set(address.query) == {"response_type", "client_id", "redirect_uri", "scope", "state"}
                assert address.scheme == "https"

        run(test)


class TestAnswers:
    """Of a network that is asked to exchange a code."""

    @pytest.mark.parametrize(
        ("status", "body", "reason"),
        [
            (400, {"code": 400, "error_type": "OAuthException", "error_message": "no code 123"}, "HTTP 400"),
            (401, {"error": "invalid_client", "error_description": "secret"}, "HTTP 401, invalid_client"),
            (400, {"error": {"message": "code 123", "type": "OAuthException", "code": 100}}, "HTTP 400"),
            (200, {"error": "code 123"}, "HTTP 200"),
            (200, {"access_token": ""}, "HTTP 200"),
            (200, {"access_token": ["x"], "expires_in": {}, "scope": 3}, "HTTP 200"),
            (400, {"access_token": "x" * 20}, "HTTP 400"),
            (200, [], "HTTP 200"),
            (502, {}, "HTTP 502"),
        ],
    )
    def test_what_is_no_token_is_told_without_the_server_s_words(
        self, status: int, body: Any, reason: str
    ) -> None:
        async def test() -> None:
            app = web.Application()

            async def answer(_: web.Request) -> web.Response:
                return web.json_response(body, status=status)

            app.router.add_post("/oauth/access_token", answer)
            async with TestServer(app) as server, aiohttp.ClientSession() as session:
                network = sign_in("instagram_v1", f"http://127.0.0.1:{server.port}/v1")
                exchange = Exchange(session, network, APP, "http://127.0.0.1:1/callback")
                with pytest.raises(NoToken) as caught:
                    await exchange.grant(SecretStr("123"), exchange.new_verifier())
                assert str(caught.value) == reason

        run(test)


class TestVisits:
    VERIFIER = SecretStr("v" * 64)

    def test_a_visit_ends_once(self) -> None:
        visits = Visits()
        state, visit = visits.begin(self.VERIFIER)
        assert visits.end(state, visit.browser.get_secret_value()) == visit
        assert visits.end(state, visit.browser.get_secret_value()) is None

    def test_the_oldest_give_way(self) -> None:
        visits = Visits()
        begun = [visits.begin(self.VERIFIER) for _ in range(MAX_OPEN + 1)]
        assert len(visits) == MAX_OPEN
        assert [
            visits.end(state, visit.browser.get_secret_value()) is None for state, visit in begun[:2]
        ] == [
            True,
            False,
        ]
