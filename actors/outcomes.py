"""What can come of a hit: an answer, or one of four troubles that the token's keeper understands.

    ClientError
    ├── RateLimited     the server counts too many hits: wait, then ask again
    ├── TokenRevoked    the token is no longer valid: never use it again
    ├── Transient       the same request may succeed in a moment: back off, then ask again
    └── Refused         the same request will never succeed: do not ask again

A client raises nothing else on purpose. What concerns one item alone (a private account, a deleted
one) is no trouble but part of the answer. All are built from positional arguments, so that they
survive pickling, and none carries a token, an address with a token in it, or another exception.

Knows nothing of Ray, HTTP or any network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import SecretStr

from actors.budget import RateReport

T = TypeVar("T")

SHOWN_CHARACTERS = 4
"""Of a token, at its end: enough to tell two apart, too little to use."""

MIN_LENGTH_SHOWN = 16
"""A shorter token shows nothing: four of its characters would give too much away."""


@dataclass(frozen=True)
class Credential:
    """A token and the name it goes by. Printed, it is the alias and the token's last four characters."""

    alias: str
    secret: SecretStr

    @property
    def label(self) -> str:
        """How it is shown to people: `anna (...1f0c)`."""
        value = self.secret.get_secret_value()
        end = value[-SHOWN_CHARACTERS:] if len(value) >= MIN_LENGTH_SHOWN else ""
        return f"{self.alias} (...{end})"

    def __repr__(self) -> str:
        return f"Credential({self.label})"


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A server's answer, and what its headers say about the rest of the allowance."""

    value: T
    rate: RateReport | None = None


class ClientError(Exception):
    """A hit that brought no answer."""


class RateLimited(ClientError):
    """Too many hits. `retry_after_s` counts from now; None where the server does not say.

    A duration, not a moment: it means the same on machines whose clocks differ.
    """

    def __init__(self, retry_after_s: float | None = None) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            "rate limit" if self.retry_after_s is None else f"rate limit, {self.retry_after_s:.0f} s to wait"
        )


class TokenRevoked(ClientError):
    """The server no longer accepts the token; the argument is its reason."""


class Transient(ClientError):
    """A fault that may pass; the argument is a short, countable cause such as `HTTP 502` or `timeout`."""


class Refused(ClientError):
    """A request that the server will not fulfil, now or later; the argument says why, for people."""


def kind_of(trouble: BaseException) -> str:
    """A few words for what became of a hit. A server's own words are not among them: they may be many."""
    if isinstance(trouble, Transient):
        return str(trouble)
    words = {RateLimited: "rate limit", TokenRevoked: "token refused", Refused: "refused"}
    return words.get(type(trouble), "given up" if not isinstance(trouble, Exception) else "other")


class AllUsedUp(Exception):
    """No token has budget, and the caller does not want to wait; the argument is the wait in seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class NoTokenLeft(Exception):
    """Every token is revoked, or its process died too often; `reasons` says which, by label."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons
