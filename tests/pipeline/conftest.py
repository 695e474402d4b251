"""A tiny world, run from end to end by the command line as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TINY = [
    "--no-dashboard",
    "--set", "simulator.users=240",
    "--set", "ray.num_cpus=2",
    "--set", "labels.folds=3",
    "--set", "classify.trees=20",
    "--set", "classify.resamples=200",
    "--set", "finetune.iterations=6",
    "--set", "finetune.evaluate_every=3",
    "--set", "finetune.batch_size=8",
    "--set", "tune.trials=2",
    "--set", "tune.iterations=4",
    "--set", "report.explained=0",
    "--set", "report.figures=false",
]  # fmt: skip
"""Every stage for real, each as small as it can be."""


@dataclass(frozen=True)
class Outcome:
    """What a finished command said."""

    exit_code: int
    events: list[dict[str, Any]]
    stderr: str

    def of(self, event: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [e for e in self.events if e["event"] == event]


def start(arguments: list[str], ray_tmpdir: Path) -> subprocess.Popen[str]:
    """Start `raylike ARGUMENTS`, with Ray's files in a folder of its own so that leftovers can be found."""
    environ = {**os.environ, "RAY_TMPDIR": str(ray_tmpdir)}
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip


def raylike(arguments: list[str], ray_tmpdir: Path) -> Outcome:
    """Run `raylike ARGUMENTS --json` to its end."""
    process = start([*arguments, "--json"], ray_tmpdir)
    stdout, stderr = process.communicate(timeout=280)
    return Outcome(process.returncode, [json.loads(line) for line in stdout.splitlines()], stderr)


@pytest.fixture(scope="session")
def ray_tmpdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short path for Ray's sockets, used by nothing else."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rl-run-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_tmpdir: Path) -> tuple[Path, Outcome]:
    """A workspace that an undisturbed run filled, and what the run said."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    return workspace, raylike(["run-all", "--workspace", str(workspace), *TINY], ray_tmpdir)
