"""A run on several Ray nodes of which some are lost: the tables are those of a run on one machine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raylike import Workspace
from tests.pipeline.conftest import TINY, Outcome
from tests.pipeline.faults import assert_same_tables
from tests.pipeline.nodes import nodes, numbers_that_ran, run_and_lose

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

MOMENTS = {"download": 0.5, "faces": 2.0}
TABLES = {"posts", "users", "cohort", "images", "faces", "labels"}


def test_a_run_that_loses_nodes_ends_with_the_tables_of_one_machine(
    finished: tuple[Path, Outcome], ray_tmpdir: Path, tmp_path: Path
) -> None:
    found = tmp_path / "workspace"
    arguments = ["run-all", "--workspace", str(found), "--until", "labels", *TINY]
    with nodes(3, ray_tmpdir / "nodes") as made:
        outcome, lost = run_and_lose(arguments, made, MOMENTS, ray_tmpdir, random.Random(0))
    assert outcome.exit_code == 0, outcome.stderr
    assert lost == list(MOMENTS)
    assert len(numbers_that_ran("TokenKeeper", ray_tmpdir / "nodes")) == 3, "tokens are not on every node"
    assert_same_tables(Workspace(found), Workspace(finished[0]), TABLES)
