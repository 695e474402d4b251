"""What all tests share: one local Ray for the whole session, started when the first test asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before the first `import ray`: a token in the home directory is none of the tests' business, and
# Ray's socket paths must stay under 107 characters.
os.environ["RAY_AUTH_MODE"] = "disabled"
# A test's dependency brings uvloop, which Ray would take up: users have none.
os.environ["RAY_USE_UVLOOP"] = "0"
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
