"""raylike from Python: run a small study, then look into its tables.

    uv run python docs/python_example.py [WORKSPACE]

Runs offline against a simulated network of 240 accounts, in about a minute.
"""

from __future__ import annotations

import sys
import tempfile

import raylike

SMALL = {
    "simulator": {"users": 240},
    "labels": {"folds": 3},
    "classify": {"trees": 20, "resamples": 200},
    "finetune": {"iterations": 6, "evaluate_every": 3, "batch_size": 8},
    "tune": {"trials": 2, "iterations": 4},
    "report": {"explained": 0, "figures": False},
    "ray": {"dashboard": False},
}


def main(uri: str) -> None:
    """Run every stage in the workspace `uri` and print what came of it."""
    workspace = raylike.Workspace(uri)
    settings = raylike.resolve(SMALL).settings
    summary = raylike.run_all(workspace, settings)

    for stage in summary.stages:
        print(f"{stage.stage:<10} {stage.seconds:6.1f} s")

    cohort = workspace.table("cohort").to_pandas(["kept", "reason"])
    print(cohort.groupby("reason").size())

    results = workspace.table("results").to_pandas()
    tested = results[results["evaluation"] == "test"].sort_values("ap", ascending=False)
    print(tested[["model", "features", "ap", "ap_low", "ap_high"]].to_string(index=False))

    # Run again, and there is nothing left to do.
    again = raylike.run_all(workspace, settings)
    print(f"second run: {again.seconds:.1f} s")
    print(again.report)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="raylike-"))
