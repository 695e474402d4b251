"""What is true of one machine: versions, clock, disk, limits, GPUs, what it can reach, what it listens on.

Runs where the machine is, this one or a node of a cluster. Knows the operating system. Knows nothing of
what is good or bad: `checks.py` judges.
"""

from __future__ import annotations

import platform
import shutil
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from raylike import descriptors
from raylike.machines import gpu_names

PACKAGES = (
    "raylike",
    "ray",
    "torch",
    "torchvision",
    "pyarrow",
    "deltalake",
    "numpy",
    "opencv-python-headless",
)
"""What has to be of one version on every node: they exchange objects, features and tables."""
REACH_TIMEOUT_S = 3.0
GIB = 2**30


@dataclass(frozen=True)
class MachineFacts:
    """Of one machine, at one moment.

    Attributes
    ----------
    name : of the host
    versions : package -> version, "" where it is not installed; with `python`
    clock : seconds since 1970, by its own clock
    memory_gib : all that it has
    disk_free_gib : folder -> room left where it lies
    descriptors : the most sockets and files that a process may have open
    gpus : names of NVIDIA's GPUs
    open_ports : `address:port` on which Ray's processes listen for other machines
    unreached : `host:port` -> why it could not be reached
    """

    name: str
    versions: Mapping[str, str]
    clock: float
    memory_gib: float
    disk_free_gib: Mapping[str, float]
    descriptors: int
    gpus: tuple[str, ...]
    open_ports: tuple[str, ...]
    unreached: Mapping[str, str]


def survey(folders: Sequence[str], to_reach: Sequence[tuple[str, int]]) -> MachineFacts:
    """Look at this machine.

    Parameters
    ----------
    folders : whose disks are to be looked at; they need not be there
    to_reach : hosts and ports that a run would connect to
    """
    return MachineFacts(
        name=socket.gethostname(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        clock=time.time(),
        memory_gib=psutil.virtual_memory().total / GIB,
        disk_free_gib={folder: _free_gib(Path(folder)) for folder in folders},
        descriptors=descriptors.hard_limit(),
        gpus=gpu_names(),
        open_ports=_open_ports(),
        unreached=_unreached(to_reach),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _free_gib(folder: Path) -> float:
    """Room where a folder lies or would be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free / GIB


def _open_ports() -> tuple[str, ...]:
    """Sockets of Ray's own processes that other machines could connect to."""
    found = set()
    for process in psutil.process_iter(["name", "cmdline"]):
        try:
            words = [process.info["name"] or "", *(process.info["cmdline"] or [])[:3]]
            if not any(is_ray(word) for word in words):
                continue
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN and not is_loopback(connection.laddr.ip):
                    found.add(f"{connection.laddr.ip}:{connection.laddr.port}")
        except psutil.Error:  # ended meanwhile, or another user's
            continue
    return tuple(sorted(found))


def is_ray(word: str) -> bool:
    """Whether a process that is called so, or runs such a program, is one of Ray's servers."""
    return Path(word).name in ("raylet", "gcs_server") or "ray/dashboard" in word or "ray/_private" in word


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect to an address."""
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


def _unreached(to_reach: Sequence[tuple[str, int]]) -> dict[str, str]:
    """All are tried at once, in threads: a name look-up cannot be given a time limit."""
    why: dict[str, str] = {f"{host}:{port}": "no answer" for host, port in to_reach}

    def connect(host: str, port: int) -> None:
        try:
            socket.create_connection((host, port), timeout=REACH_TIMEOUT_S).close()
        except OSError as error:
            why[f"{host}:{port}"] = error.strerror or str(error)
        else:
            del why[f"{host}:{port}"]

    threads = [threading.Thread(target=connect, args=pair, daemon=True) for pair in to_reach]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + REACH_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(why)
