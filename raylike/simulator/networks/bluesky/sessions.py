"""App passwords, and the sessions that they open: two tokens, of which one renews the other.

Knows the site's first tokens and the accounts that they belong to. Knows no requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass

from raylike.simulator.networks.base import Json, Site
from raylike.simulator.networks.bluesky import bodies
from raylike.simulator.networks.bluesky.problems import BAD_SCOPE, BAD_TOKEN, EXPIRED, NO_TOKEN, USED, Problem

ACCESS_LIFE_S = 2 * 3600.0
REFRESH_LIFE_S = 90 * 86_400.0
"""packages/pds/src/account-manager/helpers/auth.ts"""

ACCESS, REFRESH = "com.atproto.appPass", "com.atproto.refresh"
"""What a token is good for, in the network's words."""


class Sessions:
    """App passwords, and the tokens that they bring.

    Passwords follow from the tokens that were given out at the start, so they are secret as those are.
    """

    def __init__(self, site: Site, people: bodies.Bluesky) -> None:
        self._site = site
        self._people = people
        self._tokens: dict[str, _Token] = {}

    def user(self, number: int) -> int:
        """The row of the account that a first token was given to."""
        return number % self._site.world.n_users

    def password(self, number: int) -> str:
        """Four groups of four characters, as the network's own."""
        digest = hashlib.sha256(f"app password of {self._site.first_tokens[number]}".encode()).digest()
        characters = base64.b32encode(digest).decode().lower()
        return "-".join(characters[first : first + 4] for first in range(0, 16, 4))

    def sign_in(self, user: int | None, password: str) -> int | None:
        """The number of the token that belongs to an account and its password; None if there is none."""
        for number in range(len(self._site.first_tokens)):
            right = secrets.compare_digest(
                self.password(number).encode(), password.encode("utf-8", "replace")
            )
            if right and self.user(number) == user:
                return number
        return None

    def open(self, number: int) -> Json:
        """Two new tokens."""
        return {
            "accessJwt": self._issue(number, ACCESS, ACCESS_LIFE_S),
            "refreshJwt": self._issue(number, REFRESH, REFRESH_LIFE_S),
        }

    def find(self, secret: str | None, scope: str) -> int | Problem:
        """The number that a token belongs to, or why it is not good for something."""
        if secret is None:
            return NO_TOKEN
        token = self._tokens.get(secret)
        if token is None:
            return BAD_TOKEN
        if token.scope != scope:
            return BAD_SCOPE
        if self._site.clock() >= token.ends_at:
            return EXPIRED
        return USED if token.used else token.number

    def use(self, secret: str | None) -> int | Problem:
        """As `find` for a token that renews a session, which it does once."""
        found = self.find(secret, REFRESH)
        if secret is not None and not isinstance(found, Problem):
            self._tokens[secret].used = True
        return found

    def _issue(self, number: int, scope: str, life_s: float) -> str:
        """A JSON Web Token whose signature is random: nobody checks it, as the whole is looked up.

        It tells its end by the wall clock, which clients go by, and ends by the site's own.
        """
        made_at = int(time.time())
        header = {"typ": "JWT", "alg": "HS256"}
        claims = {"scope": scope, "sub": self._people.did(self.user(number)), "iat": made_at,
                  "exp": made_at + int(life_s), "jti": secrets.token_urlsafe(16)}  # fmt: skip
        parts = [json.dumps(part).encode() for part in (header, claims)] + [secrets.token_bytes(32)]
        secret = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        self._tokens[secret] = _Token(number, scope, self._site.clock() + life_s)
        return secret


@dataclass
class _Token:
    """What is known of a token. `ends_at` : by the site's clock"""

    number: int
    scope: str
    ends_at: float
    used: bool = False
