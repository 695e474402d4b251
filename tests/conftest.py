"""What all tests share: one local Ray for the whole session, started when the first test asks.

The whole suite runs in two processes: one has every test of Ray, which would not bear another Ray beside it
on the machine, the other has the rest. A part of the suite runs in one, as a debugger needs it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import actors  # noqa: F401  # sets Ray's environment before any test imports Ray
from tests.s3_server import S3Server, s3_server

# Before the first `import ray`: a token in the home directory is none of the tests' business, and
# Ray's socket paths must stay under 107 characters.
os.environ["RAY_AUTH_MODE"] = "disabled"
# A test's dependency brings uvloop, which Ray would take up: users have none.
os.environ["RAY_USE_UVLOOP"] = "0"
# Prometheus is told every second instead of every ten.
os.environ["RAY_metrics_report_interval_ms"] = "1000"  # noqa: SIM112  # Ray's own spelling
os.environ.setdefault("RAY_TMPDIR", tempfile.mkdtemp(prefix="rl-", dir="/tmp"))


NEED_RAY = ("tests/cluster/", "tests/pipeline/")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite, none beside this one for a part of it."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.keyword
    return 2 if whole else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deals out files, and all tests that need Ray together."""
    from xdist.scheduler import LoadFileScheduling

    class RayTogether(LoadFileScheduling):  # type: ignore[misc]  # xdist's types are not followed
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "ray" if file.startswith(NEED_RAY) else file

    return RayTogether(config, log)


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A local Ray with four logical CPUs, so that actors and Ray Data's tasks never wait for each other."""
    from raylike.cluster import Session
    from raylike.config import RaySettings

    session = Session(RaySettings(num_cpus=4, dashboard=False))
    session.wait()
    yield
    session.stop()


@pytest.fixture
def workspace_path(tmp_path: Path) -> Path:
    """A fresh place for a workspace."""
    return tmp_path / "workspace"


@pytest.fixture(scope="session")
def _s3_process() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A simulated S3 without faults, which this process and its children find by their environment."""
    _s3_process.faults()
    for name, value in _s3_process.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_process
