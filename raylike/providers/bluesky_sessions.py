"""Sessions of Bluesky accounts: opened seldom, kept between runs, renewed by one at a time.

A session is a pair of tokens. The first, good for two hours, goes with each request; the second, good
for months and for one use, brings the next pair. Signing in with a password is limited to 30 times in
five minutes and to 10 to 300 times a day, so it is the last resort: a session is held in memory, read
from a file that another process may have renewed, renewed with its own second token, and only then
opened anew. A file is held locked meanwhile, so that processes do not use up each other's tokens.

Knows the server's session methods, its rate headers, and files. Knows nothing of posts. Neither
passwords nor tokens come into a message, a printed object, or a file's name.

Sources: bluesky-social/atproto (lexicons/com/atproto/server, packages/pds/src/auth-verifier.ts and
account-manager/helpers/auth.ts), bluesky-social/bsky-docs (docs/advanced-guides/rate-limits.md, #183).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from actors.outcomes import Credential, Refused, TokenRevoked
from raylike.providers.base import count, mapping, text
from raylike.providers.http import ANOTHER_SHAPE, JsonAnswer, request_json, retry_after_s

logger = logging.getLogger(__name__)

RENEW_AHEAD_S = 60.0
"""Before its end: longer than a request may take."""

LOOK_AGAIN_S = 0.05
"""While another process renews the same session, which takes it a request."""

RESET_ROUNDING_S = 1.0
"""The moment of reset and `Date` are both cut to whole seconds: their difference may be one too small."""

LONGEST_WINDOW_S = 86_400.0
"""Of any limit: the one on signing in. No wait is longer, whatever the clocks say."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO

HTTP_ERROR = 400
_LAST_SECOND = 253402300799
"""31 December 9999."""
PASSWORD_STATUSES = frozenset({400, 401, 403})
"""Of answers that are about the password, not about the server."""

WHY_NOT = {
    "AccountTakedown": "the account has been taken down",
    "AuthFactorTokenRequired": "the account's own password asks for a code by e-mail; use an app password",
    "AuthenticationRequired": "the name or the app password is not accepted",
}
WRONG_FORM = "is not of the form NAME:APP-PASSWORD, such as anna.bsky.social:abcd-efgh-ijkl-mnop"


@dataclass(frozen=True)
class Login:
    """Who signs in, and with what.

    Attributes
    ----------
    identifier : a handle, a DID or an e-mail address
    """

    identifier: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, credential: Credential) -> Login:
        """Read `identifier:password`. A DID has colons, an app password has none.

        Raises
        ------
        TokenRevoked : if the secret is of another form
        """
        identifier, _, password = credential.secret.get_secret_value().rpartition(":")
        if not (identifier.removeprefix("@") and password):
            raise TokenRevoked(WRONG_FORM)
        return cls(identifier.removeprefix("@"), password)


@dataclass(frozen=True)
class Session:
    """Two tokens of an account.

    Attributes
    ----------
    access, refresh : for requests, and for the next session
    renew_at : Unix seconds by this machine's clock; None where the server's token does not tell
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    renew_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is about to end."""
        return self.renew_at is not None and now >= self.renew_at


