"""The linear SVM's grid, the forest, SGD and the bootstrap at the study's size, against their peers.

    uv run python -m benchmarks.classifiers [CASE ...] [--spark PYTHON] [--peer-c C ...] [--width D]

Cases: grid, few, separable, forest, nodes, sgd, bootstrap; all of them without a name. Features are drawn,
35,000 x 4,096 in float32: three quarters zeros, correlated as fc7 is after ReLU; labels follow a noisy linear
rule that is worth an average precision of about 0.6. Accounts hold 1 to 10 photos. `few` is the grid on 6,000
rows, of which a fold sees hardly more than features; `separable` on 12,000 whose labels have little noise. In
both, classes can be separated or nearly so. `--peer-c` names the C that scikit-learn is fitted at: without
it all of the grid, which takes many minutes; `--width 1024` makes the three grids a quarter as wide and as
long. `--spark` names a Python that has PySpark 4, with a Java beside it; without it, SGD has no peer.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC

from raylike.commits import Commit
from raylike.config import ClassifySettings
from raylike.learning import forest, linear, svm
from raylike.learning.evaluation import average_precision, evaluate
from raylike.learning.photos import Photos
from raylike.learning.scaling import fit_scale
from raylike.learning.sgd import Batches, Shard, fit_sgd
from raylike.learning.splits import TEST
from raylike.stages.classify import nodes
from raylike.stages.classify.reading import FeatureTable
from raylike.workspace import Workspace

N, D, FOLDS = 35_000, 4096, 5
LOOKS = 200
"""Hidden causes that the features share."""
C_VALUES = ClassifySettings().c_values
ROWS_AT_ONCE = 5000
NODES_ROWS = 8000
GRID_COLUMNS = 24
"""Of SGD: 2 steps x 2 regularisations x 5 folds and a final model."""


@dataclass(frozen=True)
class GridCase:
    """Rows, and how much the linear rule weighs in their labels against two kinds of noise, of 0.5 and 1."""

    n: int
    rule: float

    def draw(self, width: int) -> tuple[NDArray[np.float32], Photos]:
        """Features of a width, with as many rows for each as there are at full width."""
        return draw(self.n * width // D, width=width, rule=self.rule)


GRIDS = {"grid": GridCase(N, 0.35), "few": GridCase(6000, 0.35), "separable": GridCase(12_000, 20.0)}


def draw(
    n: int = N, *, width: int = D, test_share: float = 0.0, rule: float = 0.35
) -> tuple[NDArray[np.float32], Photos]:
    """Features (n, width) and who posted what; accounts are dealt into folds, a share into the test set."""
    rng = np.random.default_rng(0)
    mixing = (rng.normal(size=(LOOKS, width)) / np.sqrt(1 + np.arange(LOOKS))[:, None]).astype(np.float32)
    threshold = 0.6745 * np.sqrt((mixing**2).sum(axis=0) + 0.25)
    features = np.empty((n, width), dtype=np.float32)
    for start in range(0, n, ROWS_AT_ONCE):
        rows = features[start : start + ROWS_AT_ONCE]
        rows[:] = rng.standard_normal((len(rows), LOOKS), dtype=np.float32) @ mixing
        rows += 0.5 * rng.standard_normal(rows.shape, dtype=np.float32) - threshold.astype(np.float32)
        np.maximum(rows, 0, out=rows)
    accounts = np.repeat(np.arange(n), rng.integers(1, 11, size=n))[:n]
    appeal = features @ rng.normal(size=width).astype(np.float32)
    appeal = rule * (appeal - appeal.mean()) / appeal.std() + 0.5 * rng.normal(size=n)[accounts]
    ratios = appeal + rng.normal(size=n)
    folds = rng.integers(FOLDS, size=n)
    folds[rng.random(n) < test_share] = TEST
    ids = np.char.mod("%05d", np.arange(n))
    labels = (ratios > np.median(ratios)).astype(np.int8)
    return features, Photos(ids, accounts.astype(str), labels, folds[accounts].astype(np.int32), ratios)


def scaled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """On the common scale, in place."""
    return fit_scale(features, "drawn").apply_in_place(features)


def grid_case(name: str, peer_c: Sequence[float], width: int) -> None:
    """The whole grid and the final model by ours, in its own process; scikit-learn on one fold of five."""
    with tempfile.TemporaryDirectory(prefix="raylike-classifiers-") as folder:
        command = [sys.executable, "-m", "benchmarks.classifiers", "--fit-grid", folder, name, str(width)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ours = json.loads(said.splitlines()[-1])
        weights = np.load(Path(folder) / "weights.npy")
    print(
        f"{name}: ours, {len(C_VALUES)} C x {FOLDS} folds and the final model: {ours['seconds']:.1f} s; "
        f"peak memory of the process {ours['peak'] / ours['matrix']:.2f} x the matrix's "
        f"{ours['matrix'] / 2**20:.0f} MiB",
        flush=True,
    )
    features, photos = GRIDS[name].draw(width)
    rows, signs = scaled(features), np.where(photos.labels > 0, 1.0, -1.0)
    fold = int(photos.fold_numbers[0])
    seen, held_out = np.flatnonzero(photos.folds != fold), np.flatnonzero(photos.folds == fold)
    part, part_signs, held_out_rows = rows[seen], signs[seen], rows[held_out]
    del rows, features
    total = 0.0
    for c in peer_c:
        j = C_VALUES.index(c)
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
            f"{name}: C {c:g}: scikit-learn {seconds:.1f} s; our objective less theirs "
            f"{objectives[0] / objectives[1] - 1:+.1e} of it; AP {aps[0]:.4f}, theirs {aps[1]:.4f}",
            flush=True,
        )
    print(
        f"{name}: scikit-learn {total:.0f} s for {len(peer_c)} of {len(C_VALUES)} C on one fold, "
        f"{total * FOLDS:.0f} s on all {FOLDS} (extrapolated, without a final model): "
        f"{total * FOLDS / ours['seconds']:.0f} x ours, which is all C"
    )


def fit_grid(folder: Path, name: str, width: int) -> None:
    """Ours, from features in memory to out-of-fold scores and the final model."""
    features, photos = GRIDS[name].draw(width)
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
    columns = np.ones((len(part), GRID_COLUMNS), dtype=bool)
    started = time.perf_counter()
    fit_sgd(part, labels, columns, iterations=many, step=1.0, reg=1e-4)
    together = (time.perf_counter() - started) / many
    print(f"sgd: {GRID_COLUMNS} problems at once {together * 1000:.1f} ms an iteration", flush=True)
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


def nodes_case() -> None:
    """The forest, and SGD in shards, on a Ray cluster of one node and of two, of one CPU each."""
    import ray
    from ray.cluster_utils import Cluster

    features, photos = draw(NODES_ROWS, test_share=0.25)
    seconds: dict[str, list[float]] = {"forest": [], "sgd": []}
    with tempfile.TemporaryDirectory(prefix="raylike-nodes-") as folder:
        table = write_features(Path(folder), photos, features)
        for n_nodes in (1, 2):
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
            for _ in range(n_nodes - 1):
                cluster.add_node(num_cpus=1)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            forest.fit_and_score(photos, features[None, :, :8], trees=40, seed=0, spread=nodes.grow_trees)
            started = time.perf_counter()
            forest.fit_and_score(
                photos, features[None], trees=8 * forest.TREES_PER_TASK, seed=0, spread=nodes.grow_trees
            )
            seconds["forest"].append(time.perf_counter() - started)
            with nodes.open_rows(Workspace(folder), table, photos, "fc7") as everywhere:
                held = everywhere(_where)
                started = time.perf_counter()
                svm.sweep_sgd(
                    photos, everywhere, Batches(len(features)), width=D, iterations=50, steps=[1.0, 0.1],
                    regs=[1e-4, 1e-2],
                )  # fmt: skip
                seconds["sgd"].append(time.perf_counter() - started)
            print(f"nodes: {n_nodes}: rows by node {held}", flush=True)
            ray.shutdown()
            cluster.shutdown()
    for what, (one, two) in seconds.items():
        print(f"nodes: {what} {one:.1f} s on one node, {two:.1f} s on two: {one / two:.2f} x as fast")


def _where(shard: Shard) -> tuple[str, int]:
    import ray

    return ray.get_runtime_context().get_node_id()[:6], len(shard.rows)


def write_features(folder: Path, photos: Photos, features: NDArray[np.float32]) -> FeatureTable:
    """The features as fc7 of a features table, in several files."""
    workspace = Workspace(folder)
    schema = workspace.spec("features/alexnet").schema
    for part in np.array_split(np.arange(len(features)), 8):
        columns = {
            "post_id": photos.ids[part].tolist(),
            "flipped": [False] * part.size,
            "fc7": pa.FixedSizeListArray.from_arrays(pa.array(features[part].ravel()), D),
        }
        rows = pa.table(
            [
                pa.array(columns[f.name], f.type) if f.name in columns else _empty(f, part.size)
                for f in schema
            ],
            schema=schema,
        )
        workspace.append("features/alexnet", rows, Commit("benchmark", ""))
    return FeatureTable("features/alexnet", (False,), "random")


def _empty(field: pa.Field, n: int) -> pa.Array:
    if pa.types.is_fixed_size_list(field.type):
        zeros = pa.array(np.zeros(n * field.type.list_size, dtype=np.float32))
        return pa.FixedSizeListArray.from_arrays(zeros, field.type.list_size)
    return pa.array([""] * n, field.type)


def main(cases: Sequence[str], spark: str | None, peer_c: Sequence[float], width: int) -> None:
    every: dict[str, Callable[[], Any]] = {
        **{name: partial(grid_case, name, peer_c, width) for name in GRIDS},
        "forest": forest_case, "nodes": nodes_case, "sgd": lambda: sgd_case(spark),
        "bootstrap": bootstrap_case,
    }  # fmt: skip
    for case in cases or list(every):
        every[case]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="grid, few, separable, forest, nodes, sgd, bootstrap"
    )
    parser.add_argument("--spark", help="a Python that has PySpark 4")
    parser.add_argument("--peer-c", type=float, nargs="+", default=C_VALUES, help="C for scikit-learn")
    parser.add_argument(
        "--width", type=int, default=D, help="of the grids' features, with rows in proportion"
    )
    parser.add_argument("--fit-grid", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit_grid:
        folder, name, width = arguments.fit_grid
        fit_grid(Path(folder), name, int(width))
    else:
        main(arguments.cases, arguments.spark, arguments.peer_c, arguments.width)
