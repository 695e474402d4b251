"""The file that holds tokens: only its owner can read it, and two processes never lose each other's.

It is replaced, never written in place, so that a crash leaves the old one or the new one. A lock beside
it is held from reading to replacing.

Knows files. What stands in them, `text.py` knows.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from raylike.errors import CannotWrite, CredentialsError
from raylike.tokens.text import TokenText

T = TypeVar("T")

OWNER_ONLY = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where tokens are kept if nobody says where: under $XDG_CONFIG_HOME, or ~/.config."""
    # A relative path there is to be ignored: XDG Base Directory Specification 0.8.
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    config = given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return config / "raylike" / "tokens"


class TokenStore:
    """One file of tokens. It need not be there before the first token is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> TokenText:
        """What stands in it.

        Raises
        ------
        CredentialsError : if it cannot be read, if others can read it, if a line is no token
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & OTHERS:
                    raise CredentialsError(
                        f"can be read by others (mode {mode:04o})",
                        str(self.path),
                        f"chmod 600 {self.path}; then renew the tokens",
                    )
                return TokenText.parse(file.read().splitlines(), str(self.path))
        except OSError as error:
            raise CredentialsError(f"cannot be read: {error.strerror}", str(self.path)) from None
        except UnicodeDecodeError:
            raise CredentialsError("is no text file", str(self.path)) from None

    def change(self, edit: Callable[[TokenText], tuple[TokenText, T]]) -> T:
        """Read, edit and replace it, while nobody else does; returns what `edit` returns beside the text.

        Raises
        ------
        CredentialsError : as `read`, except that it may be missing
        CannotWrite : if it cannot be replaced; the old one is still there then
        """
        try:
            target = Path(os.path.realpath(self.path))  # a link stays one
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(target):
                there = target.exists()
                before = self.read() if there else TokenText()
                after, result = edit(before)
                if after != before or not there:
                    _replace(target, after.render())
                return result
        except OSError as error:
            raise CannotWrite(f"cannot be written: {error.strerror}", str(self.path)) from None

    def prepare(self) -> None:
        """Make it if it is missing, and see that tokens can be kept in it. Raises as `change`."""
        self.change(lambda text: (text, None))


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Wait for a lock of our own file: the store itself is replaced, and a lock on it with it."""
    beside = target.with_name(f".{target.name}.lock")
    lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(target: Path, text: str) -> None:
    new = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, OWNER_ONLY)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(new, target)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
