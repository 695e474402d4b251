"""How look-ups and downloads grow with Ray nodes, and what a row costs the driver.

    uv run python -m benchmarks.scale [nodes] [rows] [--nodes 1 2 4 8]

nodes: the same work for each node, on 1, 2, 4 and 8 Ray nodes of this machine, against servers that take a
while to answer: rates should grow as nodes do until the machine's cores are the limit, so the share of them
that was busy is printed too. rows: CPU and memory of the driver for 100,000 and 1,000,000 photo rows of a few
bytes, with no network; the like for look-ups is `benchmarks.lookups memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from benchmarks import downloads, lookups
from raylike import Workspace
from raylike.cluster import Session
from raylike.config import RaySettings
from raylike.processes import MIB
from raylike.stages import download
from tests.pipeline.nodes import nodes

NODE_TOKENS, NODE_IN_FLIGHT, HITS_A_NODE = 4, 16, 3_000
"""A node's tokens, in one process; at 1 s a hit they allow 64 hits a second."""
NODE_DOWNLOADS, PHOTOS_A_NODE, PHOTO_LATENCY_S = 32, 3_000, 0.4
"""Photos under way in a node's downloader: 80 a second."""
ROWS_A_PART = 2000
"""As many as ordinary photos make in a part."""


def nodes_case(counts: Sequence[int]) -> None:
    """Rates over nodes, and their share of what the first number of nodes lets expect."""
    first: dict[str, float] = {}
    for n_nodes in counts:
        with (
            tempfile.TemporaryDirectory(prefix="rls-", dir="/tmp", ignore_cleanup_errors=True) as folder,
            nodes(n_nodes, Path(folder)) as made,
        ):
            command = [sys.executable, "-m", "benchmarks.scale", "--join", made.address, str(n_nodes)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        for what, rate, busy in json.loads(told):
            each = first.setdefault(what, rate / n_nodes)
            print(
                f"nodes: {what} over {n_nodes}: {rate:.0f}/s, {rate / n_nodes / each:.0%} of {n_nodes} x "
                f"{each:.0f}; cores busy {busy:.0f} %",
                flush=True,
            )


def join(address: str, n_nodes: int) -> None:
    """Do the work of so many nodes in the Ray session there; print rates and how busy the cores were."""
    session = Session(RaySettings(address=address))
    session.wait()
    found = []
    for what, work in (("look-ups", look_ups), ("downloads", photos)):
        psutil.cpu_percent()
        found.append((what, work(n_nodes), psutil.cpu_percent()))
    print(json.dumps(found))
    session.stop()


def look_ups(n_nodes: int) -> float:
    """Hits a second, 1 s each."""
    n, tokens = HITS_A_NODE * n_nodes, NODE_TOKENS * n_nodes
    with lookups.simulated(users=n, tokens=tokens, rate_limit="1000000/1", latency_s=1.0) as simulator:
        stats, _ = lookups.look_up(
            lookups.user_ids(n), simulator, rate_limit="1000000/1", in_flight=NODE_IN_FLIGHT,
            tokens_per_actor=NODE_TOKENS,
        )  # fmt: skip
    return lookups.hits(stats) / float(stats["first_to_last_hit_s"])


def photos(n_nodes: int) -> float:
    """Photos a second, from the first request to the last commit."""
    with downloads.serving(PHOTO_LATENCY_S) as server:
        downloads.begin(server)
        in_flight = {"in_flight": NODE_DOWNLOADS, "per_host": NODE_DOWNLOADS}
        rate, _ = downloads.ours(server, PHOTOS_A_NODE * n_nodes, actors=n_nodes, **in_flight)
    return rate


class Small(download.PhotoJob):
    """A download that asks nobody: its photos are a few bytes."""

    async def fetch(self, item: download.Photo) -> dict[str, Any]:
        return {
            **download._row(item, "ok", None),
            "bytes": b"\xff\xd8\xff",
            "byte_size": 3,
            "sha256": item.post_id,
        }


def rows_case() -> None:
    """CPU and peak memory of the driver, in a process of its own, by photo rows."""
    for n in (100_000, 1_000_000):
        with tempfile.TemporaryDirectory(prefix="raylike-scale-", dir="/tmp") as folder:
            downloads.with_cohort(folder, downloads.addresses(n))
            subprocess.run([sys.executable, "-m", "benchmarks.scale", "--weigh", folder], check=True)


def weigh(folder: str) -> None:
    """One run of the download stage with `Small` photos in this process."""
    session = Session(RaySettings(dashboard=False))
    session.wait()
    before_s, started = time.process_time(), time.monotonic()
    with mock.patch.object(download, "PhotoJob", Small):
        report = downloads.fetch(Workspace(folder), 1, commit_every=ROWS_A_PART)
    took_s, cpu_s = time.monotonic() - started, time.process_time() - before_s
    peak_mib = int(_status()["VmHWM"].split()[0]) * 1024 / MIB
    print(
        f"rows: {report.rows_out:,} photo rows in {took_s:.0f} s: the driver "
        f"{cpu_s / report.rows_out * 1e6:.0f} us of CPU a row, at most {peak_mib:.0f} MiB",
        flush=True,
    )
    session.stop()


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], "nodes", "rows"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--weigh", help=argparse.SUPPRESS)
    parser.add_argument("--join", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # nothing here listens beyond loopback
    if given.weigh:
        weigh(given.weigh)
    elif given.join:
        join(given.join[0], int(given.join[1]))
    else:
        cases = given.cases or ["nodes", "rows"]
        if "nodes" in cases:
            nodes_case(given.nodes)
        if "rows" in cases:
            rows_case()
