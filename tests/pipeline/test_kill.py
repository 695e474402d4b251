"""SIGKILL in one stage of each kind, one after the other: the tables end as those of an undisturbed run.

Token actors, downloaders, Ray Data's actors, Ray Tune. `benchmarks/kills.py` kills in all long stages.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raylike import Workspace
from tests.pipeline.conftest import TINY, Outcome, raylike
from tests.pipeline.faults import assert_same_tables, kill_during

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

KILLED_IN = ("followers", "download", "features", "tune")


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_tables(
    finished: tuple[Path, Outcome], ray_tmpdir: Path, tmp_path: Path
) -> None:
    disturbed = tmp_path / "workspace"
    arguments = ["run-all", "--workspace", str(disturbed), *TINY]
    generator = np.random.default_rng(0)
    killed = [kill_during(stage, arguments, ray_tmpdir, generator.uniform(0, 2)) for stage in KILLED_IN]
    assert sum(killed) >= len(KILLED_IN) - 1
    outcome = raylike(arguments, ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    assert_same_tables(Workspace(disturbed), Workspace(finished[0]))
