"""Kill a run on purpose, and compare what it leaves with what an undisturbed one left."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import psutil

from raylike import Workspace
from raylike.tables import TABLES
from tests.pipeline.conftest import start

WALL_CLOCK = {"collected_at", "looked_up_at", "fetched_at", "seconds", "photos_per_s"}
"""Columns that differ between any two runs."""
COMPARED = frozenset(TABLES) - {"runs", "report"}
"""Not the record of the runs themselves, and the page that shows it."""
RAY_ENDS_WITHIN_S = 60.0


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
    """Ray's processes end with their driver, each in its own time. Raises `TimeoutError` after a minute."""
    deadline = time.monotonic() + RAY_ENDS_WITHIN_S
    while time.monotonic() < deadline:
        lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
        if not any(str(ray_tmpdir) in part for line in lines for part in line):
            return
        time.sleep(0.2)
    raise TimeoutError("Ray outlived its driver by a minute")


def assert_same_tables(found: Workspace, expected: Workspace, tables: Iterable[str] = COMPARED) -> None:
    """Compare tables, rows in order of their key, without what the wall clock wrote."""
    for table in sorted(tables):
        pd.testing.assert_frame_equal(
            _comparable(found, table), _comparable(expected, table), rtol=1e-4, atol=1e-6, obj=table
        )


def _comparable(workspace: Workspace, table: str) -> pd.DataFrame:
    frame = workspace.table(table).to_pandas()
    columns = [c for c in frame.columns if c not in WALL_CLOCK]
    return frame.sort_values(list(TABLES[table].key), ignore_index=True)[columns]
