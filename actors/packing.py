"""How many processes the tokens of a run share.

A process costs about 140 MiB and 2 s of CPU to start, and one can send some 10,000 hits a second, more than
the limits of any number of tokens lent. A process for each token keeps one's trouble from the others, so that
is the shape; but twenty that start on two CPUs start for many seconds, and all that time take the CPUs from
those that already work. So the tokens share when there would be more than `PROCESSES_PER_CPU`.

Arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

PROCESSES_PER_CPU = 2
"""Measured on two CPUs with 20 tokens at 1 s a hit: see benchmarks/README.md, Look-ups."""


def plan_processes(tokens: int, cpus: int, tokens_per_process: int | None = None) -> int:
    """Number of processes for so many tokens.

    Parameters
    ----------
    cpus : of the whole Ray session
    tokens_per_process : the user's own choice, if any
    """
    if tokens_per_process is not None:
        return -(-tokens // tokens_per_process)
    return min(tokens, PROCESSES_PER_CPU * max(1, cpus))


def describe(tokens: int, processes: int) -> str:
    """How tokens share processes, for people."""
    if processes >= tokens:
        return "each in a process of its own"
    return f"in {processes} process{'es' if processes > 1 else ''} of up to {-(-tokens // processes)}"


def share_out(items: Sequence[T], processes: int) -> list[Sequence[T]]:
    """The items in `processes` groups, in their order; sizes differ by one at most."""
    n = len(items)
    ends = [n * i // processes for i in range(processes + 1)]
    return [items[a:b] for a, b in pairwise(ends) if b > a]
