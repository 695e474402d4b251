"""`raylike serve` against a bare loop of the same model: clients that send 640 px JPEGs without a pause.

    python -m benchmarks.serve WORKSPACE --clients 32 --seconds 60

WORKSPACE holds a trained model. Prints photos/s of the loop and of the server, its latencies, its errors,
CPU seconds, and the memory of all its processes at the beginning and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress
from functools import partial

import aiohttp
import numpy as np
import psutil

from benchmarks.photo_server import pictures
from raylike import cluster, processes
from raylike.config import resolve
from raylike.scoring import running
from raylike.scoring.scorer import Scorer, Wanted
from raylike.serving import deployment
from raylike.serving.app import About
from raylike.serving.uploads import UploadLimits
from raylike.workspace import Workspace

PLAIN = Wanted(explanation=False, crop=False)
WARM_UP_S = 5.0


def bare_loop(scorer: Scorer, photos: list[bytes], seconds: float) -> tuple[float, float]:
    """Photos/s and CPU s a photo of one process, which scores batches of 16 with all its threads."""
    named = [("photo", photo) for photo in photos[:16]]
    scorer.score(named, PLAIN)
    n, started, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - started) < seconds:
        n += len(scorer.score(named, PLAIN))
    return n / passed, (time.process_time() - cpu) / n


def cpu_s() -> float:
    """Of all processes that this one started: the server's, but for their past."""
    total = 0.0
    for process in processes.descendants():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def load(url: str, photos: list[bytes], clients: int, seconds: float) -> tuple[list[float], int]:
    """Seconds of every request, and how many were not answered by 200."""
    took: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal errors
        turn = number
        while (began := time.perf_counter()) < end:
            turn += 1
            headers = {"Content-Type": "image/jpeg"}
            async with session.post(url, data=photos[turn % len(photos)], headers=headers) as answer:
                await answer.read()
                errors += answer.status != 200
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        await asyncio.gather(*(client(session, number) for number in range(clients)))
    return took, errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--port", type=int, default=8123)
    chosen = parser.parse_args()
    settings = resolve({}, environ={}).settings
    workspace = Workspace(chosen.workspace)
    photos = pictures()
    scorer, _ = running.open_scorer(workspace, settings)
    about = About(scorer.model.name, str(scorer.model.standard))
    before, loop_cpu = bare_loop(scorer, photos, chosen.seconds / 4)

    session = cluster.Session(settings.ray.model_copy(update={"dashboard": False}))
    session.wait()
    n, threads = deployment.plan(chosen.processes)
    make = partial(running.scorer, workspace, settings)
    limits = UploadLimits(settings.download.max_bytes)
    deployment.start(deployment.Service(make, about, limits, "127.0.0.1", chosen.port, n, threads))
    url = f"http://127.0.0.1:{chosen.port}/v1/score"
    asyncio.run(load(url, photos, chosen.clients, WARM_UP_S))
    memory = processes.memory_mib()
    started, cpu = time.perf_counter(), cpu_s()
    took, errors = asyncio.run(load(url, photos, chosen.clients, chosen.seconds))
    served = len(took) / (time.perf_counter() - started)
    server_cpu = (cpu_s() - cpu) / len(took)
    grown = processes.memory_mib()
    deployment.stop()
    session.stop()

    after, _ = bare_loop(scorer, photos, chosen.seconds / 4)
    bare = (before + after) / 2
    p50, p99 = np.percentile(took, [50, 99])
    print(f"bare loop: {before:.1f} photos/s before, {after:.1f} after")
    print(f"server, {n} processes of {threads} threads, {chosen.clients} clients: {served:.1f} photos/s, "
          f"{100 * served / bare:.0f} % of the loop")  # fmt: skip
    print(f"CPU ms a photo: loop {1000 * loop_cpu:.0f}, server with all of Ray {1000 * server_cpu:.0f}")
    print(f"latency: p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, {p99 / p50:.1f} times")
    print(f"{len(took):,} requests, {errors} errors; memory {memory:,.0f} MiB, at the end {grown:,.0f} MiB")


if __name__ == "__main__":
    main()
