"""The example in docs/ runs as it stands, on the workspace that the tiny run has filled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.conftest import Outcome

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "docs" / "python_example.py"


def test_the_example_prints_stages_results_and_the_report(
    finished: tuple[Path, Outcome], ray_tmpdir: Path
) -> None:
    workspace = str(finished[0])
    environ = {**os.environ, "RAY_TMPDIR": str(ray_tmpdir)}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), workspace], capture_output=True, text=True, env=environ, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "LinearSVC" in ran.stdout
    assert ran.stdout.splitlines()[-1] == str(Path(workspace) / "report" / "index.html")
