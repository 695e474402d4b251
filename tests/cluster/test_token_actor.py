"""Token actors and dispatch against a server that counts: no item lost, no hit beyond a limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from urllib.request import urlopen

import pytest
import ray
from pydantic import SecretStr

from actors.budget import Limit
from actors.dispatch import TokenPool
from actors.outcomes import AllUsedUp, Credential, NoTokenLeft
from actors.paced import Backoff
from actors.slots import Answer
from actors.tokens import NAMESPACE, TokenOptions
from raylike.providers import Connection, Endpoint
from tests.unit.providers.v1_server import TOKEN, V1Server

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_local")]

USERS = [str(i) for i in range(300)]
QUICK = TokenOptions(in_flight=8, batch=16, backoff=Backoff(attempts=4, first_s=0.01, cap_s=0.05))


@pytest.fixture
def server() -> Iterator[V1Server]:
    with V1Server() as running:
        running.users = {user: 10 * int(user) for user in USERS}
        yield running


def credentials(n: int) -> list[Credential]:
    return [Credential(f"friend{i}", SecretStr(TOKEN.replace("101", str(500 + i)))) for i in range(n)]


def connect(server: V1Server, limit: Limit | None = None, timeout_s: float = 5.0) -> partial[Connection]:
    limits = None if limit is None else (limit,)
    return partial(
        Connection,
        Endpoint("instagram_v1", server.base_url, allow_private=True, timeout_s=timeout_s, limits=limits),
    )


def user_ids(answers: list[Answer]) -> list[str]:
    return sorted((user.user_id for answer in answers for user in answer.results), key=int)


def process_of(name: str) -> int:
    """Process id of a named actor."""
    return int(ray.get(ray.get_actor(name, namespace=NAMESPACE).ready.remote()))


def test_every_user_is_asked_for_once_by_all_tokens(server: V1Server) -> None:
    server.latency_s = 0.01
    with TokenPool(credentials(2), connect(server), QUICK) as pool:
        answers = list(pool.ask(iter(USERS), len(USERS)))
    assert user_ids(answers) == USERS
    assert set(server.hits.values()) == {1}
    assert sum(answer.hits for answer in answers) == len(USERS)


def test_a_hit_that_stalls_holds_up_nothing_that_came_with_it(server: V1Server) -> None:
    server.slow = {"/v1/users/5": 1.5}
    with TokenPool(credentials(1), connect(server), QUICK) as pool:
        answers = list(pool.ask(USERS, len(USERS)))
    assert user_ids(answers) == USERS
    assert [user.user_id for user in answers[-1].results] == ["5"]
    assert [item for answer in answers for item in answer.late] == ["5"]
    assert set(server.hits.values()) == {1}


def test_several_tokens_share_a_process_and_no_limit_is_broken() -> None:
    options = TokenOptions(in_flight=8, batch=16, processes=1, patience_s=0.1)
    with V1Server(limit=20, window_s=0.7) as server:
        server.users = dict.fromkeys(USERS, 1)
        with TokenPool(credentials(3), connect(server, Limit(20, 0.7)), options) as pool:
            answers = list(pool.ask(USERS, len(USERS)))
        assert user_ids(answers) == USERS
        assert server.over_limit == 0
        assert len(server.hits_by_token) == 3
        assert sum(server.hits.values()) == len(USERS)


def test_a_killed_actor_loses_no_batch(server: V1Server) -> None:
    server.latency_s = 0.03
    said: list[str] = []
    answers = []
    options = TokenOptions(in_flight=4, batch=8)
    with TokenPool(credentials(1), connect(server), options, said.append) as pool:
        for answer in pool.ask(USERS, len(USERS)):
            answers.append(answer)
            if len(answers) == 5:
                os.kill(process_of("token-friend0"), signal.SIGKILL)
    assert user_ids(answers) == USERS
    assert any("died; it is started again" in line for line in said)
    assert sum(server.hits.values()) <= len(USERS) + 2 * options.batch


def test_an_actor_that_cannot_come_back_leaves_its_work_to_the_others(server: V1Server) -> None:
    server.latency_s = 0.03
    options = TokenOptions(in_flight=2, batch=8, restarts=0)
    answers = []
    with TokenPool(credentials(2), connect(server), options) as pool:
        killed = False
        for answer in pool.ask(USERS, len(USERS)):
            answers.append(answer)
            if not killed and {a.alias for a in answers} == {"friend0", "friend1"}:
                os.kill(process_of("token-friend1"), signal.SIGKILL)
                killed = True
    assert killed
    assert user_ids(answers) == USERS
    assert list(pool.reasons) == [credentials(2)[1].label]


def test_a_revoked_token_leaves_and_the_last_one_ends_the_work(server: V1Server) -> None:
    first, second = (c.secret.get_secret_value() for c in credentials(2))
    server.revoked = {first}
    said: list[str] = []
    with TokenPool(credentials(2), connect(server), QUICK, said.append) as pool:
        answers = list(pool.ask(USERS, len(USERS)))
        assert user_ids(answers) == USERS
        assert server.hits_by_token[first] == 1
        server.revoked = {first, second}
        with pytest.raises(NoTokenLeft) as caught:
            list(pool.ask(USERS, len(USERS)))
    assert len(caught.value.reasons) == 2
    assert first not in str(caught.value)
    assert second not in str(said)


def test_used_up_tokens_are_waited_for_or_reported() -> None:
    with V1Server(limit=10, window_s=60.0) as server:
        server.users = dict.fromkeys(USERS, 1)
        server_limit = Limit(10, 60.0)
        answers = []
        with (
            TokenPool(credentials(2), connect(server, server_limit), QUICK) as pool,
            pytest.raises(AllUsedUp) as caught,
        ):
            answers.extend(pool.ask(USERS, len(USERS), wait=False))
        assert server.over_limit == 0
        assert sum(server.hits_by_token.values()) == 20
    assert 50 < caught.value.wait_s <= 61


def test_faults_lose_no_user_and_what_stays_broken_is_given_up(server: V1Server) -> None:
    from aiohttp import web

    def faulty(request: web.Request) -> web.Response | None:
        first = server.hits[request.path] == 1
        broken = request.path == "/v1/users/7" or (first and int(request.path[-1]) % 2)
        return web.Response(status=502, text="<html>") if broken else None

    server.answer = faulty
    with TokenPool(credentials(1), connect(server), QUICK) as pool:
        answers = list(pool.ask(USERS, len(USERS)))
    failed = [entry for answer in answers for entry in answer.failed]
    assert failed == [("7", "HTTP 502")]
    assert user_ids(answers) == [user for user in USERS if user != "7"]


def test_a_token_actor_maps_no_heavy_library(server: V1Server) -> None:
    with TokenPool(credentials(1), connect(server), QUICK) as pool:
        list(pool.ask(USERS[:20], 20))
        with open(f"/proc/{process_of('token-friend0')}/maps", encoding="utf-8") as file:
            mapped = file.read()
    # Ray's own worker imports pyarrow where it is installed.
    for heavy in ("libtorch", "cv2", "pandas/", "sklearn"):
        assert heavy not in mapped


def test_prometheus_is_told_what_was_done_and_what_is_left(server: V1Server) -> None:
    options = replace(QUICK, stage="metrics-test")
    done = {"items_total": 300.0, "items_left": 0.0, "eta_seconds": 0.0}
    with TokenPool(credentials(2), connect(server), options) as pool:
        for _ in pool.ask(USERS, len(USERS)):
            pass
        of_stage = exported('stage="metrics-test"', until=lambda told: done.items() <= told.items())
        assert of_stage.items() >= done.items()
        names = {"token_hits_total", "token_remaining", "token_circuit_open"}
        of_token = exported('alias="friend0"', until=lambda told: names <= told.keys())
        assert of_token["token_hits_total"] > 0
        assert of_token["token_remaining"] > 0
        assert of_token["token_circuit_open"] == 0.0


def exported(tag: str, until: Callable[[dict[str, float]], bool], within_s: float = 40.0) -> dict[str, float]:
    """Our metrics at the node's Prometheus port, summed over processes, as soon as they are as awaited.

    Each process tells Ray of its metrics in its own time, so that at first some are missing.
    """
    (node,) = (node for node in ray.nodes() if node["Alive"])
    deadline = time.monotonic() + within_s
    while True:
        with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as answer:
            lines = [line for line in answer.read().decode().splitlines() if tag in line]
        found: dict[str, float] = {}
        for line in lines:
            name = line.partition("{")[0].removeprefix("ray_raylike_")
            found[name] = found.get(name, 0.0) + float(line.rpartition(" ")[2])
        if until(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)
