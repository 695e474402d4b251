"""The download stage against a local server of photos, and against what else people use.

    python -m benchmarks.downloads [CASE ...] [--img2dataset PYTHON] [--photos 5000]

Cases: speed, latency, strict, memory, outage, kills; all of them without a name. Rates count from the first
request that the server sees to the moment when everything is written, and for ours committed; Ray's start
and that of the downloader processes are printed apart. Before each measurement what earlier ones wrote is
synced to disk, so that nobody pays for another's pages. `--img2dataset` names the Python of an environment
that has img2dataset.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pyarrow as pa

from raylike import Workspace
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import DownloadSettings, RaySettings, Settings, SourceSettings
from raylike.progress import Silence
from raylike.stage import StageContext, StageReport
from raylike.stages import download
from raylike.tables import COHORT, POSTS
from tests.pipeline.faults import wait_for_ray_to_end

MOMENT = datetime(2015, 10, 1, tzinfo=UTC)
AT_ONCE = 64
GOOD_HOSTS = 20
ROUNDS = 3

IMG2DATASET = """
import sys, warnings
warnings.filterwarnings("ignore")
from img2dataset import download
if __name__ == "__main__":
    urls, out, processes, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    download(url_list=urls, output_folder=out, processes_count=processes, thread_count=threads,
             resize_mode="no", disable_all_reencoding=True, output_format="webdataset", extract_exif=False,
             compute_hash=None, number_sample_per_shard=500, enable_wandb=False)
"""


class PhotoServer:
    """`photo_server.py` in its own process."""

    def __init__(self, latency_s: float = 0.0) -> None:
        command = [sys.executable, "-m", "benchmarks.photo_server", "--latency-s", str(latency_s)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(self, path: str) -> bytes:
        """The body of an answer that is no photo."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            body: bytes = answer.read()
            return body

    def stats(self) -> dict[str, Any]:
        """What was asked since the last reset."""
        found: dict[str, Any] = json.loads(self.ask("/stats"))
        return found


@contextmanager
def serving(latency_s: float = 0.0) -> Iterator[PhotoServer]:
    """A server for the length of the block."""
    server = PhotoServer(latency_s)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def with_cohort(folder: str | Path, urls: Sequence[str]) -> Workspace:
    """A workspace with one post for each address, all of them in the cohort."""
    workspace, n = Workspace(folder), len(urls)
    ids = [f"p{i:06d}" for i in range(n)]
    posts: dict[str, Any] = {
        "post_id": ids, "user_id": ids, "provider": ["mastodon"] * n, "created_at": [MOMENT] * n,
        "collected_at": [MOMENT] * n, "image_url": urls, "likes": [1] * n, "tags": [["me"]] * n,
    }  # fmt: skip
    cohort: dict[str, Any] = {
        "post_id": ids, "user_id": ids, "likes": [1] * n, "kept": [True] * n, "reason": [""] * n,
    }  # fmt: skip
    for spec, columns in ((POSTS, posts), (COHORT, cohort)):
        arrays = [pa.array(columns.get(f.name, [None] * n), f.type) for f in spec.schema]
        workspace.write(spec.name, pa.table(arrays, schema=spec.schema), Commit(spec.name, "benchmark"))
    return workspace


def addresses(n: int, host: str = "photos.test") -> list[str]:
    return [f"http://{host}/{i}.jpg" for i in range(n)]


def fetch(workspace: Workspace, port: int, **settings: Any) -> StageReport:
    """Run the stage, every host of the workspace's posts being the local server."""
    hosts = [f"h{i}.test" for i in range(GOOD_HOSTS)] + ["strict.test", "photos.test"]
    chosen = Settings(
        source=SourceSettings(name="mastodon", resolve={host: f"127.0.0.1:{port}" for host in hosts}),
        download=DownloadSettings(**settings),
    )
    return download.run(StageContext(workspace, chosen, Silence(), Commit("download", "benchmark"), True))


def ours(server: PhotoServer, n: int, **settings: Any) -> tuple[float, float]:
    """Photos a second, and the seconds before the first request."""
    with tempfile.TemporaryDirectory(prefix="raylike-downloads-", dir="/tmp") as folder:
        workspace = with_cohort(folder, addresses(n))
        started = time.monotonic()
        report = fetch(workspace, server.port, **settings)
        ended = time.monotonic()
        assert not report.failed, report.failed
        assert report.rows_out == n
        stats = server.stats()
        return n / (ended - stats["first"]), stats["first"] - started


async def _bare(port: int, n: int, folder: str, at_once: int) -> None:
    numbers = iter(range(n))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for i in numbers:
                async with session.get(f"http://127.0.0.1:{port}/{i}.jpg") as answer:
                    data = await answer.read()
                with open(f"{folder}/{i}.jpg", "wb") as file:
                    file.write(data)

        await asyncio.gather(*(work() for _ in range(at_once)))


