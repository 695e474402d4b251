"""A code becomes a token: what is asked of a network's sign-in, and what of its answers is believed.

Requests go through the caller's session and are never redirected. Nothing that a server says is repeated
but a status and a bare error word: it may hold the code.

Knows OAuth 2 (RFC 6749, by oauthlib) and its proof of possession (RFC 7636).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient
from pydantic import SecretStr
from yarl import URL

from actors.outcomes import ClientError
from raylike.providers.base import mapping, sequence, text
from raylike.providers.http import JsonAnswer, get_json, request_json
from raylike.signing_in.networks import SignIn
from raylike.tokens.naming import alias_of

APP_NAME = "raylike"
WEBSITE = "https://pypi.org/project/raylike"

VERIFIER_LENGTH = 64
"""Characters; RFC 7636 takes 43 to 128."""

HTTP_ERROR = 400

_ERROR_WORD = re.compile(r"[A-Za-z_]{1,40}")


class NoToken(Exception):
    """A network gave no token; the argument says why, without secrets."""


@dataclass(frozen=True)
class App:
    """What a network knows the asker as."""

    client_id: str
    secret: SecretStr


@dataclass(frozen=True)
class Grant:
    """A token just given out.

    Attributes
    ----------
    alias : made from the user's name; None where the network does not tell it
    """

    token: SecretStr
    alias: str | None


async def register(session: aiohttp.ClientSession, network: SignIn, redirect_uri: str) -> App:
    """Make an application of our own at a server that lets applications register themselves.

    Raises
    ------
    NoToken : if it does not
    """
    assert network.register is not None
    form = {
        "client_name": APP_NAME,
        "redirect_uris": redirect_uri,
        "scopes": " ".join(network.scope),
        "website": WEBSITE,
    }
    try:
        answer = await request_json(session, "POST", network.register, form=form)
        body = answer.as_object()
    except ClientError as error:
        raise NoToken(f"did not register an application: {error}") from None
    client_id, secret = text(body.get("client_id")), text(body.get("client_secret"))
    if answer.status >= HTTP_ERROR or not client_id or not secret:
        raise NoToken(f"did not register an application: HTTP {answer.status}")
    return App(client_id, SecretStr(secret))


class Exchange:
    """One application at one network, for any number of friends."""

    def __init__(self, session: aiohttp.ClientSession, network: SignIn, app: App, redirect_uri: str) -> None:
        self.network = network
        self._session = session
        self._app = app
        self._redirect_uri = redirect_uri

    def new_verifier(self) -> SecretStr:
        """A secret for one sign-in; only its hash is sent before the code comes back."""
        return SecretStr(self._client().create_code_verifier(VERIFIER_LENGTH))

    def address(self, state: str, verifier: SecretStr) -> URL:
        """Where a friend is sent to sign in."""
        client, network = self._client(), self.network
        challenge = client.create_code_challenge(verifier.get_secret_value(), "S256")
        # oauthlib builds https addresses only; that http is this machine's own, `SignIn` has checked.
        https = client.prepare_request_uri(
            str(network.authorize.with_scheme("https")),
            redirect_uri=self._redirect_uri,
            scope=" ".join(network.scope),
            state=state,
            code_challenge=challenge if network.proves else None,
            code_challenge_method="S256" if network.proves else None,
        )
        return URL(https, encoded=True).with_scheme(network.authorize.scheme)

    async def grant(self, code: SecretStr, verifier: SecretStr) -> Grant:
        """The token for a code.

        Raises
        ------
        NoToken : if the network does not hand one out
        """
        fields = self._client().prepare_request_body(
            code=code.get_secret_value(),
            redirect_uri=self._redirect_uri,
            client_secret=self._app.secret.get_secret_value(),
            code_verifier=verifier.get_secret_value() if self.network.proves else None,
        )
        answer = await self._ask(dict(parse_qsl(fields)))
        token = _token(answer)
        if self.network.extends:
            token = _token(await self._ask(self._extension(token)))
        return Grant(token, await self._alias(answer, token))

    def _extension(self, token: SecretStr) -> dict[str, str]:
        return {
            "grant_type": "fb_exchange_token",
            "client_id": self._app.client_id,
            "client_secret": self._app.secret.get_secret_value(),
            "fb_exchange_token": token.get_secret_value(),
        }

    async def _ask(self, fields: Mapping[str, str]) -> JsonAnswer:
        url = self.network.token
        try:
            if self.network.asks_by_get:
                return await get_json(self._session, url.with_query(fields))
            return await request_json(self._session, "POST", url, form=fields)
        except ClientError as error:
            raise NoToken(str(error)) from None

    async def _alias(self, answer: JsonAnswer, token: SecretStr) -> str | None:
        """An alias from the user's name; without a name the token is as good."""
        where = self.network.who_am_i
        if where is None:
            told: Mapping[str, Any] = mapping(answer.as_object().get("user"))
        else:
            try:
                bearer = {"Authorization": f"Bearer {token.get_secret_value()}"}
                told = _account((await get_json(self._session, where, bearer)).as_object())
            except ClientError:
                return None
        name = text(told.get("username"))
        if name is None or token.get_secret_value() in name:
            return None
        if self.network.server:  # elsewhere somebody else may have the same name
            host = URL(self.network.server)
            port = "" if host.is_default_port() else f"-{host.port}"
            name = f"{alias_of(name)}-at-{host.host}{port}"
        return alias_of(name)

    def _client(self) -> WebApplicationClient:
        """A fresh one for each step: it keeps what it has seen."""
        return WebApplicationClient(self._app.client_id)


def _token(answer: JsonAnswer) -> SecretStr:
    """The token in an answer, in the shape of RFC 6749 or of Facebook. Raises `NoToken`."""
    parsed: Mapping[str, Any] = {}
    # Facebook has an object where the standard has a word, and other fields may be of any type.
    with suppress(OAuth2Error, AttributeError, TypeError, ValueError):
        parsed = WebApplicationClient("").parse_request_body_response(json.dumps(answer.body))
    token = text(parsed.get("access_token"))
    if token is None or answer.status >= HTTP_ERROR:
        word = text(mapping(answer.body).get("error")) or ""
        known = f", {word}" if _ERROR_WORD.fullmatch(word) else ""
        raise NoToken(f"HTTP {answer.status}{known}")
    return SecretStr(token)


def _account(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Who a token belongs to: the answer itself, or the Instagram account of the first page that has one."""
    pages = [mapping(mapping(page).get("instagram_business_account")) for page in sequence(body.get("data"))]
    return next((account for account in pages if account), body)
