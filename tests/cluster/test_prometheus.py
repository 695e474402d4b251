"""A real Prometheus, where one is installed, finds every metric by the dashboard's own queries."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import ray

from actors.metrics import Forecast, StageMetrics, TrainingMetrics
from actors.slots import Answer
from actors.tokens import Meters

PROMETHEUS = shutil.which("prometheus")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus is installed"),
]

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "raylike.json"
WITHIN_S = 120.0
SECRET = "not-to-be-told"

Query = Callable[[str], list[dict[str, Any]]]


class Working:
    """A process in which every metric gets a value."""

    def __init__(self) -> None:
        self._stage = StageMetrics("followers")
        self._forecast = Forecast("followers", 1000)
        self._meters = Meters("followers")
        self._training = TrainingMetrics("finetune")
        self._token = SECRET

    def work(self) -> None:
        self._stage.done(2)
        self._stage.failed("gone")
        self._forecast.done(2)
        self._training.looked(0.6, 0.7)
        self._meters.record(
            Answer("friend", asked=1, hits=1, waited_s=0.1, wait_s=2.0, errors={"timeout": 1}),
            remaining=7,
            host_is_down=False,
        )


@pytest.fixture
def query(ray_local: None, tmp_path: Path) -> Iterator[Query]:
    """Ask a Prometheus that reads this node's metrics every second."""
    (node,) = (node for node in ray.nodes() if node["Alive"])
    target = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [str(PROMETHEUS), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
         f"--web.listen-address={address}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(expression: str) -> list[dict[str, Any]]:
        with urlopen(f"http://{address}/api/v1/query?{urlencode({'query': expression})}") as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    yield ask
    process.kill()
    process.wait()


def test_every_query_of_the_dashboard_finds_its_metric(query: Query) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    unseen = {expression.replace("$SessionName", ".+") for expression in expressions}
    working = ray.remote(Working).remote()
    told: list[dict[str, Any]] = []
    until = time.monotonic() + WITHIN_S
    while unseen and time.monotonic() < until:
        ray.get(working.work.remote())
        for expression in set(unseen):
            try:
                found = query(expression)
            except URLError:  # it is still starting
                break
            if found:
                told += found
                unseen.discard(expression)
        time.sleep(0.5)
    ray.kill(working)
    assert not unseen
    assert {label for series in told for label in series["metric"]} == {"stage", "cause", "alias"}
    assert SECRET not in json.dumps(query('{__name__=~"ray_raylike_.+"}'))
