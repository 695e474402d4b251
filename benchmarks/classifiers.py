"""The linear SVM's grid, the forest, SGD and the bootstrap at the study's size, against their peers.

    uv run python -m benchmarks.classifiers [CASE ...] [--spark PYTHON]

Cases: grid, forest, sgd, bootstrap; all of them without a name. Features are drawn, 35,000 x 4,096 in
float32: three quarters zeros, correlated as fc7 is after ReLU; labels follow a noisy linear rule that is
worth an average precision of about 0.6. Accounts hold 1 to 10 photos. `--spark` names a Python
that has PySpark 4, with a Java beside it; without it, SGD has no peer.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

from raylike.config import ClassifySettings
from raylike.learning import forest, linear, svm
from raylike.learning.evaluation import average_precision, evaluate
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.sgd import fit_sgd
from raylike.learning.splits import TEST

N, D, FOLDS = 35_000, 4096, 5
LOOKS = 200
"""Hidden causes that the features share."""
C_VALUES = ClassifySettings().c_values
ROWS_AT_ONCE = 5000


def draw(n: int = N, *, test_share: float = 0.0) -> tuple[NDArray[np.float32], Photos]:
    """Features (n, D) and who posted what; accounts are dealt into folds, and a share into the test set."""
    rng = np.random.default_rng(0)
    mixing = (rng.normal(size=(LOOKS, D)) / np.sqrt(1 + np.arange(LOOKS))[:, None]).astype(np.float32)
    threshold = 0.6745 * np.sqrt((mixing**2).sum(axis=0) + 0.25)
    features = np.empty((n, D), dtype=np.float32)
    for start in range(0, n, ROWS_AT_ONCE):
        rows = features[start : start + ROWS_AT_ONCE]
        rows[:] = rng.standard_normal((len(rows), LOOKS), dtype=np.float32) @ mixing
        rows += 0.5 * rng.standard_normal(rows.shape, dtype=np.float32) - threshold.astype(np.float32)
        np.maximum(rows, 0, out=rows)
    accounts = np.repeat(np.arange(n), rng.integers(1, 11, size=n))[:n]
    appeal = features @ rng.normal(size=D).astype(np.float32)
    appeal = 0.35 * (appeal - appeal.mean()) / appeal.std() + 0.5 * rng.normal(size=n)[accounts]
    ratios = appeal + rng.normal(size=n)
    folds = rng.integers(FOLDS, size=n)
    folds[rng.random(n) < test_share] = TEST
    ids = np.char.mod("%05d", np.arange(n))
    labels = (ratios > np.median(ratios)).astype(np.int8)
    return features, Photos(ids, accounts.astype(str), labels, folds[accounts].astype(np.int32), ratios)


def scaled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """On the common scale, in place."""
    return fit_scale(features, "drawn").apply_in_place(features)


def grid_case() -> None:
    """The whole grid and the final model by ours, in its own process; scikit-learn on one fold of five."""
    with tempfile.TemporaryDirectory(prefix="raylike-classifiers-") as folder:
        command = [sys.executable, "-m", "benchmarks.classifiers", "--fit-grid", folder]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ours = json.loads(said.splitlines()[-1])
        weights = np.load(Path(folder) / "weights.npy")
    print(
        f"grid: ours, {len(C_VALUES)} C x {FOLDS} folds and the final model: {ours['seconds']:.1f} s; "
        f"peak memory of the process {ours['peak'] / ours['matrix']:.2f} x the matrix's "
        f"{ours['matrix'] / 2**20:.0f} MiB",
        flush=True,
    )
    features, photos = draw()
    rows, signs = scaled(features), np.where(photos.labels > 0, 1.0, -1.0)
    fold = int(photos.fold_numbers[0])
    seen, held_out = np.flatnonzero(photos.folds != fold), np.flatnonzero(photos.folds == fold)
    part, part_signs, held_out_rows = rows[seen], signs[seen], rows[held_out]
    del rows, features
    total = 0.0
    for j, c in enumerate(C_VALUES):
        started = time.perf_counter()
        theirs = LinearSVC(C=c, dual=False).fit(part, photos.labels[seen])
        seconds = time.perf_counter() - started
        total += seconds
        best = np.append(theirs.coef_[0], theirs.intercept_)
        objectives, aps = [], []
        for found in (weights[j, 0].astype(np.float64), best):
            decided = (part @ found[:-1].astype(np.float32) + found[-1]).astype(np.float64)
            slack = np.maximum(1 - part_signs * decided, 0)
            objectives.append(found @ found / 2 + c * slack @ slack)
            aps.append(
                average_precision(photos.labels[held_out], held_out_rows @ found[:-1].astype(np.float32))
            )
        print(
            f"grid: C {c:g}: scikit-learn {seconds:.1f} s; our objective less theirs "
            f"{objectives[0] / objectives[1] - 1:+.1e} of it; AP {aps[0]:.4f}, theirs {aps[1]:.4f}",
            flush=True,
        )
    print(
        f"grid: scikit-learn {total:.0f} s for {len(C_VALUES)} fits on one fold, {total * FOLDS:.0f} s for "
        f"all {FOLDS} (extrapolated, without a final model): {total * FOLDS / ours['seconds']:.0f} x ours"
    )


def fit_grid(folder: Path) -> None:
    """Ours, from features in memory to out-of-fold scores and the final model."""
    features, photos = draw()
    layer = svm.Layer(photos, scaled(features)[None])
    started = time.perf_counter()
    svm.sweep_c(layer, C_VALUES)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    weights = linear.fit_grid(layer.rows, layer.labels, C_VALUES, layer.included, gram=layer.gram)
    np.save(folder / "weights.npy", weights)
    print(json.dumps({"seconds": seconds, "peak": peak, "matrix": features.nbytes}))


def forest_case() -> None:
    """A few trees of ours, which draws accounts and scores out of bag, and of scikit-learn's, in threads."""
    trees = 2 * forest.TREES_PER_TASK
    features, photos = draw(test_share=0.25)
    for _ in range(2):
        started = time.perf_counter()
        scores = forest.fit_and_score(photos, features[None], trees=trees, seed=0)
        ours = time.perf_counter() - started
        train, test = features[photos.train], features[photos.test]
        started = time.perf_counter()
        theirs = RandomForestClassifier(trees, n_jobs=-1, random_state=0, oob_score=True)
        theirs.fit(train, photos.labels[photos.train])
        voted = theirs.predict_proba(test)[:, 1]
        peer = time.perf_counter() - started
        del train, test
        aps = [average_precision(photos.labels[photos.test], found) for found in (scores[photos.test], voted)]
        print(
            f"forest: {trees} trees fitted and scored in {ours:.1f} s, test AP {aps[0]:.3f}; scikit-learn "
            f"with out-of-bag score {peer:.1f} s, {aps[1]:.3f}: {ours / peer:.2f} of its time; of 500 trees, "
            f"extrapolated: {ours * 500 / trees:.0f} s against {peer * 500 / trees:.0f} s",
            flush=True,
        )


