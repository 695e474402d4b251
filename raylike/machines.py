"""What there is to run on: nodes with their CPUs, GPUs and memory.

Knows the operating system. Knows nothing of Ray or of what will run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

MIB = 2**20
HERE = "this machine"


@dataclass(frozen=True)
class Node:
    """A machine as Ray's scheduler sees it.

    Attributes
    ----------
    cpus, gpus : all that it has, whoever uses them now
    memory_mib : for processes; 0 where it is not known
    """

    name: str
    cpus: float
    gpus: float = 0.0
    memory_mib: int = 0

    def __str__(self) -> str:
        return amount(self.cpus, self.gpus)


@dataclass(frozen=True)
class Machines:
    """All nodes of a run.

    Attributes
    ----------
    address : of the cluster; empty for this machine alone
    may_grow : nodes may be added while a run waits for them
    """

    nodes: tuple[Node, ...]
    address: str = ""
    may_grow: bool = False

    @property
    def cpus(self) -> int:
        """Of all nodes."""
        return int(sum(node.cpus for node in self.nodes))

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return int(sum(node.gpus for node in self.nodes))

    def __str__(self) -> str:
        n = len(self.nodes)
        named = f"{n} node{'' if n == 1 else 's'} at {self.address}" if self.address else HERE
        return f"{named} ({amount(self.cpus, self.gpus)})"


def amount(cpus: float, gpus: float) -> str:
    """CPUs and GPUs in words."""
    return f"{_count(cpus, 'CPU')}, {_count(gpus, 'GPU') if gpus else 'no GPU'}"


def this_machine(cpus: int | None = None) -> Machines:
    """This machine alone, with so many CPUs or with all."""
    node = Node(
        HERE,
        cpus or os.cpu_count() or 1,
        len(visible(gpu_names(), os.environ)),
        psutil.virtual_memory().total // MIB,
    )
    return Machines((node,))


def gpu_names() -> tuple[str, ...]:
    """By the driver's own program: to ask torch would take seconds and memory of the GPU."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())


def visible(gpus: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    """As many of the GPUs as `CUDA_VISIBLE_DEVICES` lets a process see."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return gpus
    return gpus[: len([name for name in chosen.split(",") if name.strip() not in ("", "-1")])]


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
