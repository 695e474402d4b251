"""The features stage against bare torch processes, PySpark and Daft; its precision; its memory.

    uv run python -m benchmarks.features [speed precision memory peers] [--photos N] [--rounds N] ...

speed, precision and memory without a name. Photos are JPEGs of 640 px and about 66 kB, drawn by the
simulator with grain added. Every contender reads the same Parquet files, decodes, computes AlexNet's fc6 and
fc7 plain and mirrored, and writes Parquet; ours also plans, hashes each photo and commits a table. Peers run
in environments of their own: `--spark PYTHON` (pyspark 4, Java), `--daft PYTHON`, each with torch, OpenCV and
pyarrow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import features_peers
from raylike import Workspace, feature_rows
from raylike.cluster import Session
from raylike.commits import Commit
from raylike.config import FeaturesSettings, RaySettings, Settings
from raylike.processes import MIB, descendants, memory_mib
from raylike.progress import Silence
from raylike.simulator.drawing import draw
from raylike.simulator.world import World
from raylike.stage import StageContext
from raylike.stages import features
from raylike.tables import IMAGES, LABELS
from raylike.vision import loading

MOMENT = datetime(2015, 10, 1, tzinfo=UTC)
SIDE_PX = 640
DRAWN = 1000
"""Different photos; more posts than these repeat their pixels, in files that differ by a byte."""
PROCESSES = 2
TABLE = "features/alexnet"
LOOK_EVERY_S = 2.0


def drawn_photos(n: int = DRAWN) -> list[bytes]:
    """JPEGs of 640 px."""
    world, generator = World(0, DRAWN), np.random.default_rng(0)
    drawn = []
    for row in range(n):
        picture = cv2.imdecode(np.frombuffer(draw(world.spec(row)), np.uint8), cv2.IMREAD_COLOR)
        square = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        grain = generator.normal(0, 7, square.shape).astype(np.float32)
        noisy = (square + grain).clip(0, 255).astype(np.uint8)
        drawn.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes())
    return drawn


def with_photos(folder: Path, drawn: list[bytes], n: int) -> Workspace:
    """A workspace with `n` photos, downloaded and labelled.

    Where there are more posts than photos drawn, the same pixels come again in another file, so that nothing
    is computed once for several posts.
    """
    workspace = Workspace(folder)
    ids = [f"post{i:06d}" for i in range(n)]
    labels = {
        "post_id": ids, "user_id": ids, "ratio": [0.1] * n, "label": [i % 2 for i in range(n)],
        "threshold": [0.1] * n, "fold": [i % 5 for i in range(n)], "split": ["train"] * n,
    }  # fmt: skip
    workspace.write("labels", pa.table(labels).cast(LABELS.schema), Commit("labels", "benchmark"))
    for start in range(0, n, 512):  # as downloads come in
        part = [drawn[i % len(drawn)] + str(i).encode() for i in range(start, min(start + 512, n))]
        columns: dict[str, Any] = {
            "post_id": ids[start : start + 512], "bytes": part, "byte_size": [len(file) for file in part],
            "sha256": [hashlib.sha256(file).hexdigest() for file in part],
            "fetched_at": [MOMENT] * len(part), "status": ["ok"] * len(part),
        }  # fmt: skip
        rows = pa.table([pa.array(columns.get(f.name, [None] * len(part)), f.type) for f in IMAGES.schema],
                        schema=IMAGES.schema)  # fmt: skip
        written = workspace.write_part("images", rows)
        workspace.commit_parts("images", [written], Commit("download", "benchmark"))
    return workspace


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray with two CPUs; its start is printed, since no figure counts it."""
    started = time.perf_counter()
    session = Session(RaySettings(num_cpus=PROCESSES, dashboard=False))
    session.wait()
    print(f"Ray was up after {time.perf_counter() - started:.1f} s, which is left out below")
    try:
        yield
    finally:
        session.stop()


def run_ours(workspace: Workspace, precision: str = "fp32", **more: Any) -> float:
    """Run the stage, with more of its settings; seconds from its call to the committed table."""
    chosen = {"weights": "random", "precision": precision, **more}
    settings = Settings(features=FeaturesSettings.model_validate(chosen))
    commit = Commit("features", f"benchmark {precision}")
    started = time.perf_counter()
    report = features.run(StageContext(workspace, settings, Silence(), commit))
    seconds = time.perf_counter() - started
    assert report.rows_out == report.rows_in
    return seconds


