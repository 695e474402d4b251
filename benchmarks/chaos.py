"""Lose worker nodes during `raylike run-all` on several Ray nodes; compare the tables with a local run's.

    uv run python -m benchmarks.chaos --rounds 2 --nodes 4

Each round is a workspace of its own. In every long stage all processes of one node end by SIGKILL, at a
moment drawn anew, and a new node takes its place. Round 0 loses none: the same tables on many nodes as on one
machine. The world is the tiny one of the tests.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

from raylike import Workspace
from tests.pipeline.conftest import TINY, raylike
from tests.pipeline.faults import assert_same_tables
from tests.pipeline.nodes import nodes, run_and_lose

LATEST_S = {
    "followers": 1.0, "download": 2.0, "faces": 4.0, "features": 10.0, "classify": 14.0, "finetune": 12.0,
    "tune": 8.0,
}  # fmt: skip
"""When a node is lost at the latest, after the start of a stage of so many seconds or a little more."""


def main(rounds: int, n_nodes: int, seed: int) -> None:
    """Print a line a round; end with 1 if any table differs."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # nothing here listens beyond loopback
    generator = random.Random(seed)
    same = losses = 0
    with tempfile.TemporaryDirectory(prefix="rlc-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray_tmpdir, expected = Path(folder) / "r", Path(folder) / "local"
        outcome = raylike(["run-all", "--workspace", str(expected), *TINY], ray_tmpdir)
        assert outcome.exit_code == 0, outcome.stderr
        for number in range(rounds + 1):
            found = Path(folder) / f"round-{number}"
            moments = {stage: generator.uniform(0, latest) for stage, latest in LATEST_S.items() if number}
            with nodes(n_nodes, Path(folder) / f"n{number}") as made:
                started = time.monotonic()
                arguments = ["run-all", "--workspace", str(found), *TINY]
                outcome, lost = run_and_lose(arguments, made, moments, ray_tmpdir, generator)
                took_s = time.monotonic() - started
            losses += len(lost)
            try:
                assert outcome.exit_code == 0, outcome.stderr
                assert_same_tables(Workspace(found), Workspace(expected))
                verdict = "same tables"
                same += 1
            except AssertionError as difference:
                verdict = f"DIFFERENT: {difference}"
            when = ", ".join(f"{stage} {moments[stage]:.1f} s" for stage in lost) or "never"
            print(
                f"round {number}, {n_nodes} nodes: lost one at {when}: {verdict} ({took_s:.0f} s)", flush=True
            )
    print(f"{same} of {rounds + 1} rounds, {losses} nodes lost, ended with the tables of a local run")
    raise SystemExit(same <= rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="besides the one without losses")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.rounds, given.nodes, given.seed)
