"""SIGKILL in every long stage, one after the other: the tables end as those of an undisturbed run."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from raylike import Workspace
from raylike.tables import TABLES
from tests.pipeline.conftest import TINY, Outcome, raylike, start

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

LONG_STAGES = ("collect", "followers", "download", "faces", "features", "finetune", "tune")
WALL_CLOCK = {"collected_at", "looked_up_at", "fetched_at", "seconds", "photos_per_s"}
NOT_COMPARED = {"runs", "report"}
"""The record of the runs themselves, and the page that shows it."""


def kill_during(stage: str, arguments: list[str], ray_tmpdir: Path, after_s: float) -> bool:
    """Run until `stage` has been at work for `after_s`, then SIGKILL; False if the run ended before."""
    process = start([*arguments, "--json"], ray_tmpdir)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "stage_started" and event["stage"] == stage:
            time.sleep(after_s)
            break
    killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    wait_for_ray_to_end(ray_tmpdir)
    return killed


def wait_for_ray_to_end(ray_tmpdir: Path) -> None:
    """Ray's processes end with their driver, each in its own time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
        if not any(str(ray_tmpdir) in part for line in lines for part in line):
            return
        time.sleep(0.2)
    pytest.fail("Ray outlived its driver by a minute")


def comparable(workspace: Workspace, table: str) -> pd.DataFrame:
    """The table's rows in order of its key, without what the wall clock wrote."""
    frame = workspace.table(table).to_pandas()
    columns = [c for c in frame.columns if c not in WALL_CLOCK]
    return frame[columns].sort_values(list(TABLES[table].key), ignore_index=True)


def test_a_run_killed_in_every_long_stage_ends_with_the_same_tables(
    finished: tuple[Path, Outcome], ray_tmpdir: Path, tmp_path: Path
) -> None:
    disturbed = tmp_path / "workspace"
    arguments = ["run-all", "--workspace", str(disturbed), *TINY]
    generator = np.random.default_rng(0)
    killed = [kill_during(stage, arguments, ray_tmpdir, generator.uniform(0, 2)) for stage in LONG_STAGES]
    assert sum(killed) >= len(LONG_STAGES) - 1
    outcome = raylike(arguments, ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    for table in sorted(set(TABLES) - NOT_COMPARED):
        expected = comparable(Workspace(finished[0]), table)
        found = comparable(Workspace(disturbed), table)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6, obj=table)
