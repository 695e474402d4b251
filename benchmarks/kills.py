"""Kill `raylike run-all` at random moments, run it again, compare the tables with an undisturbed run's.

    uv run python -m benchmarks.kills --rounds 10

Each round is a workspace of its own that is killed once in every long stage, at a moment drawn anew. The
world is the tiny one of the tests, so that a round takes minutes.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from raylike import Workspace
from tests.pipeline.conftest import TINY, raylike
from tests.pipeline.faults import assert_same_tables, kill_during

STAGES = ("collect", "followers", "download", "faces", "features", "classify", "finetune", "tune", "report")
LATEST_S = {"finetune": 12.0, "tune": 8.0}
"""After the stage has begun; other stages: 3 s."""


def main(rounds: int, seed: int) -> None:
    """Print a line a round; end with 1 if any table differs."""
    generator = random.Random(seed)
    same = 0
    with tempfile.TemporaryDirectory(prefix="rlk-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray_tmpdir, expected = Path(folder) / "r", Path(folder) / "undisturbed"
        outcome = raylike(["run-all", "--workspace", str(expected), *TINY], ray_tmpdir)
        assert outcome.exit_code == 0, outcome.stderr
        for number in range(rounds):
            started = time.monotonic()
            disturbed = Path(folder) / f"disturbed-{number}"
            arguments = ["run-all", "--workspace", str(disturbed), *TINY]
            moments = {stage: generator.uniform(0, LATEST_S.get(stage, 3.0)) for stage in STAGES}
            killed = [stage for stage, at in moments.items() if kill_during(stage, arguments, ray_tmpdir, at)]
            outcome = raylike(arguments, ray_tmpdir)
            try:
                assert outcome.exit_code == 0, outcome.stderr
                assert_same_tables(Workspace(disturbed), Workspace(expected))
                verdict = "same tables"
                same += 1
            except AssertionError as difference:
                verdict = f"DIFFERENT: {difference}"
            when = ", ".join(f"{stage} {moments[stage]:.1f} s" for stage in killed)
            print(
                f"round {number}: killed at {when}: {verdict} ({time.monotonic() - started:.0f} s)",
                flush=True,
            )
    print(f"{same} of {rounds} rounds ended with the tables of an undisturbed run")
    raise SystemExit(same < rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.rounds, given.seed)
