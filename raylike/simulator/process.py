"""Starts the simulator as a process of its own, and makes sure that it does not outlive this one.

Knows how to start, reach and stop it. Imports nothing of the world or the server.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from os import getpid
from typing import Any

from pydantic import SecretStr

from raylike.errors import ServiceUnavailable
from raylike.simulator.options import SimulatorOptions

__all__ = ["Simulator", "SimulatorOptions", "launch", "start"]

_DOMAIN = "simulator.test"
_PHOTO_HOST = f"photos.{_DOMAIN}"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Simulator:
    """A running simulator.

    Attributes
    ----------
    networks : name -> address of its API by number and port, for a browser or curl
    logins : name of a network -> names and passwords, where these take a token's place
    """

    port: int
    networks: dict[str, str]
    tokens: tuple[SecretStr, ...]
    process: subprocess.Popen[bytes]
    logins: dict[str, tuple[SecretStr, ...]] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """Instagram v1's API under a name that stays the same from run to run; needs `resolve`."""
        return f"http://instagram.{_DOMAIN}/v1"

    @property
    def resolve(self) -> dict[str, str]:
        """Where the simulator's names are to be found: host -> "127.0.0.1:PORT"."""
        return dict.fromkeys((f"instagram.{_DOMAIN}", _PHOTO_HOST), f"127.0.0.1:{self.port}")

    def stats(self) -> dict[str, Any]:
        """What the server has counted so far."""
        url = f"http://127.0.0.1:{self.port}/_simulator/stats"
        with urllib.request.urlopen(url, timeout=10) as answer:
            counted: dict[str, Any] = json.load(answer)
        return counted

    def stop(self) -> None:
        """End it; returns when it is gone. May be called twice."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # it may be busy, but nothing in it needs saving
            self.process.wait(_STOP_TIMEOUT_S)
        _discard(self.process)


def launch(options: SimulatorOptions) -> Simulator:
    """Start a simulator and return when it answers; the caller stops it.

    Raises
    ------
    ServiceUnavailable : if it does not come up
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "raylike.simulator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        given = {"options": asdict(options) | {"faults": dict(options.faults)}, "parent": getpid()}
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(given).encode() + b"\n")
            process.stdin.flush()
            ready = _first_line(process)
        except BaseException:
            _discard(process)
            raise
        if not ready:
            _discard(process)
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines()
            raise ServiceUnavailable(
                "the simulator did not start",
                said[-1] if said else "",
                "is its port taken? --port 0 finds a free one",
            )
    event = json.loads(ready)
    tokens = tuple(SecretStr(token) for token in event["tokens"])
    logins = {name: tuple(map(SecretStr, given)) for name, given in event["logins"].items()}
    return Simulator(event["port"], event["networks"], tokens, process, logins)


@contextmanager
def start(options: SimulatorOptions) -> Iterator[Simulator]:
    """A simulator for the length of a `with` block. Raises as `launch`."""
    simulator = launch(options)
    try:
        yield simulator
    finally:
        simulator.stop()


def _discard(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and close the pipes to it."""
    process.kill()
    with process:  # closes them and waits
        pass


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The first line a process writes, or nothing if it ends or takes too long."""
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))
        some = process.stdout.read1(65_536) if ready else b""  # type: ignore[attr-defined]
        if not some:
            return b""
        line += some
    return line
