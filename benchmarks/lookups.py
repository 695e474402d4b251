"""Look-ups of followers against the simulator on this machine, counted at the server.

    uv run python -m benchmarks.lookups [CASE ...]

Cases: latency, rate, faults, loop, peer, client, kills, memory; all of them without a name. Rates count from
the first hit to the last, as the server saw them; Ray's start and that of the token actors are printed apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import psutil
import pyarrow as pa
import requests
from pydantic import SecretStr

from actors.budget import Limit
from actors.outcomes import Credential, Reply
from actors.packing import plan_processes
from actors.tokens import TokenKeeper, TokenOptions
from raylike import Workspace, cluster
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import CollectSettings, RaySettings, Settings, SimulatorSettings, SourceSettings
from raylike.progress import Progress, Silence
from raylike.providers import Connection, Endpoint
from raylike.providers.base import OK, User
from raylike.simulator.process import Simulator, SimulatorOptions, launch
from raylike.simulator.world import World
from raylike.stage import StageContext
from raylike.stages import followers
from raylike.tables import POSTS

MOMENT = datetime(2015, 10, 1, tzinfo=UTC)


@contextmanager
def simulated(**options: Any) -> Iterator[Simulator]:
    """A simulator for the length of the block."""
    simulator = launch(SimulatorOptions(**options))
    try:
        yield simulator
    finally:
        simulator.stop()


def user_ids(n: int) -> list[str]:
    """The ids of the accounts of a world of `n` users."""
    world = World(0, n)
    return [world.user_id(row) for row in range(n)]


def with_posts(folder: str | Path, ids: Sequence[str]) -> Workspace:
    """A workspace with one post of each account."""
    workspace = Workspace(folder)
    n = len(ids)
    columns: dict[str, Any] = {
        "post_id": ids, "user_id": ids, "provider": ["simulator"] * n, "created_at": [MOMENT] * n,
        "collected_at": [MOMENT] * n, "image_url": ["http://photos.test/1.jpg"] * n, "likes": [1] * n,
        "tags": [["me"]] * n,
    }  # fmt: skip
    rows = pa.table(
        [pa.array(columns.get(f.name, [None] * n), f.type) for f in POSTS.schema], schema=POSTS.schema
    )
    workspace.write("posts", rows, Commit("collect", "benchmark"))
    return workspace


def context(
    workspace: Workspace, simulator: Simulator, rate_limit: str | None = None, **collect: Any
) -> StageContext:
    """What the followers stage receives."""
    source = SourceSettings(
        name="simulator", base_url=simulator.base_url, resolve=simulator.resolve, tokens=simulator.tokens
    )
    settings = Settings(
        source=source, collect=CollectSettings(**collect), simulator=SimulatorSettings(rate_limit=rate_limit)
    )
    return StageContext(workspace, settings, Silence(), Commit("followers", "benchmark"), resume=True)


def hits(stats: dict[str, Any]) -> int:
    return int(sum(stats["hits"]))


def token_actors() -> list[psutil.Process]:
    """The token actors' processes."""
    here = psutil.Process().children(recursive=True)
    return [process for process in here if "TokenKeeper" in " ".join(process.cmdline())]


class CpuMeter(Silence):
    """Reads the CPU time of the token actors while users come in, from when all of them are there."""

    EVERY_S = 0.5
    STARTED_AFTER_S = 3.0

    def __init__(self) -> None:
        self._users = 0
        self._read_at = 0.0
        self._begun_at = 0.0
        self._readings: list[tuple[int, float]] = []

    def advance(self, done: int = 1, **counts: int) -> None:
        """Count users, and read if it is time."""
        self._users += done
        now = time.monotonic()
        self._begun_at = self._begun_at or now
        if now - self._begun_at >= self.STARTED_AFTER_S and now - self._read_at >= self.EVERY_S:
            self._read_at = now
            times = [process.cpu_times() for process in token_actors()]
            self._readings.append((self._users, sum(t.user + t.system for t in times)))

    @property
    def ms_a_user(self) -> float:
        """CPU time of the token actors a user, in ms; not a number where the run was too short."""
        if len(self._readings) < 2:
            return float("nan")
        (users, cpu_s), (more_users, more_cpu_s) = self._readings[0], self._readings[-1]
        return (more_cpu_s - cpu_s) / (more_users - users) * 1000


