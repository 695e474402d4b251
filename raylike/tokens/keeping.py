"""What it means to keep a token: to add one, to bring many, to renew one, to remove one.

A token that is there already is known and not kept twice; an alias is one token's. Knows stores and
aliases. Knows nothing of where tokens come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from actors.outcomes import Credential
from raylike.errors import ConfigError, CredentialsError
from raylike.tokens.naming import friend, is_alias, spellings
from raylike.tokens.store import TokenStore
from raylike.tokens.text import BadLineError, Lent, Scope, TokenText, origin, split_line, usable

How = Literal["new", "known", "renewed"]


@dataclass(frozen=True)
class Kept:
    """A token that is in the store now, and how it came to be there."""

    credential: Credential
    how: How


@dataclass(frozen=True)
class Brought:
    """What became of the lines of a list.

    Attributes
    ----------
    kept : the usable ones, in order
    bad : number of a line, from 1, and why it is no token
    """

    kept: tuple[Kept, ...]
    bad: tuple[tuple[int, str], ...]


def scope_of(provider: str, base_url: str = "") -> Scope:
    """Where a provider's tokens are good; with an address, at its server alone.

    Raises
    ------
    ConfigError : if the address is none
    """
    try:
        server = origin(base_url)
    except ValueError:  # a port that is no number
        server = ""
    if base_url and not server.startswith(("http://", "https://")):
        raise ConfigError("is no http(s) address", "--base-url")
    return Scope(provider, server)


def add(store: TokenStore, token: SecretStr, scope: Scope, alias: str | None = None) -> Kept:
    """Keep one token; without an alias it gets the next free friend-N.

    Raises
    ------
    ConfigError : if the alias may be none, or is another token's
    CredentialsError : if it is no token
    """
    if alias is not None and not is_alias(alias):
        raise ConfigError(
            "that is no alias", "--alias", "letters, digits, dots, dashes and underscores: 64 at most"
        )
    _refuse_unusable(token)

    def edit(text: TokenText) -> tuple[TokenText, Kept]:
        edited = _Edit(text, scope)
        if alias in edited.aliases() and not edited.known(token):
            raise ConfigError(
                f"{alias} is another token's alias",
                "--alias",
                f"choose another, or first `raylike tokens remove {alias}`",
            )
        kept = edited.keep(token, alias)
        return edited.text, kept

    return store.change(edit)


def bring(store: TokenStore, lines: Iterable[str], scope: Scope) -> Brought:
    """Keep all tokens of a list; a line that is none, or whose alias is taken, is passed over."""
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]

    def edit(text: TokenText) -> tuple[TokenText, Brought]:
        edited = _Edit(text, scope)
        kept: list[Kept] = []
        bad: list[tuple[int, str]] = []
        for number, line in numbered:
            if not line or line.startswith("#"):
                continue
            try:
                kept.append(edited.keep_line(line))
            except BadLineError as error:
                bad.append((number, str(error)))
        return edited.text, Brought(tuple(kept), tuple(bad))

    return store.change(edit)


def renew(store: TokenStore, token: SecretStr, scope: Scope, alias: str | None) -> Kept:
    """Keep the token that a user has just been given; it takes the place of the user's older one.

    Parameters
    ----------
    alias : made from the user's name; None where the network does not tell it

    Raises
    ------
    CredentialsError : if it is no token
    """
    _refuse_unusable(token)

    def edit(text: TokenText) -> tuple[TokenText, Kept]:
        edited = _Edit(text, scope)
        kept = edited.keep(token, None) if alias is None else edited.keep_of_user(token, alias)
        return edited.text, kept

    return store.change(edit)


def remove(store: TokenStore, alias: str, provider: str | None = None) -> list[Lent]:
    """Forget a token, under this alias and under any other that it has; returns the lines that are gone.

    Raises
    ------
    ConfigError : if no token has the alias, or tokens of several providers have it
    """

    def edit(text: TokenText) -> tuple[TokenText, list[Lent]]:
        named = [
            lent
            for lent in text.lent
            if lent.alias == alias and (provider is None or lent.scope.provider in ("", provider))
        ]
        if not named:
            # The argument is not repeated: somebody may have put a token there.
            raise ConfigError(
                "no token has that alias", str(store.path), "`raylike tokens list` shows them all"
            )
        if len({lent.token for lent in named}) > 1:
            providers = ", ".join(sorted(lent.scope.provider for lent in named))
            raise ConfigError(
                f"tokens of several providers have that alias: {providers}", str(store.path), "add --provider"
            )
        gone = [lent for lent in text.lent if lent.token == named[0].token]
        return text.without(gone), gone

    return store.change(edit)


def _refuse_unusable(token: SecretStr) -> None:
    try:
        usable(token.get_secret_value())
    except BadLineError as error:
        raise CredentialsError("that is no token", "", str(error)) from None


class _Edit:
    """A text to which tokens are being added under one scope."""

    def __init__(self, text: TokenText, scope: Scope) -> None:
        self.text = text
        self._scope = scope

    def aliases(self) -> set[str]:
        """The aliases that are taken where this scope's tokens are used."""
        return {lent.alias for lent in self.text.lent if lent.scope.meets(self._scope)}

    def known(self, token: SecretStr) -> Lent | None:
        """The line that holds a token already and is good where it would be."""
        secret = token.get_secret_value()
        found = (lent for lent in self.text.lent if lent.token == secret and lent.scope.covers(self._scope))
        return next(found, None)

    def keep(self, token: SecretStr, alias: str | None) -> Kept:
        """Add a token, unless it is known. The alias must be free."""
        if known := self.known(token):
            return Kept(known.credential, "known")
        credential = Credential(alias or friend(self.aliases()), token)
        self.text = self.text.adding(Lent(credential, self._scope))
        return Kept(credential, "new")

    def keep_line(self, line: str) -> Kept:
        """Add the token of a line. Raises `BadLineError`."""
        if line.startswith("["):
            raise BadLineError("a section: a list holds the tokens of one provider")
        alias, secret = split_line(line)
        token = SecretStr(secret)
        if alias in self.aliases() and not self.known(token):
            raise BadLineError("its alias is another token's")
        return self.keep(token, alias)

    def keep_of_user(self, token: SecretStr, alias: str) -> Kept:
        """Add a user's token, or put it in the place of the one that the user lent before."""
        if self.known(token):
            return self.keep(token, alias)
        ours = {lent.alias: lent for lent in self.text.lent if lent.scope == self._scope}
        others = self.aliases() - set(ours)
        spelt = next(spelling for spelling in spellings(alias) if spelling not in others)
        if (older := ours.get(spelt)) is None:
            return self.keep(token, spelt)
        credential = Credential(spelt, token)
        self.text = self.text.replacing(older, Lent(credential, self._scope))
        return Kept(credential, "renewed")
