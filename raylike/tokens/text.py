"""What stands in a token store, for people to read and to write:

    # before any section: tokens that are good for every provider
    anna=101.1fb234f.0f0f...

    [instagram_v1]
    bert=102.1fb234f.1e1e...

    [mastodon https://social.example]
    carla=ZA-Yj3aBD8U8...

A section that names a server holds tokens of that server alone: where everybody runs servers, a token
sent to another one is a token given away. A token without an alias gets one made up from its line.

Knows text. Knows nothing of files, or of which providers there are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from actors.outcomes import MIN_LENGTH_SHOWN, SHOWN_CHARACTERS, Credential
from raylike.errors import CredentialsError
from raylike.tokens.naming import free, is_alias

_TOKEN = re.compile(r"[\x21-\x7e]+")
_HEADING = re.compile(r"\[\s*([a-z][a-z0-9_]*)(?:\s+(https?://\S+?))?\s*\]")

_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadLineError(ValueError):
    """A line that is no token; the argument says why, without repeating it."""


@dataclass(frozen=True)
class Scope:
    """Where tokens are good.

    Attributes
    ----------
    provider : empty: with every provider
    server : `https://host:port`; empty: whatever server the provider is pointed at
    """

    provider: str = ""
    server: str = ""

    def __str__(self) -> str:
        return f"[{' '.join(part for part in (self.provider, self.server) if part)}]"

    def covers(self, other: Scope) -> bool:
        """Whether a token that is good here is good wherever one of `other` is."""
        return self.provider in ("", other.provider) and self.server in ("", other.server)

    def meets(self, other: Scope) -> bool:
        """Whether tokens of both may be used together, so that their aliases have to differ."""
        return not self.provider or not other.provider or self.provider == other.provider


ANYWHERE = Scope()


@dataclass(frozen=True)
class Lent:
    """A token that somebody lends, and where it is good."""

    credential: Credential
    scope: Scope = ANYWHERE

    @property
    def alias(self) -> str:
        """What it goes by."""
        return self.credential.alias

    @property
    def token(self) -> str:
        """The secret itself."""
        return self.credential.secret.get_secret_value()


@dataclass(frozen=True)
class TokenText:
    """A store's lines: comments and blank ones as they are, sections, tokens. Never changes in place."""

    lines: tuple[str | Scope | Lent, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, lines: Iterable[str], where: str) -> TokenText:
        """Read a store.

        Raises
        ------
        CredentialsError : names the line that is neither comment, section nor token, or whose alias is
            another token's
        """
        parts = list(_parts(lines, where))
        taken = {alias for _, part in parts if isinstance(part, tuple) and (alias := part[0])}
        scope = ANYWHERE
        read: list[str | Scope | Lent] = []
        for number, part in parts:
            if isinstance(part, tuple):
                alias, token = part
                lent = Lent(Credential(alias or free(f"token-{number}", taken), SecretStr(token)), scope)
                if any(_clash(lent, other) for other in read if isinstance(other, Lent)):
                    raise CredentialsError(
                        f"names {lent.alias} a second time",
                        f"{where}, line {number}",
                        "give it another alias",
                    )
                taken.add(lent.alias)
                read.append(lent)
            else:
                scope = part if isinstance(part, Scope) else scope
                read.append(part)
        return cls(tuple(read))

    @property
    def lent(self) -> list[Lent]:
        """All tokens in order, also those that stand there twice."""
        return [line for line in self.lines if isinstance(line, Lent)]

    def good_for(self, provider: str, base_url: str = "") -> list[Credential]:
        """The tokens to use with a provider at an address, each once.

        A second alias of a token is passed over: two would spend its allowance twice.
        """
        wanted = Scope(provider, origin(base_url))
        chosen: dict[str, Credential] = {}
        for lent in self.lent:
            if lent.scope.covers(wanted):
                chosen.setdefault(lent.token, lent.credential)
        return list(chosen.values())

    def servers(self, provider: str) -> list[str]:
        """The servers that tokens of a provider are bound to."""
        bound = (lent.scope for lent in self.lent if lent.scope.provider == provider)
        return sorted({scope.server for scope in bound if scope.server})

    def adding(self, new: Lent) -> TokenText:
        """With a token more, at the end of its section, which is made if there is none."""
        scope, end, last = ANYWHERE, None, len(self.lines)
        for place, line in enumerate(self.lines):
            scope = line if isinstance(line, Scope) else scope
            if scope == new.scope and line != "":
                end = place + 1
        if end is not None:
            return TokenText((*self.lines[:end], new, *self.lines[end:]))
        if new.scope == ANYWHERE:
            return TokenText((new, *self.lines))
        gap = ("",) if last and self.lines[-1] != "" else ()
        return TokenText((*self.lines, *gap, new.scope, new))

    def replacing(self, old: Lent, new: Lent) -> TokenText:
        """With `new` in the place of `old`."""
        return TokenText(tuple(new if line == old else line for line in self.lines))

    def without(self, gone: Collection[Lent]) -> TokenText:
        """Without some tokens."""
        return TokenText(tuple(line for line in self.lines if line not in gone))

    def render(self) -> str:
        """The text to store, secrets and all. Aliases that were made up are written out and so stay."""
        shown = (f"{line.alias}={line.token}" if isinstance(line, Lent) else str(line) for line in self.lines)
        return "".join(f"{line}\n" for line in shown)


def split_line(text: str) -> tuple[str | None, str]:
    """Alias and token of `alias=token`; the alias is None where the token stands bare.

    Raises
    ------
    BadLineError : if there is no token in it
    """
    alias, equals, token = (part.strip() for part in text.partition("="))
    # Bare tokens may end in =, as Base64 does: what stands before is no alias then.
    if equals and token.strip("=") and is_alias(alias):
        return alias, usable(token)
    return None, usable(text.strip())


def usable(token: str) -> str:
    """The token itself, if it may be one. Raises `BadLineError`."""
    if not _TOKEN.fullmatch(token):
        raise BadLineError("a token has no spaces, and nothing but ASCII in it")
    return token


def origin(address: str) -> str:
    """Scheme, host and port of an address, spelt in one way; empty for an empty one."""
    parts = urlsplit(address)
    if not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def shown_end(credential: Credential) -> str:
    """The last four characters of a token, as its label shows them; empty for a short one."""
    value = credential.secret.get_secret_value()
    return value[-SHOWN_CHARACTERS:] if len(value) >= MIN_LENGTH_SHOWN else ""


def _parts(lines: Iterable[str], where: str) -> Iterable[tuple[int, str | Scope | tuple[str | None, str]]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        try:
            if not text or text.startswith("#"):
                yield number, line.rstrip()
            elif text.startswith("["):
                yield number, _heading(text)
            else:
                yield number, split_line(text)
        except BadLineError as error:
            raise CredentialsError(
                "is no section, neither alias=token nor a bare token", f"{where}, line {number}", str(error)
            ) from None


def _heading(text: str) -> Scope:
    match = _HEADING.fullmatch(text)
    try:
        if match:
            return Scope(match[1], origin(match[2] or ""))
    except ValueError:  # a port that is no number
        pass
    raise BadLineError("a section is [provider] or [provider https://server]")


def _clash(one: Lent, other: Lent) -> bool:
    return one.alias == other.alias and one.scope.meets(other.scope) and one.token != other.token
