"""Is a fine-tuned network better than LinearSVC on fc7? On a simulated world of so many faces; half an hour.

    uv run python -m benchmarks.finetune_or_linear WORKSPACE [--users 13300] [--set finetune.lr=0.0003 ...]

Runs raylike's own commands in a workspace, which it makes or goes on with, and compares both on the test
photos: the difference of their AP, with the interval of a paired bootstrap over accounts. 13,300 users leave
about 5,000 photos with faces.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raylike import Workspace
from raylike.learning import learning_set
from raylike.learning.evaluation import Metrics, difference, evaluate

RESAMPLES = 2000
LINEAR = ("LinearSVC", "fc7")
NETWORK = ("fine-tuned", "pixels")


def compare(workspace: Workspace) -> dict[str, Metrics]:
    """Both models on the test photos, drawn together."""
    photos = learning_set.read(workspace)
    scores = np.stack(
        [_scores(workspace, "predictions", LINEAR, photos.ids[photos.test]),
         _scores(workspace, "finetune_predictions", NETWORK, photos.ids[photos.test])]
    )  # fmt: skip
    assert np.isfinite(scores).all(), "a test photo that one of the two has not scored"
    judged = evaluate(
        photos.labels[photos.test],
        scores,
        np.median(scores, axis=1),
        photos.groups[photos.test],
        resamples=RESAMPLES,
        seed=0,
    )
    return dict(zip(("LinearSVC on fc7", "fine-tuned"), judged, strict=True))


def _scores(
    workspace: Workspace, table: str, model: tuple[str, str], ids: NDArray[np.str_]
) -> NDArray[np.float64]:
    rows = workspace.read(table).to_pandas()
    rows = rows[(rows.model == model[0]) & (rows.features == model[1])]
    return np.asarray(rows.set_index("post_id").score.reindex(ids), np.float64)


def run(*arguments: str) -> None:
    """A command of raylike."""
    subprocess.run([sys.executable, "-m", "cli.main", *arguments], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace")
    parser.add_argument("--users", type=int, default=13_300)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--from-tune", action="store_true", help="search first, and train as the best trial")
    chosen = parser.parse_args(arguments)
    settings = [f"--set={one}" for one in [f"simulator.users={chosen.users}", *chosen.set]]
    common = ["--workspace", chosen.workspace, *settings]
    run("run-all", "--until", "classify", *common)
    if chosen.from_tune:
        run("tune", *common)
    run("finetune", *common, *(["--from-tune"] if chosen.from_tune else []))
    workspace = Workspace(chosen.workspace)
    judged = compare(workspace)
    for name, metrics in judged.items():
        ap = metrics.ap
        print(f"{name}: test AP {ap.value:.3f} ({ap.low:.3f} to {ap.high:.3f})")
    gap = difference(judged["fine-tuned"], judged["LinearSVC on fc7"])
    (weights,) = set(workspace.read("finetune_results")["weights"].to_pylist())
    photos = learning_set.read(workspace)
    print(
        f"difference {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}); {photos.ids.size:,} photos, "
        f"{photos.test.size:,} of them tested on; initial weights: {weights}"
    )


if __name__ == "__main__":
    main()
