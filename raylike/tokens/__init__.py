"""Where tokens come from: memory, a file that only its owner can read, or the environment.

    tokens.text      what stands in a store: sections, aliases, tokens
    tokens.store     the file: its mode, its lock, its replacement
    tokens.keeping   what adding, bringing, renewing and removing a token means
    tokens.checking  one hit a token, to see whether it is still good

Tokens never stand on a command line or in raylike.toml, and no message here repeats one. Knows where
to look and in which order. Knows nothing of networks, but that the simulator takes Instagram's tokens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from actors.outcomes import Credential
from raylike.config import SourceSettings
from raylike.errors import CredentialsError
from raylike.tokens.store import TokenStore, default_path
from raylike.tokens.text import TokenText

VARIABLE = "RAYLIKE_TOKENS"

KEPT_UNDER = {"simulator": "instagram_v1"}
"""Source -> provider whose tokens it takes, where the two differ."""


def load(source: SourceSettings, environ: Mapping[str, str] = os.environ) -> list[Credential]:
    """The tokens of a run: those in memory that are good for its source, else those that `found` finds.

    Raises
    ------
    CredentialsError : if there is none, if others can read the file, or if a line is no token
    """
    if source.tokens:
        given = (token.get_secret_value() for token in source.tokens)
        text, where = TokenText.parse(given, "source.tokens"), "source.tokens"
    else:
        text, where = found(source.token_store, environ)
    provider = KEPT_UNDER.get(source.name, source.name)
    if credentials := text.good_for(provider, source.base_url):
        return credentials
    if servers := text.servers(provider):
        hint = f"those there are for {', '.join(servers)}: name the server with --base-url"
    else:
        hint = f"`raylike tokens add --provider {provider}` takes one"
    raise CredentialsError(f"holds no token for {provider}", where, hint)


def found(store: Path | None = None, environ: Mapping[str, str] = os.environ) -> tuple[TokenText, str]:
    """The text that tokens are taken from, and where it stands: a named store, the variable, the default.

    Raises
    ------
    CredentialsError : as `load`
    """
    if store is not None:
        return TokenStore(store).read(), str(store)
    if VARIABLE in environ:
        return TokenText.parse(re.split(r"[,\n]", environ[VARIABLE]), VARIABLE), VARIABLE
    path = default_path(environ)
    if path.exists():
        return TokenStore(path).read(), str(path)
    raise CredentialsError(
        "there is no token",
        str(path),
        f"`raylike tokens add` takes one; or name a file with --token-store (chmod 600), or set {VARIABLE}",
    )
