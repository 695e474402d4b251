"""OAuth as Instagram spoke it: codes that work once, tokens that do not expire.

Knows codes and tokens; `server.py` knows the requests.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Grant:
    """What an authorisation code was given for."""

    client_id: str
    redirect_uri: str
    user_id: str


class TokenBook:
    """The tokens of one network, numbered in the order of their making.

    Secrets come from the system's random source: they are no part of the world and never repeat.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._grants: dict[str, Grant] = {}

    def issue(self, user_id: str, client_id: str) -> str:
        """A new token: `<user>.<client>.<32 hex digits>`."""
        token = f"{user_id}.{client_id[:7]}.{secrets.token_hex(16)}"
        self._numbers[token] = len(self._numbers)
        return token

    def number(self, token: str) -> int | None:
        """A token's number, from 0, or None if it was never issued."""
        return self._numbers.get(token)

    def __len__(self) -> int:
        return len(self._numbers)

    def grant(self, client_id: str, redirect_uri: str, user_id: str) -> str:
        """A code that can be exchanged for a token, once."""
        code = secrets.token_hex(16)
        self._grants[code] = Grant(client_id, redirect_uri, user_id)
        return code

    def exchange(self, code: str, client_id: str, redirect_uri: str) -> tuple[str, str] | None:
        """Token and user id for a code; None if it is unknown, used, or another client's."""
        grant = self._grants.pop(code, None)
        if grant is None or (grant.client_id, grant.redirect_uri) != (client_id, redirect_uri):
            return None
        return self.issue(grant.user_id, client_id), grant.user_id