def look_up(
    ids: Sequence[str], simulator: Simulator, progress: Progress | None = None, **options: Any
) -> tuple[dict[str, Any], float]:
    """Run the stage; the server's counts, and the seconds before its first hit."""
    with tempfile.TemporaryDirectory(prefix="raylike-lookups-") as folder:
        workspace = with_posts(folder, ids)
        started = time.monotonic()
        given = context(workspace, simulator, **options)
        followers.run(given if progress is None else replace(given, progress=progress))
        took_s = time.monotonic() - started
        stats = simulator.stats()
        found = workspace.keys("users")
        assert found == set(ids), f"{len(set(ids) - found)} users have no row"
        return stats, took_s - stats["first_to_last_hit_s"]


def latency_case() -> None:
    """100,000 users, 20 tokens of 5000 an hour, 1 s a hit: first with settings as they are.

    Then with twice as many under way, so that the processes' start weighs twice as much; then with that and
    a process for each token.
    """
    for options in ({}, {"in_flight": 32}, {"in_flight": 32, "tokens_per_actor": 1}):
        _latency(**options)


def _latency(**options: Any) -> None:
    n, tokens = 100_000, 20
    given = CollectSettings(**options)
    with simulated(users=n, tokens=tokens, latency_s=1.0) as simulator:
        stats, start_s = look_up(user_ids(n), simulator, **options)
    processes = plan_processes(tokens, cluster.cpus(), given.tokens_per_actor)
    span_s = stats["first_to_last_hit_s"]
    bound = tokens * given.in_flight / 1.0
    rate = hits(stats) / span_s
    at_work = (hits(stats) - stats["hits_by_then"]) / (span_s - stats["until_all_at_work_s"])
    print(
        f"latency, {given.in_flight} under way for each token, {processes} processes: "
        f"{hits(stats):,} hits for {n:,} users in {span_s:.1f} s: {rate:.0f}/s, "
        f"{rate / bound:.1%} of {bound:.0f}/s; once all tokens are at work {at_work:.0f}/s, "
        f"{at_work / bound:.1%}; over a limit {stats['violations']}, "
        f"asked twice {stats['users_asked_twice']}; {start_s:.1f} s before the first hit, "
        f"{stats['until_all_at_work_s']:.1f} s more until all tokens were at work",
        flush=True,
    )


def rate_case() -> None:
    """20 tokens, 300 hits in any 10 s each, watched for 120 s."""
    n, tokens, limit, window_s, watched_s = 100_000, 20, 300, 10.0, 120.0
    with simulated(users=n, tokens=tokens, rate_limit=f"{limit}/{window_s:g}") as simulator:
        seen: list[dict[str, Any]] = []
        done = threading.Event()

        def watch() -> None:
            while not hits(simulator.stats()):
                time.sleep(0.02)
            done.wait(watched_s - 0.1)
            seen.append(simulator.stats())

        watcher = threading.Thread(target=watch)
        watcher.start()
        options: dict[str, Any] = {"rate_limit": f"{limit}/{window_s:g}", "in_flight": 8}
        look_up(user_ids(n), simulator, **options)
        watcher.join()
        stats, end = seen[0], simulator.stats()
    permitted = int(tokens * limit * watched_s / window_s)
    print(
        f"rate: {hits(stats):,} of {permitted:,} hits permitted in {watched_s:.0f} s, "
        f"{hits(stats) / permitted:.2%}; over a limit {end['violations']} of {hits(end):,}"
    )


