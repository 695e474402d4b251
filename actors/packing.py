"""How many processes the tokens of a run share.

A process costs about 140 MiB and 2 s of CPU to start, and one can send some 10,000 hits a second, more than
the limits of any number of tokens lent. A process for each token keeps one's trouble from the others, so that
is the shape where there is a CPU to each two; but many that start on few CPUs start for many seconds, and all
that time take the CPUs from those that already work. So on few CPUs tokens share: up to
`TOKENS_TOGETHER` a process, which is what a process that dies takes with it, and more only where there
would be more than `MOST_PER_CPU` processes. Every node of a cluster has one, if there are tokens for it: some
networks count by address.

Arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

# Measured on two CPUs with 4 and with 20 tokens: benchmarks/README.md, Look-ups.
TOKENS_TOGETHER = 5
CPUS_PER_PROCESS = 2
MOST_PER_CPU = 2


def plan_processes(tokens: int, cpus: int, tokens_per_process: int | None = None, nodes: int = 1) -> int:
    """Number of processes for so many tokens.

    Parameters
    ----------
    cpus, nodes : of the whole Ray session; nodes that have CPUs
    tokens_per_process : the user's own choice, if any
    """
    if tokens_per_process is not None:
        return -(-tokens // tokens_per_process)
    roomy = cpus // CPUS_PER_PROCESS
    shared = min(-(-tokens // TOKENS_TOGETHER), MOST_PER_CPU * max(1, cpus))
    return min(tokens, max(roomy, shared, nodes))


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
