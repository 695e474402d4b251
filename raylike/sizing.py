"""How many processes a stage starts, and what each is given: from what there is and what there is to do.

Arithmetic alone. Batch models are sized by `cluster.plan_pool`, token processes by `actors/packing.py`.
"""

from __future__ import annotations

import math

TOKEN_CPUS = 0.01
"""Of a token process, which waits for the network."""
DOWNLOADER_CPUS = 0.1
"""Of a downloader."""
PHOTOS_PER_DOWNLOADER = 2500
"""With fewer, one more process takes about as long to start (2 s) as it saves."""
MOST_DOWNLOADERS = 8
"""Chosen unasked: each has its own requests under way, and servers are other people's."""
TRIAL_THREADS = 8
"""Cores that one trial can use: batches of 32 gain little beyond."""


def plan_downloaders(n_photos: int, cpus: int) -> int:
    """How many processes are worth it: at most one a CPU, each with enough to do."""
    return max(1, min(cpus, MOST_DOWNLOADERS, n_photos // PHOTOS_PER_DOWNLOADER))


def training_shares(cpus: int, n_workers: int, *, streams: bool) -> tuple[float, float]:
    """Ray's CPUs of a training worker, and of a task that makes photos ready: those must find room beside the
    workers, or training waits for ever."""
    if not streams:
        return 1.0, 0.0
    worker = min(1.0, (cpus - 1) / n_workers) if cpus > 1 else 0.5 / n_workers
    worker = math.floor(100 * worker) / 100
    return worker, min(1.0, cpus - worker * n_workers)


def trials_at_once(cpus: int, gpus: int, wanted: int | None = None) -> int:
    """Trials at the same time: as many as the user wants, or one a GPU, or what the cores allow."""
    return wanted or max(1, gpus or cpus // TRIAL_THREADS)