class Sessions:
    """The sessions of one server.

    Parameters
    ----------
    http : owns timeouts, TLS and which addresses may be reached
    xrpc : where the server's methods are
    folder : where sessions are kept; None: in memory only
    clock : Unix seconds; tests hand in their own
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        xrpc: URL,
        folder: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._xrpc = xrpc
        self._files = SessionFiles(folder)
        self._clock = clock
        self._held: dict[str, Session] = {}
        self._refused: dict[Login, str] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, login: Login) -> Session:
        """A session that is good as far as is known; most calls ask nobody for it. Raises as `renewed`."""
        held = self._held.get(login.identifier)
        if held is not None and not held.is_due(self._clock()):
            return held
        return await self.renewed(login, None)

    async def renewed(self, login: Login, refused: Session | None) -> Session:
        """A session other than the one that the server has refused: somebody else's, or a new one.

        Raises
        ------
        TokenRevoked : if the server does not let the account sign in
        RateLimited, Transient, Refused : as `request_json`
        """
        async with self._locks[login.identifier]:
            held = self._held.get(login.identifier)
            if held is not None and self._is_good(held, refused):
                return held
            if reason := self._refused.get(login):
                raise TokenRevoked(reason)
            name = self._file_name(login)
            async with self._files.locked(name):
                kept = self._files.read(name)
                if kept is None or not self._is_good(kept, refused):
                    kept = await self._next(login, kept or held)
                    self._files.write(name, kept)
            self._held[login.identifier] = kept
            return kept

    def _is_good(self, session: Session, refused: Session | None) -> bool:
        is_refused = refused is not None and session.access == refused.access
        return not is_refused and not session.is_due(self._clock())

    def _file_name(self, login: Login) -> str:
        """Tells accounts and servers apart without naming them."""
        return hashlib.sha256(f"{self._xrpc}\n{login.identifier}".encode()).hexdigest() + ".json"

    async def _next(self, login: Login, last: Session | None) -> Session:
        return (last and await self._refresh(last)) or await self._create(login)

    async def _refresh(self, last: Session) -> Session | None:
        """The session after `last`; None if the server no longer takes that one's token."""
        headers = {"Authorization": f"Bearer {last.refresh}"}
        answer = await self._post("com.atproto.server.refreshSession", headers=headers)
        return None if answer.status >= HTTP_ERROR else self._session(answer.as_object())

    async def _create(self, login: Login) -> Session:
        """Sign in with the password."""
        body = {"identifier": login.identifier, "password": login.password}
        answer = await self._post("com.atproto.server.createSession", body=body)
        if answer.status < HTTP_ERROR:
            return self._session(answer.as_object())
        kind = _word(answer.as_object().get("error"))
        if answer.status not in PASSWORD_STATUSES:
            raise Refused(f"cannot sign in: {kind} ({answer.status})")
        reason = self._refused[login] = f"cannot sign in: {WHY_NOT.get(kind, kind)}"
        raise TokenRevoked(reason)

    async def _post(
        self, method: str, headers: Mapping[str, str] | None = None, body: Mapping[str, str] | None = None
    ) -> JsonAnswer:
        return await request_json(
            self._http,
            "POST",
            self._xrpc / method,
            headers=headers,
            json_body=body,
            pause_s=lambda told: pause_s(told, self._clock()),
        )

    def _session(self, body: dict[str, Any]) -> Session:
        access, refresh = text(body.get("accessJwt")), text(body.get("refreshJwt"))
        if access is None or refresh is None:
            raise Refused(ANOTHER_SHAPE)
        life_s = _life_s(access)
        if life_s is None:
            return Session(access, refresh)
        return Session(access, refresh, self._clock() + life_s - min(RENEW_AHEAD_S, life_s / 2))


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where sessions are kept: under $XDG_STATE_HOME, or ~/.local/state."""
    given = Path(environ.get("XDG_STATE_HOME", ""))
    state = given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return state / "raylike" / "bluesky"


class SessionFiles:
    """A folder with one file a session, which only their owner can read.

    Where that cannot be had, nothing is kept, and the user is told once.

    Parameters
    ----------
    folder : made where it is missing; None: nothing is kept
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._is_checked = False

    def read(self, name: str) -> Session | None:
        """A session; None if none is kept, or if what is kept cannot be trusted or read."""
        if self._folder is None:
            return None
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, encoding="utf-8") as file:
                if not _is_private(os.fstat(file.fileno())):
                    return None
                kept = mapping(json.load(file))
        except (OSError, ValueError, RecursionError):
            return None
        access, refresh, renew_at = text(kept.get("access")), text(kept.get("refresh")), kept.get("renew_at")
        if access is None or refresh is None:
            return None
        return Session(access, refresh, float(renew_at) if isinstance(renew_at, int | float) else None)

    def write(self, name: str, session: Session) -> None:
        """Keep a session in place of the last one: whoever reads meanwhile finds either, whole."""
        if self._folder is None:
            return
        kept = {"access": session.access, "refresh": session.refresh, "renew_at": session.renew_at}
        try:
            descriptor, path = tempfile.mkstemp(prefix=f".{name[:16]}-", dir=self._folder)  # of mode 0600
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(kept, file)
                os.replace(path, self._folder / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
        except OSError as error:
            self._give_up(error.strerror or type(error).__name__)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Keep every other process, and every other provider in this one, away from a session."""
        self._check()
        if self._folder is None:
            yield
            return
        try:
            descriptor = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            self._give_up(error.strerror or type(error).__name__)
            yield
            return
        try:
            while not _try_lock(descriptor):
                await asyncio.sleep(LOOK_AGAIN_S)
            yield
        finally:
            os.close(descriptor)  # and with it the lock

    def _check(self) -> None:
        """Make the folder, once, and see that nobody else can read it or put something into it."""
        if self._folder is None or self._is_checked:
            return
        self._is_checked = True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_private(self._folder.stat()):
                self._give_up("others can read it; chmod 700 would close it")
        except OSError as error:
            self._give_up(error.strerror or type(error).__name__)

    def _give_up(self, why: str) -> None:
        logger.warning("Bluesky sessions are not kept in %s: %s. Each process signs in anew, "
                       "which Bluesky allows 10 to 300 times a day", self._folder, why)  # fmt: skip
        self._folder = None


def reset_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a limit counts anew, from `RateLimit-Reset`; None where it is not told.

    The moment is in Unix seconds by the server's clock. So it is counted from the answer's own `Date`, and
    only without one from `now`, by this machine's.
    """
    reset = count(headers.get("RateLimit-Reset"))
    if reset is None:
        return None
    told = _date_s(headers.get("Date"))
    left_s = min(reset, _LAST_SECOND) - (now if told is None else told) + RESET_ROUNDING_S
    return min(max(left_s, 0.0), LONGEST_WINDOW_S)


def pause_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a refusal asks to wait: until the limit counts anew, unless it says otherwise."""
    told_s = retry_after_s(headers)
    return reset_after_s(headers, now) if told_s is None else told_s


def _date_s(value: str | None) -> float | None:
    """Unix seconds of a `Date` header; None where there is none."""
    try:
        date = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: better to renew twice than never
        return True
    return True


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS


def _life_s(token: str) -> float | None:
    """Seconds that a JSON Web Token is good for, from being made; None where it does not say.

    Both moments are of the server's clock, so that it does not matter if this machine's is wrong.
    """
    _, _, rest = token.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        claims = mapping(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (ValueError, RecursionError):
        return None
    made_at, ends_at = count(claims.get("iat")), count(claims.get("exp"))
    return None if made_at is None or ends_at is None or ends_at <= made_at else float(ends_at - made_at)


def _word(value: object) -> str:
    """An error's name, if it looks like one: what else stands there may be anything."""
    return value if isinstance(value, str) and value.isalnum() and len(value) <= 60 else "error"