SPARK = """
import json, sys, time
import numpy as np
from pyspark.sql import SparkSession
from pyspark.mllib.classification import SVMWithSGD
from pyspark.mllib.regression import LabeledPoint
folder, few, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
spark = (SparkSession.builder.master("local[2]").config("spark.driver.memory", "8g")
         .config("spark.ui.enabled", "false").getOrCreate())
rows, labels = np.load(folder + "/rows.npy", mmap_mode="r"), np.load(folder + "/labels.npy")
def points(part):
    rows = np.load(folder + "/rows.npy", mmap_mode="r")
    return (LabeledPoint(float(labels[i]), rows[i].astype(float)) for i in part)
seconds = []
for iterations in (few, few, many):
    data = spark.sparkContext.parallelize(range(len(rows)), 2).mapPartitions(points)
    started = time.perf_counter()
    model = SVMWithSGD.train(data, iterations=iterations, step=1.0, regParam=1e-4)
    seconds.append(time.perf_counter() - started)
print(json.dumps({"seconds": seconds, "weights": list(model.weights.toArray())}))
"""


def sgd_case(spark: str | None) -> None:
    """An iteration over 10,000 rows by ours and by MLlib's `SVMWithSGD`, both with two threads."""
    n, few, many = 10_000, 5, 55
    features, photos = draw(n)
    rows = scaled(features)
    train = photos.folds != 0
    part, labels, everything = rows[train], photos.labels[train], np.ones((int(train.sum()), 1), dtype=bool)
    seconds = []
    for iterations in (few, few, many):
        started = time.perf_counter()
        weights = fit_sgd(part, labels, everything, iterations=iterations, step=1.0, reg=1e-4)[:, 0]
        seconds.append(time.perf_counter() - started)
    ours = (seconds[2] - seconds[1]) / (many - few)
    held_out = photos.labels[~train]
    ap = average_precision(held_out, (rows[~train] @ weights).astype(np.float64))
    print(f"sgd: {len(part):,} x {D:,}: {ours * 1000:.1f} ms an iteration, AP {ap:.4f} after {many}")
    if spark is None:
        print("sgd: no peer was measured: name a Python that has PySpark with --spark")
        return
    with tempfile.TemporaryDirectory(prefix="raylike-classifiers-") as folder:
        np.save(f"{folder}/rows.npy", part)
        np.save(f"{folder}/labels.npy", labels)
        command = [spark, "-c", SPARK, folder, str(few), str(many)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    theirs = (found["seconds"][2] - found["seconds"][1]) / (many - few)
    peer_ap = average_precision(held_out, rows[~train] @ np.array(found["weights"]))
    print(
        f"sgd: MLlib {theirs * 1000:.1f} ms an iteration, AP {peer_ap:.4f}: {theirs / ours:.0f} x ours; "
        f"{many} iterations with their data's way into Spark {found['seconds'][2]:.1f} s "
        f"against {seconds[2]:.1f} s"
    )


def bootstrap_case() -> None:
    """10,000 resamples of 35,000 photos by account, three rankings at once."""
    rng = np.random.default_rng(0)
    accounts = np.repeat(np.arange(N), rng.integers(1, 11, size=N))[:N].astype(str)
    labels = rng.integers(2, size=N).astype(np.int8)
    scores, ratios = labels + 1.5 * rng.normal(size=(3, N)), labels + rng.normal(size=N)
    for named, given in (("AP, ROC AUC, accuracy", None), ("and Spearman's rho, pair accuracy", ratios)):
        started = time.perf_counter()
        evaluate(labels, scores, np.full(3, 0.5), accounts, resamples=10_000, seed=0, ratios=given)
        print(f"bootstrap: {named} of 3 rankings: {time.perf_counter() - started:.1f} s", flush=True)


def main(cases: Sequence[str], spark: str | None) -> None:
    every: dict[str, Callable[[], Any]] = {
        "grid": grid_case, "forest": forest_case, "sgd": lambda: sgd_case(spark), "bootstrap": bootstrap_case,
    }  # fmt: skip
    for case in cases or list(every):
        every[case]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[[], "grid", "forest", "sgd", "bootstrap"])
    parser.add_argument("--spark", help="a Python that has PySpark 4")
    parser.add_argument("--fit-grid", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit_grid:
        fit_grid(arguments.fit_grid)
    else:
        main(arguments.cases, arguments.spark)
