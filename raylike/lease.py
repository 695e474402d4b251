"""A lock that is kept in an object store: lent for some minutes, renewed at work, free when it runs out.

An object store knows no locks, but it refuses to make an object that is there already. Delta Lake's log is
built on that, so the lease is a Delta table without rows: whoever commits the next version holds it.
Holders renew it from a thread; one that was killed is waited for until its time is up, or not at all where
its process can be seen to be gone.

Times are compared between machines: clocks may differ by what is left at a renewal, four minutes.
Knows Delta Lake. Knows nothing of what is locked.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from raylike.errors import TryAgainLater

LASTS_S = 300.0
"""Longer than Delta Lake tries to reach a store that is down, 180 s."""
RENEWED_EVERY_S = 60.0
METADATA_KEY = "raylike"
SCHEMA = pa.schema([pa.field("holder", pa.string())])


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, and until when.

    Attributes
    ----------
    token : unique to one taking of the lease
    machine : the same for processes that can see each other
    until : Unix seconds; 0.0 once it was given back
    """

    token: str
    host: str
    machine: str
    pid: int
    until: float

    def is_at_work(self, now: float) -> bool:
        """Whether the lease is to be respected."""
        gone = self.machine == _machine() and not psutil.pid_exists(self.pid)
        return now < self.until and not gone


class Lease:
    """The lock at an address, as one process sees it.

    Parameters
    ----------
    uri : a folder or an address of the lease's own
    where : what it locks, for messages
    lasts_s, renewed_every_s : how long it holds without being renewed, and how often it is renewed
    """

    def __init__(
        self, uri: str, where: str, lasts_s: float = LASTS_S, renewed_every_s: float = RENEWED_EVERY_S
    ) -> None:
        self._uri = uri
        self._where = where
        self._lasts_s = lasts_s
        self._renewed_every_s = renewed_every_s
        self._me = Holder(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), 0.0)
        self._taken_by: str | None = None
        self._stop = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> None:
        """Hold the lease from now on.

        Raises
        ------
        TryAgainLater : if somebody else holds it
        DeltaError, OSError : if it cannot be read or written
        """
        delta = self._open()
        holder = _holder(delta)
        if holder is not None and holder.is_at_work(time.time()):
            raise self._in_use(holder)
        if not self._commit(delta, time.time() + self._lasts_s):
            raise self._in_use(_holder(self._open()))
        self._renewing.start()

    def check(self) -> None:
        """Raise `TryAgainLater` if somebody else has taken the lease, as while this machine slept."""
        if self._taken_by is not None:
            raise TryAgainLater(f"was taken over by {self._taken_by}", self._where, "wait for it to end")

    def give_back(self) -> None:
        """Let others have it at once. If the store is not to be reached, it runs out by itself."""
        self._stop.set()
        self._renewing.join()
        if self._taken_by is None:
            with suppress(DeltaError, OSError):
                self._commit(self._open(), 0.0)

    def _renew(self) -> None:
        while not self._stop.wait(self._renewed_every_s):
            with suppress(DeltaError, OSError):  # the store is down: the next time, or the lease runs out
                delta = self._open()
                holder = _holder(delta)
                mine = holder is not None and holder.token == self._me.token
                if not mine or not self._commit(delta, time.time() + self._lasts_s):
                    self._taken_by = _name(_holder(self._open()))
                    return

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(self._uri)
        except TableNotFoundError:
            try:
                return DeltaTable.create(self._uri, SCHEMA, description="who is at work here")
            except DeltaError:
                return DeltaTable(self._uri)  # somebody else has made it meanwhile

    def _commit(self, delta: DeltaTable, until: float) -> bool:
        """Make the version after `delta`'s. False if another process has made it."""
        metadata = {METADATA_KEY: json.dumps(asdict(replace(self._me, until=until)))}
        try:
            delta.create_write_transaction(
                [], "append", delta.schema(),
                commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
            )  # fmt: skip
        except CommitFailedError:
            # Also if the store made it, its answer was lost, and the library asked again.
            newest = _holder(self._open())
            return newest is not None and newest.token == self._me.token
        return True

    def _in_use(self, holder: Holder | None) -> TryAgainLater:
        hint = "wait for it, or name another --workspace"
        if holder is not None and holder.until:
            ends = datetime.fromtimestamp(holder.until, UTC)
            hint += f"; if it was killed, its lock ends at {ends:%H:%M:%S} UTC"
        return TryAgainLater(f"is in use by {_name(holder)}", self._where, hint)


def _holder(delta: DeltaTable) -> Holder | None:
    entry = delta.history(1)[0]
    return Holder(**json.loads(entry[METADATA_KEY])) if METADATA_KEY in entry else None


def _name(holder: Holder | None) -> str:
    return "another process" if holder is None else f"process {holder.pid} on {holder.host}"


def _machine() -> str:
    """The kernel's boot and this process's view of process ids: where both are the same, so are the ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return uuid.uuid4().hex
