"""What all tests share: one local Ray for the whole session, started when the first test asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