def run_bare(workspace: Workspace, folder: Path, precision: str) -> float:
    """Two processes with torch and nothing else; seconds from their start to the last Parquet file."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"files": workspace.files("images"), "precision": precision}))
    weights = folder / "alexnet.npz"
    if not weights.exists():
        np.savez(weights, **loading.load("alexnet", "random", 0, allow_random=False).state)
    started = time.perf_counter()
    command = [sys.executable, features_peers.__file__, "bare", str(plan), str(weights), str(folder)]
    runs = [subprocess.Popen([*command, str(share), str(PROCESSES)]) for share in range(PROCESSES)]
    assert [one.wait() for one in runs] == [0] * PROCESSES
    seconds = time.perf_counter() - started
    rows = sum(pq.read_metadata(file).num_rows for file in folder.glob("bare-*.parquet"))
    assert rows == 2 * workspace.rows("images")
    for file in folder.glob("bare-*.parquet"):
        file.unlink()
    return seconds


def speed(n: int, rounds: int, precisions: Sequence[str]) -> None:
    """Ours and the bare processes in turn, on the same photos."""
    drawn = drawn_photos(min(n, DRAWN))
    kilobytes = statistics.mean(map(len, drawn)) / 1000
    print(f"{n:,} photos of {SIDE_PX} px, {kilobytes:.0f} kB on average")
    for precision in precisions:
        ratios = []
        for i in range(rounds):
            with tempfile.TemporaryDirectory(prefix="raylike-features-") as folder:
                workspace = with_photos(Path(folder) / "workspace", drawn, n)
                seconds = {}
                for turn in ("ours", "bare") if i % 2 == 0 else ("bare", "ours"):
                    seconds[turn] = (
                        run_ours(workspace, precision)
                        if turn == "ours"
                        else run_bare(workspace, Path(folder), precision)
                    )
                ours, bare = seconds["ours"], seconds["bare"]
                ratios.append(bare / ours)
                print(
                    f"{precision}: ours {ours:.1f} s, {n / ours:.0f} photos/s; bare {bare:.1f} s, "
                    f"{n / bare:.0f}/s; ours is at {bare / ours:.0%}", flush=True,
                )  # fmt: skip
        print(f"{precision}: median {statistics.median(ratios):.0%} of the bare processes")


def precision(n: int) -> None:
    """How far bf16 is from fp32, and what LinearSVC makes of either: appeal told from the photo."""
    from raylike.learning.evaluation import average_precision

    world = World(0, n)
    with tempfile.TemporaryDirectory(prefix="raylike-features-") as folder:
        files = [draw(world.spec(row)) for row in range(n)]
        workspace = with_photos(Path(folder), files, n)
        appeal = world.appeal[:n]
        labels = (appeal > np.median(appeal)).astype(np.int8)
        found: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for chosen in ("fp32", "bf16"):
            run_ours(workspace, chosen)
            rows = workspace.read(TABLE, where=feature_rows.in_force(workspace, TABLE)).sort_by(
                [("post_id", "ascending"), ("flipped", "ascending")]
            )
            found[chosen] = {
                layer: rows[layer].combine_chunks().flatten().to_numpy().reshape(-1, 4096)[::2]
                for layer in ("fc6", "fc7")
            }
    for layer in ("fc6", "fc7"):
        full, half = found["fp32"][layer], found["bf16"][layer]
        relative = np.linalg.norm(full - half) / np.linalg.norm(full)
        cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
        aps = [average_precision(labels, out_of_fold(rows, labels)) for rows in (full, half)]
        print(
            f"{layer}: relative difference {relative:.2%}, smallest cosine {cosine.min():.5f}; LinearSVC's "
            f"AP {aps[0]:.4f} in fp32, {aps[1]:.4f} in bf16, of {n:,} photos ({labels.mean():.2f} by chance)"
        )


def out_of_fold(rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What LinearSVC says of each row (n, d), fitted on the other four of five folds."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    model = make_pipeline(StandardScaler(), LinearSVC(C=1e-5))
    return np.asarray(cross_val_predict(model, rows, labels, cv=5, method="decision_function"))


def memory(few: int, many: int) -> None:
    """The largest memory of a whole session, Ray and driver included, with few and many photos.

    One model process, a session for each case. Few and many are compared in bf16 and plain, which takes a
    quarter of the time.
    """
    drawn = drawn_photos(200)
    for n, chosen, mirrored in ((few, "fp32", True), (few, "bf16", False), (many, "bf16", False)):
        with tempfile.TemporaryDirectory(prefix="raylike-features-") as folder, ray_session():
            workspace = with_photos(Path(folder), drawn, n)
            looks: list[tuple[float, float]] = []
            before, done = memory_mib(), threading.Event()
            watcher = threading.Thread(target=_watch, args=(looks, done), daemon=True)
            watcher.start()
            seconds = run_ours(workspace, chosen, actors=1, mirrored=mirrored)
            done.set()
            watcher.join()
            session, models = (max(column) for column in zip(*looks, strict=True))
            late = max(total for total, _ in looks[len(looks) * 3 // 4 :])
            print(
                f"{n:,} photos in {chosen}, {'both ways round' if mirrored else 'plain'}, {seconds:.0f} s: "
                f"at most {session:,.0f} MiB, "
                f"{late:,.0f} in the last quarter; {before:,.0f} before the stage; "
                f"the model process at most {models:,.0f}", flush=True,
            )  # fmt: skip


def _watch(looks: list[tuple[float, float]], done: threading.Event) -> None:
    """Note MiB of this process and all below it, and of the model process; shared pages are shared out."""
    while not done.wait(LOOK_EVERY_S):
        models = [one for one in descendants() if "ExtractFeatures" in " ".join(_command(one))]
        looks.append((memory_mib(), sum(map(_pss_mib, models))))


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _pss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / MIB
    except psutil.Error:
        return 0.0


def peers(n: int, rounds: int, pythons: Mapping[str, str | None]) -> None:
    """The same work in PySpark's and Daft's own words, each in turn with ours and the bare processes."""
    drawn = drawn_photos(min(n, DRAWN))
    named = {name: python for name, python in pythons.items() if python is not None}
    for name in pythons.keys() - named.keys():
        print(f"{name}: left out, no --{name} PYTHON was named")
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="raylike-features-") as folder:
            workspace = with_photos(Path(folder) / "workspace", drawn, n)
            ours = run_ours(workspace)
            bare = run_bare(workspace, Path(folder), "fp32")
            print(f"{n:,} photos: ours {ours:.1f} s, bare {bare:.1f} s", flush=True)
            for name, python in named.items():
                told = run_peer(name, python, workspace, Path(folder))
                print(
                    f"{name} {told['version']}: {told['seconds']:.1f} s after its session was up "
                    f"({told['start_s']:.1f} s): ours is {told['seconds'] / ours:.2f} times as fast",
                    flush=True,
                )  # fmt: skip


def run_peer(name: str, python: str, workspace: Workspace, folder: Path) -> dict[str, Any]:
    """What a peer says of its version and its seconds; its rows are counted. Call it after `run_bare`."""
    output = folder / name
    command = [python, features_peers.__file__, name, str(folder / "plan.json"), str(folder / "alexnet.npz")]
    done = subprocess.run(
        [*command, str(output), "0", str(PROCESSES)], check=True, capture_output=True, text=True
    )
    rows = sum(pq.read_metadata(file).num_rows for file in output.rglob("*.parquet"))
    assert rows == 2 * workspace.rows("images"), rows
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=["speed", "precision", "memory", "peers", []])
    parser.add_argument("--photos", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=20_000, help="photos of the second half of memory")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--spark")
    parser.add_argument("--daft")
    chosen = parser.parse_args()
    for case in chosen.cases or ["speed", "precision", "memory"]:
        if case == "memory":
            memory(2_000, chosen.many)
            continue
        with ray_session():
            if case == "speed":
                speed(chosen.photos, chosen.rounds, chosen.precision)
            elif case == "precision":
                precision(min(chosen.photos, 2_000))
            else:
                peers(chosen.photos, chosen.rounds, {"spark": chosen.spark, "daft": chosen.daft})


if __name__ == "__main__":
    main()
