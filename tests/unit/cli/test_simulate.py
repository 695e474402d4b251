"""`raylike simulate` serves until Ctrl-C and takes its server along."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).parents[3]


def test_it_prints_where_it_is_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-m", "cli.main", "simulate", "--users", "20", "--tokens", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    with process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        servers = psutil.Process(process.pid).children(recursive=True)
        address = (
            f"{ready['networks']['instagram_v1']}/tags/me/media/recent?access_token={ready['tokens'][0]}"
        )
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert json.load(answer)["meta"]["code"] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    assert len(ready["tokens"]) == 2
    assert servers
    _, alive = psutil.wait_procs(servers, timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_wrong_faults_and_limits_are_usage_errors() -> None:
    for arguments in (["--faults", "reset"], ["--faults", "floods=0.1"], ["--rate-limit", "many"]):
        result = CliRunner().invoke(app, ["simulate", *arguments])
        assert result.exit_code == 2, result.output


def test_a_port_that_is_taken_is_unavailable() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["simulate", "--users", "5", "--port", port])
    assert result.exit_code == 69
    assert "--port 0" in result.stderr