def faults_case() -> None:
    """5 of 20 tokens revoked, 2 % 500s, 1 % resets, 1 % 10 s stalls, one actor killed."""
    n, tokens = 20_000, 20
    faults = {"token_revoked": 0.25, "error_500": 0.02, "reset": 0.01, "stall": 0.01}
    with simulated(users=n, tokens=tokens, latency_s=0.1, faults=faults) as simulator:

        def kill_one() -> None:
            while hits(simulator.stats()) < n // 3:
                time.sleep(0.1)
            random.Random(0).choice(token_actors()).kill()

        killer = threading.Thread(target=kill_one)
        killer.start()
        stats, _ = look_up(user_ids(n), simulator, in_flight=16)
        killer.join()
    own = stats["faults"].get("error_500", 0) + stats["faults"].get("reset", 0)
    extra = hits(stats) - n - own
    print(
        f"faults: {n:,} users have a row after {hits(stats):,} hits: {own} went to faults, "
        f"{extra} more ({extra / n:.2%}); refused as revoked {stats['bad_tokens']}, "
        f"over a limit {stats['violations']}"
    )


def loop_case() -> None:
    """One synchronous loop, the study's first try, against ours; 50 ms a hit."""
    n = 4000
    with simulated(users=n, tokens=4, latency_s=0.05, rate_limit="1000000/1") as simulator:
        token = simulator.tokens[0].get_secret_value()
        url = simulator.networks["instagram_v1"]
        started, few = time.monotonic(), user_ids(n)[:200]
        with requests.Session() as session:
            for user_id in few:
                session.get(f"{url}/users/{user_id}", params={"access_token": token}).json()
        slow = len(few) / (time.monotonic() - started)
    with simulated(users=n, tokens=4, latency_s=0.05, rate_limit="1000000/1") as simulator:
        stats, _ = look_up(user_ids(n), simulator, rate_limit="1000000/1")
    fast = hits(stats) / stats["first_to_last_hit_s"]
    print(f"loop: {slow:.0f}/s by a requests loop, {fast:.0f}/s by 4 tokens: {fast / slow:.0f} x")


async def plain(ids: Sequence[str], simulator: Simulator, at_once: int) -> None:
    """The best plain aiohttp loop: one process, one session, nothing kept."""
    url = simulator.networks["instagram_v1"]
    tokens = [token.get_secret_value() for token in simulator.tokens]
    queue = iter(enumerate(ids))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for i, user_id in queue:
                query = {"access_token": tokens[i % len(tokens)]}
                async with session.get(f"{url}/users/{user_id}", params=query) as answer:
                    json.loads(await answer.read())

        await asyncio.gather(*(work() for _ in range(at_once)))


def peer_case() -> None:
    """The best plain aiohttp loop against ours, in pairs, at equal concurrency, at three latencies.

    At 0 ms, where the machine's cores are the limit, also with a process for each token.
    """
    for latency_s, n, tokens_per_actor in (
        (0.0, 150_000, None), (0.0, 150_000, 1), (0.02, 60_000, None), (0.1, 20_000, None)
    ):  # fmt: skip
        options = {"users": n, "tokens": PEER_TOKENS, "rate_limit": "1000000/1", "latency_s": latency_s}
        serve = partial(simulated, **options)
        _pairs(f"{latency_s * 1000:.0f} ms", n, serve, tokens_per_actor)


