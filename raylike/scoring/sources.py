"""Files, folders and addresses become photos' bytes, or a reason why not.

Folders are walked, in order of their paths; what hides there (a leading dot) is left alone. Addresses are
fetched as downloads are: http(s) only, public addresses only unless allowed, bounded in bytes, seconds and
redirects. robots.txt is not asked: a person named the address.

Knows files and `fetching.py`. Knows nothing of scores.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from yarl import URL

from actors.outcomes import RateLimited
from raylike import connections, fetching
from raylike.config import Settings
from raylike.errors import InputDataError
from raylike.fetching import FetchLimits
from raylike.scoring.scorer import Unread

AT_ONCE = 8
"""Addresses fetched at the same time."""


@dataclass(frozen=True)
class Source:
    """A photo to be read: its name for people, without passwords, and its path or address."""

    name: str
    place: str
    remote: bool = False


@dataclass(frozen=True)
class Reader:
    """Reads photos within limits."""

    limits: FetchLimits
    allow_private: bool

    def read(self, sources: Sequence[Source]) -> list[tuple[str, bytes | Unread]]:
        """The name and the bytes of each, in order."""
        remote = [source.place for source in sources if source.remote]
        fetched = iter(asyncio.run(self._fetch_all(remote)) if remote else ())
        return [
            (source.name, next(fetched) if source.remote else self._file(Path(source.place)))
            for source in sources
        ]

    def _file(self, path: Path) -> bytes | Unread:
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return Unread("unreadable", "is no regular file")
            if found.st_size > self.limits.max_bytes:
                return Unread("too_large", f"{found.st_size} bytes, {self.limits.max_bytes} allowed")
            return path.read_bytes()
        except FileNotFoundError:
            return Unread("gone", "there is no such file")
        except (OSError, ValueError) as error:
            return Unread("unreadable", getattr(error, "strerror", None) or str(error))

    async def _fetch_all(self, urls: Sequence[str]) -> list[bytes | Unread]:
        turns = asyncio.Semaphore(AT_ONCE)
        connector = connections.connector({}, allow_private=self.allow_private, limit=AT_ONCE)
        async with fetching.open_session(connector) as session:

            async def one(url: str) -> bytes | Unread:
                async with turns:
                    try:
                        return await fetching.fetch(session, url, self.limits)
                    except (fetching.Rejected, fetching.PassingFault) as error:
                        return Unread(error.status, error.error)
                    except RateLimited:
                        return Unread("rate_limited", "the server asks to wait")

            return await asyncio.gather(*map(one, urls))


def reader(settings: Settings) -> Reader:
    """A reader within the limits of downloads."""
    chosen = settings.download
    limits = FetchLimits(chosen.max_bytes, chosen.timeout_s, chosen.max_redirects)
    return Reader(limits, settings.source.allow_private_addresses)


def expand(given: Iterable[str]) -> list[Source]:
    """The photos that arguments name; a path that is not there stays, to become a result with a reason.

    Raises
    ------
    InputDataError : if they name nothing at all, such as an empty folder
    """
    given = list(given)
    found = [source for text in given for source in _of(text)]
    if not found:
        raise InputDataError(
            "there is no file", ", ".join(given), "name photos, folders of them, or addresses"
        )
    return found


def in_batches(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    """The same, so many at a time."""
    rest = iter(sources)
    while batch := list(islice(rest, size)):
        yield batch


def _of(text: str) -> Iterator[Source]:
    if "://" in text:
        yield Source(_without_password(text), text, remote=True)
        return
    path = Path(text).expanduser()
    if not path.is_dir():
        yield Source(text, str(path))
        return
    for below in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
        if not hidden and not below.is_dir():
            yield Source(str(below), str(below))


def _without_password(url: str) -> str:
    try:
        return str(URL(url).with_user(None))
    except ValueError:
        return url
