"""The simulator's process starts, answers, and ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from raylike.errors import ServiceUnavailable
from raylike.simulator.process import Simulator, SimulatorOptions, launch, start

TINY = SimulatorOptions(users=20, tokens=2)
PATIENCE_S = 20.0


def is_gone(pid: int) -> bool:
    """Whether a process ends within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_it_starts_answers_and_stops() -> None:
    with start(TINY) as simulator:
        assert len(simulator.tokens) == 2
        assert "SecretStr" in repr(simulator.tokens[0])
        assert simulator.tokens[0].get_secret_value() not in repr(simulator)
        assert set(simulator.resolve.values()) == {f"127.0.0.1:{simulator.port}"}
        token = simulator.tokens[1].get_secret_value()
        url = f"{simulator.networks['instagram_v1']}/tags/me/media/recent?access_token={token}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200
        assert simulator.stats()["hits"] == [0, 1]
        assert not any(token in str(part) for part in simulator.process.args)  # type: ignore[union-attr]
    assert simulator.process.poll() is not None
    simulator.stop()


def test_ctrl_c_is_left_to_the_parent() -> None:
    with start(TINY) as simulator:
        os.kill(simulator.process.pid, signal.SIGINT)
        assert simulator.stats()["violations"] == 0


def test_it_dies_with_a_parent_that_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from raylike.simulator.process import SimulatorOptions, launch\n"
        "print(launch(SimulatorOptions(users=20)).process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert is_gone(int(told.stdout))


def test_a_taken_port_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceUnavailable, match="did not start"):
            launch(SimulatorOptions(users=5, port=taken.getsockname()[1]))


def test_the_package_is_light() -> None:
    code = (
        "import sys, raylike.simulator.process\n"
        "print({'numpy', 'cv2', 'aiohttp', 'torch', 'ray'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_stopping_one_that_died_is_no_error() -> None:
    simulator: Simulator = launch(TINY)
    simulator.process.kill()
    with contextlib.suppress(BrokenPipeError):
        simulator.stop()
    assert simulator.process.returncode is not None
