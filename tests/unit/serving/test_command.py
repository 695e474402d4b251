"""`raylike serve` says in one line what is missing, before it starts anything."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike import cluster
from raylike.config import RaySettings
from raylike.scoring import models
from raylike.serving import deployment
from tests.unit.scoring.fakes import green_model


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "pip install 'raylike[serve]'" in result.stderr


def test_without_a_trained_workspace_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--workspace", str(tmp_path)])
    assert result.exit_code == 65
    assert "there is no trained model" in result.stderr


class NoRay:
    """Stands for a session; nothing is started."""

    def __init__(self, settings: RaySettings) -> None:
        pass

    def wait(self) -> None:
        pass

    def stop(self) -> None:
        pass


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("host", "hosts"), [("127.0.0.1", {"127.0.0.1", "localhost", "::1"}), ("0.0.0.0", set())]
)
def test_it_serves_what_was_asked_for_until_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, hosts: set[str]
) -> None:
    served: list[deployment.Service] = []
    stopped: list[bool] = []
    monkeypatch.setattr(models, "opened", lambda workspace, name: green_model("its weights are random"))
    monkeypatch.setattr(cluster, "Session", NoRay)
    monkeypatch.setattr(deployment, "plan", lambda processes: (2, 1))
    monkeypatch.setattr(deployment, "start", served.append)
    monkeypatch.setattr(deployment, "stop", lambda: stopped.append(True))
    monkeypatch.setattr(signal, "pause", interrupted)
    arguments = ["serve", "--workspace", str(tmp_path), "--host", host, "--port", "8055"]
    result = CliRunner().invoke(app, [*arguments, "--set", "download.max_bytes=1000"])
    assert result.exit_code == 0, result.output
    assert f"http://{host}:8055/" in result.stderr
    assert "its weights are random" in result.stderr
    (service,) = served
    assert (service.host, service.port, service.processes, service.threads) == (host, 8055, 2, 1)
    assert service.limits.max_bytes == 1000
    assert service.about.hosts == hosts
    assert stopped == [True]
