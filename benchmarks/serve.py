"""`raylike serve` against a bare loop of the same model: clients that send 640 px JPEGs without a pause.

    python -m benchmarks.serve WORKSPACE [--clients 32] [--seconds 60] [--hostile 20]

WORKSPACE holds a trained model. Prints photos/s of the loop and of the server, its latencies, its errors,
CPU seconds, and the memory of all its processes at the beginning and at the end. Then come `--hostile` rounds
of files and requests that mean harm: what they are told, whether a photo is still scored, and memory again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from functools import partial

import aiohttp
import numpy as np
import psutil

from benchmarks.photo_server import pictures
from raylike import cluster, processes
from raylike.config import resolve
from raylike.scoring import running
from raylike.scoring.results import PLAIN
from raylike.scoring.scorer import Scorer
from raylike.serving import deployment
from raylike.serving.app import About
from raylike.serving.uploads import UploadLimits
from raylike.workspace import Workspace
from tests.hostile_files import FILES, STATUS

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


LIES = {
    "a length that is not sent": b"Content-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n\xff\xd8\xff",
    "a length too large": b"Content-Type: image/jpeg\r\nContent-Length: 99999999999\r\n\r\n",
    "a negative length": b"Content-Type: image/jpeg\r\nContent-Length: -5\r\n\r\n",
    "no form in a form": b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 4\r\n\r\nnone",
    "another host's name": b"Host: evil.test\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"\x00\xff\x00\xff\r\n\r\n",
    "endless chunks": b"Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 25 * (b"100000\r\n" + bytes(2**20) + b"\r\n"),
}
"""What follows the first line of a request."""
HUNG_UP = "hung up on"
PATIENCE_S = 40.0


async def lie(port: int, rest: bytes) -> str:
    """The status that a request is answered with, or that it was hung up on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        host = b"" if b"Host:" in rest else f"Host: 127.0.0.1:{port}\r\n".encode()
        writer.write(b"POST /v1/score HTTP/1.1\r\n" + host + rest)
        with suppress(ConnectionError):
            await writer.drain()
        if b"5000" in rest:
            writer.write_eof()
        line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        return line.split()[1].decode() if line.startswith(b"HTTP/") else HUNG_UP
    except ConnectionError:
        return HUNG_UP
    finally:
        writer.close()


async def harm(url: str, port: int, photo: bytes, rounds: int) -> dict[str, Counter[str]]:
    """What hostile files and requests were answered, by name; after each round a photo must be scored."""
    told: dict[str, Counter[str]] = {}
    files = {name: FILES[name] for name in STATUS} | {"30 MB": bytes(30_000_000)}
    async with aiohttp.ClientSession() as session:
        for _ in range(rounds):
            for name, data in files.items():
                async with session.post(url, data=data, headers={"Content-Type": "image/jpeg"}) as answer:
                    text = await answer.text()
                    kind = json.loads(text).get("type", "") if answer.status != 200 else "scored"
                    told.setdefault(name, Counter())[f"{answer.status} {kind}"] += 1
            for name, rest in LIES.items():
                told.setdefault(name, Counter())[await lie(port, rest)] += 1
            async with session.post(url, data=photo, headers={"Content-Type": "image/jpeg"}) as answer:
                told.setdefault("a photo", Counter())[str(answer.status)] += 1
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--hostile", type=int, default=0, metavar="ROUNDS")
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
    told: dict[str, Counter[str]] = {}
    if chosen.hostile:
        asyncio.run(harm(url, chosen.port, photos[0], 2))  # whatever is loaded at the first of its kind
        settled = processes.memory_mib()
        told = asyncio.run(harm(url, chosen.port, photos[0], chosen.hostile))
        harmed = processes.memory_mib()
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
    for name, answers in told.items():
        print(f"hostile: {name}: {', '.join(f'{n} x {what}' for what, n in answers.items())}")
    if told:
        print(f"hostile: memory {settled:,.0f} MiB, after {chosen.hostile} rounds {harmed:,.0f} MiB")


if __name__ == "__main__":
    main()