def bare(server: PhotoServer, n: int, at_once: int) -> float:
    """Photos a second of a plain aiohttp loop on uvloop that only writes files, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="raylike-downloads-", dir="/tmp") as folder:
        arguments = ["--bare", str(server.port), str(n), folder, str(at_once)]
        subprocess.run([sys.executable, "-m", "benchmarks.downloads", *arguments], check=True)
        ended = time.monotonic()
        assert len(os.listdir(folder)) == n
        first: float = server.stats()["first"]
        return n / (ended - first)


def img2dataset(server: PhotoServer, n: int, at_once: int, python: str) -> tuple[float, float]:
    """Photos a second of img2dataset at its fastest: no resize, no decoding, no hash, no EXIF.

    From its first request on, and from the start of its process on.
    """
    processes = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="raylike-downloads-", dir="/tmp") as folder:
        urls, script = Path(folder) / "urls.txt", Path(folder) / "go.py"
        urls.write_text("\n".join(f"http://127.0.0.1:{server.port}/{i}.jpg" for i in range(n)))
        script.write_text(IMG2DATASET)
        command = [python, str(script), str(urls), f"{folder}/out", str(processes), str(at_once // processes)]
        log = Path(folder) / "log"
        started = time.monotonic()
        with log.open("w") as file:
            subprocess.run(command, check=True, stdout=file, stderr=subprocess.STDOUT)
        ended = time.monotonic()
        stats = server.stats()
        assert stats["photos"] == n, log.read_text()[-2000:]
        return n / (ended - stats["first"]), n / (ended - started)


def compare(n: int, latency_s: float, at_once: int, python: str | None, rounds: int) -> None:
    """Ours, the bare loop and img2dataset in turn, in rounds."""
    with serving(latency_s) as server:
        for number in range(rounds):
            begin(server)
            rate, start_s = ours(server, n, **spread(at_once))
            begin(server)
            loop = bare(server, n, at_once)
            text = f"ours {rate:,.0f}/s, bare loop {loop:,.0f}/s: {rate / loop:.0%}"
            if python:
                begin(server)
                peer, whole = img2dataset(server, n, at_once, python)
                stage = n / (n / rate + start_s)
                text += (
                    f"; img2dataset {peer:,.0f}/s: {rate / peer:.1f} x; with the start of processes "
                    f"{stage:,.0f}/s and {whole:,.0f}/s: {stage / whole:.1f} x"
                )
            print(
                f"{latency_s * 1000:.0f} ms, {n:,} photos, {at_once} at once, round {number + 1}: {text} "
                f"({start_s:.1f} s before our first request)",
                flush=True,
            )


def begin(server: PhotoServer) -> None:
    """An idle disk, and a server that has counted nothing."""
    os.sync()
    server.ask("/reset")


def spread(at_once: int) -> dict[str, int]:
    """Settings for so many requests under way in all processes together."""
    actors = os.cpu_count() or 1
    return {"actors": actors, "in_flight": at_once // actors, "per_host": at_once // actors}


def speed_case(given: argparse.Namespace) -> None:
    """No latency."""
    compare(given.photos, 0.0, AT_ONCE, given.img2dataset, given.rounds)


def latency_case(given: argparse.Namespace) -> None:
    """100 ms."""
    compare(given.photos, 0.1, AT_ONCE, given.img2dataset, given.rounds)


def strict_case(given: argparse.Namespace) -> None:
    """One host that answers 429 above 50/s among 20 good ones, 20 ms."""
    n = given.photos // GOOD_HOSTS
    good = [f"http://h{host}.test/{i}.jpg" for i in range(n) for host in range(GOOD_HOSTS)]
    strict = [f"http://strict.test/{i}.jpg" for i in range(n)]
    for urls, what in ((good, "20 good hosts alone"), ([*good, *strict], "with a strict one")):
        with serving(0.02) as server, tempfile.TemporaryDirectory(dir="/tmp") as folder:
            report = fetch(with_cohort(folder, urls), server.port, **{**spread(AT_ONCE), "per_host": 8})
            stats = server.stats()
        last = max(moment for host, moment in stats["last_by_host"].items() if host != "strict.test")
        print(
            f"strict: {what}: good hosts {len(good) / (last - stats['first']):,.0f}/s; "
            f"of {stats['by_host'].get('strict.test', 0)} photos of the strict host {stats['refused']} "
            f"answers 429, {stats['in_pause']} hits within its Retry-After; failed {dict(report.failed)}; "
            f"{stats['robots']} requests for robots.txt",
            flush=True,
        )


def memory_case(given: argparse.Namespace) -> None:
    """Peak memory of driver, Ray and downloaders at n and at 4 n photos."""
    peaks = []
    for n in (given.photos, 4 * given.photos):
        with serving(0.0) as server, tempfile.TemporaryDirectory(dir="/tmp") as folder:
            workspace = with_cohort(folder, addresses(n))
            with watching(server.process.pid) as seen:
                fetch(workspace, server.port, **spread(AT_ONCE))
            most = server.stats()["most_connections"]
        peaks.append(max(seen))
        print(f"memory: {n:,} photos: peak {max(seen):,.0f} MiB, at most {most} connections", flush=True)
    print(f"memory: {peaks[1] / peaks[0]:.1%}")


@contextmanager
def watching(server: int) -> Iterator[list[float]]:
    """Proportional memory of this process and its descendants but the server, in MiB, five times a second."""
    seen: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss if process.pid != server else 0
                except psutil.Error:
                    continue
            seen.append(total / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def outage_case(given: argparse.Namespace) -> None:
    """The server hangs up on everybody for 30 s in the middle."""
    n = given.photos
    with serving(0.1) as server, tempfile.TemporaryDirectory(dir="/tmp") as folder:

        def cut() -> None:
            while server.stats()["hits"] < n // 3:
                time.sleep(0.05)
            with suppress(OSError, http.client.HTTPException):  # it hangs up on us, too
                server.ask("/outage?30")

        cutter = threading.Thread(target=cut)
        cutter.start()
        started = time.monotonic()
        report = fetch(with_cohort(folder, addresses(n)), server.port, **spread(AT_ONCE))
        cutter.join()
        print(
            f"outage: {n:,} photos with 30 s of hanging up in {time.monotonic() - started:.0f} s, failed "
            f"{dict(report.failed)}, {server.stats()['repeated']} photos sent twice",
            flush=True,
        )


def kills_case(given: argparse.Namespace) -> None:
    """SIGKILL of the driver at random moments, and of a downloader once; the same table afterwards."""
    n, kills, generator = 2 * given.photos, 5, random.Random(0)
    folder = tempfile.mkdtemp(prefix="rld-", dir="/tmp")
    with serving(0.1) as server:
        workspace = with_cohort(f"{folder}/workspace", addresses(n))
        repeated = []
        for number in range(kills + 1):
            with driving(workspace, server, f"{folder}/r") as process:
                time.sleep(generator.uniform(0.5, 4.0))
                if number < kills:
                    process.send_signal(signal.SIGKILL)
                    wait_for_ray_to_end(Path(folder) / "r")
                else:
                    generator.choice(downloaders_of(process)).kill()
                process.wait()
            repeated.append(server.stats()["repeated"])
        found = workspace.read("images", ["post_id", "sha256", "status"]).to_pylist()
        undisturbed = with_cohort(f"{folder}/undisturbed", addresses(n))
        fetch(undisturbed, server.port, **spread(AT_ONCE))
        expected = undisturbed.read("images", ["post_id", "sha256", "status"]).to_pylist()
    key = json.dumps
    same = sorted(map(key, found)) == sorted(map(key, expected))
    print(
        f"kills: {kills} of the driver, the last run with a downloader killed: {len(found):,} rows, "
        f"{'the same' if same else 'NOT THE SAME'} as undisturbed; photos fetched twice so far: {repeated}"
    )
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def driving(workspace: Workspace, server: PhotoServer, ray_tmpdir: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, from when it has downloaders; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.downloads", "--drive", workspace.uri, str(server.port)],
        env={**os.environ, "RAY_TMPDIR": ray_tmpdir},
    )
    try:
        while not downloaders_of(process):
            assert process.poll() is None, f"ended early with {process.returncode}"
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def downloaders_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The downloader processes of a run."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::Downloader")]


def drive(uri: str, port: int) -> None:
    """One run of the stage in a process that can be killed."""
    session = Session(RaySettings(dashboard=False))
    session.wait()
    fetch(Workspace(uri), port, **spread(AT_ONCE))
    session.stop()


CASES: dict[str, Callable[[argparse.Namespace], None]] = {
    "speed": speed_case, "latency": latency_case, "strict": strict_case, "memory": memory_case,
    "outage": outage_case, "kills": kills_case,
}  # fmt: skip


def main(given: argparse.Namespace) -> None:
    """Start Ray once and run the cases."""
    os.environ["RAY_USE_UVLOOP"] = "0"  # Ray would take up what the bare loop brings: users have none
    started = time.monotonic()
    session = Session(RaySettings(dashboard=False))
    session.wait()
    print(f"Ray started in {time.monotonic() - started:.1f} s", flush=True)
    for case in given.cases or list(CASES):
        CASES[case](given)
    session.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--img2dataset", metavar="PYTHON")
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--drive", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        import uvloop

        port, n, folder, at_once = options.bare
        uvloop.run(_bare(int(port), int(n), folder, int(at_once)))
    elif options.drive:
        drive(options.drive[0], int(options.drive[1]))
    else:
        main(options)
