"""Where tokens come from: a file that only its owner can read, the environment, or memory.

A token is written `alias=token`, or bare and then gets an alias made up from its place. Tokens never
stand on a command line or in raylike.toml, and no message here repeats one.

Knows files and text. Knows nothing of networks.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import SecretStr

from actors.outcomes import Credential
from raylike.config import SourceSettings
from raylike.errors import CredentialsError

VARIABLE = "RAYLIKE_TOKENS"
OTHERS = stat.S_IRWXG | stat.S_IRWXO

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOKEN = re.compile(r"[\x21-\x7e]+")


def load(source: SourceSettings, environ: Mapping[str, str] = os.environ) -> list[Credential]:
    """The tokens of a run: those in memory, else those of the file, else those of `RAYLIKE_TOKENS`.

    Raises
    ------
    CredentialsError : if there is none, if others can read the file, or if a line is no token
    """
    if source.tokens:
        return parse((token.get_secret_value() for token in source.tokens), "source.tokens")
    if source.token_store is not None:
        return read_store(source.token_store)
    if VARIABLE in environ:
        return parse(re.split(r"[,\n]", environ[VARIABLE]), VARIABLE)
    raise CredentialsError(
        f"{source.name} asks for a token, and there is none",
        "source.token_store",
        f"name a file with one token a line (chmod 600), or set {VARIABLE}",
    )


def read_store(path: Path) -> list[Credential]:
    """The tokens in a file, one a line; blank lines and lines that begin with # are passed over."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & OTHERS:
                raise CredentialsError(
                    f"can be read by others (mode {mode:04o})",
                    str(path),
                    f"chmod 600 {path}; then renew the tokens",
                )
            return parse(file.read().splitlines(), str(path))
    except OSError as error:
        raise CredentialsError(f"cannot be read: {error.strerror}", str(path)) from None
    except UnicodeDecodeError:
        raise CredentialsError("is no text file", str(path)) from None


def parse(lines: Iterable[str], where: str) -> list[Credential]:
    """Credentials from texts of the form `alias=token` or `token`.

    A token that comes twice counts once: two aliases would spend its allowance twice.
    """
    found: dict[str, Credential] = {}
    aliases: set[str] = set()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        alias, equals, token = (part.strip() for part in text.partition("="))
        if not (equals and token and _ALIAS.fullmatch(alias)):
            alias, token = f"token-{number}", text
        if not _TOKEN.fullmatch(token):
            raise CredentialsError(
                "is neither alias=token nor a bare token", f"{where}, line {number}", "a token has no spaces"
            )
        if token in found:
            continue
        if alias in aliases:
            raise CredentialsError(
                f"names {alias} a second time", f"{where}, line {number}", "give it another alias"
            )
        aliases.add(alias)
        found[token] = Credential(alias, SecretStr(token))
    if not found:
        raise CredentialsError("holds no token", where, "write one token a line, as alias=token or bare")
    return list(found.values())