def client_case() -> None:
    """The same at 0 ms against a server that leaves nearly all of the machine to its clients.

    First what a token actor does, in this process and without Ray, against the loop; then all of it.
    """
    n = 50_000
    for _ in range(PAIRS):
        rates, cpu_ms = [], []
        for ask in (plain, kept):
            with thrifty() as server:
                before_s = time.process_time()
                asyncio.run(ask(user_ids(n), server, PEER_TOKENS * PEER_IN_FLIGHT))
                cpu_ms.append((time.process_time() - before_s) / n * 1000)
                stats = server.stats()
            rates.append(hits(stats) / stats["first_to_last_hit_s"])
        print(
            f"client, one process: aiohttp loop {rates[0]:.0f}/s, a token actor's work {rates[1]:.0f}/s: "
            f"{rates[1] / rates[0]:.0%}; CPU ms a hit {cpu_ms[0]:.3f}, {cpu_ms[1]:.3f}; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    _pairs("0 ms, thrifty server", 150_000, thrifty)


async def kept(ids: Sequence[str], server: Simulator, at_once: int) -> None:
    """What a token actor does with batches of users: budget, circuit, headers, retries, parsing."""
    credentials = [Credential(f"friend-{i}", token) for i, token in enumerate(server.tokens)]
    in_flight = at_once // len(credentials)
    limits = (Limit(1_000_000, 1.0),)
    endpoint = Endpoint("simulator", server.base_url, server.resolve, limits=limits)
    keeper = TokenKeeper(credentials, partial(Connection, endpoint), TokenOptions(in_flight=in_flight))
    await keeper.ready()
    source = iter(ids)

    async def feed(alias: str) -> None:
        while batch := list(islice(source, KEPT_BATCH)):
            answer = await keeper.ask(alias, batch)
            late = await keeper.late(alias, answer.late_key, answer.late) if answer.late else answer
            assert len(batch) == (answer.asked if late is answer else answer.asked + late.asked)

    await asyncio.gather(*(feed(credential.alias) for credential in credentials for _ in range(2)))
    await keeper.close()


KEPT_BATCH = 64


PEER_TOKENS, PEER_IN_FLIGHT, PAIRS = 4, 16, 3


def _pairs(
    what: str,
    n: int,
    serve: Callable[[], AbstractContextManager[Simulator]],
    tokens_per_actor: int | None = None,
) -> None:
    processes = plan_processes(PEER_TOKENS, cluster.cpus(), tokens_per_actor)
    given = {"rate_limit": "1000000/1", "in_flight": PEER_IN_FLIGHT, "tokens_per_actor": tokens_per_actor}
    for _ in range(PAIRS):
        rates, cpu_ms, actors = [], [], CpuMeter()
        for ours in (False, True):
            with serve() as server:
                ids = user_ids(n)
                before_s = time.process_time()
                if ours:
                    look_up(ids, server, actors, **given)
                else:
                    asyncio.run(plain(ids, server, PEER_TOKENS * PEER_IN_FLIGHT))
                cpu_ms.append((time.process_time() - before_s) / n * 1000)
                stats = server.stats()
            rates.append(hits(stats) / stats["first_to_last_hit_s"])
        print(
            f"peer: {what}: aiohttp loop {rates[0]:.0f}/s; ours, persisting, processes {processes}, "
            f"{rates[1]:.0f}/s: {rates[1] / rates[0]:.0%}; CPU ms a hit: loop {cpu_ms[0]:.3f}, "
            f"our token actors {actors.ms_a_user:.3f}, our driver {cpu_ms[1]:.3f}; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


@contextmanager
def thrifty() -> Iterator[Simulator]:
    """`benchmarks/thrifty_server.py` for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.thrifty_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        tokens = tuple(SecretStr(f"{i}" * 40) for i in range(PEER_TOKENS))
        yield Simulator(port, {"instagram_v1": f"http://127.0.0.1:{port}/v1"}, tokens, process)


def kills_case() -> None:
    """SIGKILL of the driver at 10 random moments, rerun each time."""
    n, kills, generator = 20_000, 10, random.Random(0)
    with (
        tempfile.TemporaryDirectory(prefix="rlk-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        simulated(users=n, tokens=4, latency_s=0.1, rate_limit="1000000/1") as simulator,
    ):
        with_posts(Path(folder) / "workspace", user_ids(n))
        given: dict[str, Any] = {
            "workspace": f"{folder}/workspace", "port": simulator.port,
            "tokens": [token.get_secret_value() for token in simulator.tokens],
        }  # fmt: skip
        repeated = []
        for number in range(kills + 1):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.lookups", "--drive"],
                stdin=subprocess.PIPE, env={**os.environ, "RAY_TMPDIR": f"{folder}/r"},
            )  # fmt: skip
            assert process.stdin is not None
            before = simulator.stats()
            process.stdin.write(json.dumps(given).encode())
            process.stdin.close()
            if number < kills:
                while hits(simulator.stats()) == hits(before) and process.poll() is None:
                    time.sleep(0.05)
                time.sleep(generator.uniform(0.2, 4.0))
                process.send_signal(signal.SIGKILL)
            process.wait()
            stats = simulator.stats()
            repeated.append(stats["users_answers"] - stats["users_asked"])
        users = Workspace(given["workspace"]).table("users").to_pandas()
        truth = World(0, n)
        assert sorted(users["user_id"]) == sorted(user_ids(n)), "not every user once"
        ok = users[users["status"] == "ok"]
        rows = [truth.find_user(user_id) for user_id in ok["user_id"]]
        assert (truth.users.followers[rows] == ok["followers"].to_numpy()).all()
    each = [b - a for a, b in zip([0, *repeated], repeated, strict=False)]
    print(f"kills: after {kills} kills every user has one right row; hits repeated a kill: {each[1:]}")


class Instant:
    """A network that answers at once, from the process that asks: only our own memory is left to measure."""

    batch_size = 1
    limits = (Limit(5000, 1.0),)

    async def send(self, credential: Credential, items: Sequence[str]) -> Reply[list[User]]:
        return Reply([User(user_id, OK, 100, 100, 10) for user_id in items])

    async def close(self) -> None:
        pass


def connect_at_once(_: Endpoint) -> Instant:
    return Instant()


def memory_case() -> None:
    """Peak memory of the driver and of the largest token actor, at 100,000 and at 1,000,000 users."""
    for n in (100_000, 1_000_000):
        with tempfile.TemporaryDirectory(prefix="raylike-lookups-") as folder:
            with_posts(folder, [f"{10**9 + row}" for row in range(n)])
            subprocess.run(
                [sys.executable, "-m", "benchmarks.lookups", "--weigh"],
                input=json.dumps({"workspace": folder}).encode(), check=True,
            )  # fmt: skip


def weigh() -> None:
    """One run of the stage against `Instant` in this process, told on standard input where."""
    workspace = Workspace(json.load(sys.stdin)["workspace"])
    session = Session(RaySettings(dashboard=False))
    session.wait()
    peak = {"driver": 0, "token actor": 0}
    done = threading.Event()

    def watch() -> None:
        here = psutil.Process()
        while not done.wait(0.5):
            for name, processes in (("driver", [here]), ("token actor", token_actors())):
                peak[name] = max(peak[name], *(p.memory_info().rss for p in processes), 0)

    source = SourceSettings(name="instagram_v1", tokens=tuple(SecretStr(f"{i}" * 40) for i in range(4)))
    settings = Settings(source=source, collect=CollectSettings(tokens_per_actor=2))
    watcher = threading.Thread(target=watch)
    watcher.start()
    with mock.patch.object(followers, "Connection", connect_at_once):
        started = time.monotonic()
        followers.run(StageContext(workspace, settings, Silence(), Commit("followers", "weigh"), True))
    took_s = time.monotonic() - started
    done.set()
    watcher.join()
    n = len(workspace.keys("users"))
    sizes = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in peak.items())
    print(f"memory: {n:,} users in {took_s:.0f} s: {sizes}", flush=True)
    session.stop()


def drive() -> None:
    """One run of the stage, told on standard input what to do."""
    given = json.load(sys.stdin)
    with simulated_elsewhere(given) as (workspace, simulator):
        session = Session(RaySettings(dashboard=False))
        session.wait()
        followers.run(context(workspace, simulator, rate_limit="1000000/1"))
        session.stop()


@contextmanager
def simulated_elsewhere(given: dict[str, Any]) -> Iterator[tuple[Workspace, Simulator]]:
    """The simulator of the process that started this one."""
    tokens = tuple(SecretStr(token) for token in given["tokens"])
    yield Workspace(given["workspace"]), Simulator(given["port"], {}, tokens, subprocess.Popen(["true"]))


CASES: dict[str, Callable[[], None]] = {
    "latency": latency_case, "rate": rate_case, "faults": faults_case, "loop": loop_case, "peer": peer_case,
    "client": client_case, "kills": kills_case, "memory": memory_case,
}  # fmt: skip


def main(cases: Sequence[str]) -> None:
    """Start Ray once and run the cases."""
    started = time.monotonic()
    session = Session(RaySettings(dashboard=False))
    session.wait()
    print(f"Ray started in {time.monotonic() - started:.1f} s")
    for case in cases:
        CASES[case]()
    session.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--weigh", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive()
    elif arguments.weigh:
        weigh()
    else:
        main(arguments.cases or list(CASES))
