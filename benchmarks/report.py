"""The report of many photos: seconds of its parts, memory, size of the page.

    uv run python -m benchmarks.report [--photos 35000] [--accounts 20000]

makes a workspace whose tables are what a run with so many labelled photos leaves: photos of the simulator at
320 px, repeated; features around 40 centres; scores that follow the labels. Then runs the stage once.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raylike import Workspace
from raylike.commits import Commit
from raylike.config import resolve
from raylike.progress import Silence
from raylike.simulator.photos import draw_sized
from raylike.simulator.world import World
from raylike.stage import StageContext
from raylike.stages import report
from raylike.tables import ALEXNET, TABLES

START = datetime(2015, 9, 1, tzinfo=UTC)
DRAWN, SIDE_PX = 200, 320
CENTRES, WIDTH = 40, 4096
ROWS_PER_PART = 2000
COMMIT = Commit("benchmark", "f")
PARTS = ("gather", "project", "lay_out", "look", "traits", "explain", "draw_all", "_figure_files", "render")

Row = dict[str, Any]


def build(workspace: Workspace, n: int, accounts: int) -> None:
    """Write every table that the report reads much of."""
    rng = np.random.default_rng(0)
    posts = [f"p{i:06d}" for i in range(n)]
    users = [f"u{u:06d}" for u in rng.integers(accounts, size=n)]
    ratios = np.exp(rng.normal(-2.3, 0.8, n))
    test = rng.random(n) < 0.25
    threshold = float(np.median(ratios[~test]))
    good = ratios > threshold
    for name, rows in _scalar_rows(posts, users, ratios, test, threshold, rng).items():
        workspace.write(name, pa.Table.from_pylist(rows, schema=TABLES[name].schema), COMMIT)
    _write_photos(workspace, posts)
    _write_features(workspace, posts, good, rng)


def _scalar_rows(
    posts: list[str],
    users: list[str],
    ratios: np.ndarray,
    test: np.ndarray,
    threshold: float,
    rng: np.random.Generator,
) -> dict[str, list[Row]]:
    read = START + timedelta(days=61)
    scores = np.log(ratios / threshold) + rng.normal(0, 1.5, len(posts))
    labels = [
        {"post_id": post, "user_id": user, "ratio": ratio, "label": int(ratio > threshold),
         "threshold": threshold, "fold": -1 if is_test else 1, "split": "test" if is_test else "train"}
        for post, user, ratio, is_test in zip(posts, users, ratios.tolist(), test.tolist(), strict=True)
    ]  # fmt: skip
    ranked = [int(i) for i in np.argsort(-scores) if test[i]]
    face = {"x": 110, "y": 80, "width": 100, "height": 110, "confidence": 6.0, "area_fraction": 0.1}
    judged = {"evaluation": "test", "n": int(test.sum()), "positive_rate": 0.5, "weights": "random",
              "parameters": "{}", "seconds": 1.0}  # fmt: skip
    for figure in ("ap", "roc_auc", "accuracy", "spearman", "pair_accuracy"):
        judged |= {figure: 0.6, f"{figure}_low": 0.58, f"{figure}_high": 0.62}
    return {
        "posts": [
            {"post_id": post, "provider": "simulator", "user_id": user, "likes": int(1000 * ratio),
             "created_at": START + timedelta(seconds=7 * i), "collected_at": read, "tags": ["me"],
             "image_url": "http://photos.simulator.test/x.jpg"}
            for i, (post, user, ratio) in enumerate(zip(posts, users, ratios.tolist(), strict=True))
        ],
        "cohort": [
            {"post_id": post, "user_id": user, "followers": 1000, "likes": int(1000 * ratio),
             "ratio": ratio, "kept": True, "reason": ""}
            for post, user, ratio in zip(posts, users, ratios.tolist(), strict=True)
        ],
        "faces": [
            {"post_id": post, "detector": "haar", "n_faces": 1, "faces": [face], "confidence": 6.0,
             "area_fraction": 0.1, "status": "ok"}
            for post in posts
        ],
        "labels": labels,
        "predictions": [
            {"post_id": post, "model": "LinearSVC", "features": "fc7", "score": score,
             "evaluation": "test" if is_test else "cross-validation", "probability": 1 / (1 + np.exp(-score))}
            for post, score, is_test in zip(posts, scores.tolist(), test.tolist(), strict=True)
        ],
        "scores": [
            {"post_id": posts[i], "model": "LinearSVC on fc7", "probability": 1 - rank / len(ranked),
             "rank": rank}
            for rank, i in enumerate(ranked, start=1)
        ],
        "results": [
            {"model": "LinearSVC", "features": "fc7", **judged},
            {"model": "LinearSVC", "features": "fc7", **judged, "evaluation": "cross-validation"},
        ],
    }  # fmt: skip


def _write_photos(workspace: Workspace, posts: list[str]) -> None:
    world = World(0, 500)
    drawn = [draw_sized(world.spec(i), SIDE_PX) for i in range(DRAWN)]

    def rows(some: list[str]) -> Iterator[Row]:
        for post in some:
            photo = drawn[int(post[1:]) % DRAWN]
            yield {"post_id": post, "bytes": photo, "format": "jpeg", "byte_size": len(photo),
                   "fetched_at": START, "status": "ok"}  # fmt: skip

    for at in range(0, len(posts), ROWS_PER_PART):
        table = pa.Table.from_pylist(
            list(rows(posts[at : at + ROWS_PER_PART])), schema=TABLES["images"].schema
        )
        workspace.commit_parts("images", [workspace.write_part("images", table)], COMMIT)


def _write_features(
    workspace: Workspace, posts: list[str], good: np.ndarray, rng: np.random.Generator
) -> None:
    centres = rng.normal(size=(CENTRES, WIDTH)).astype(np.float32)
    for at in range(0, len(posts), ROWS_PER_PART):
        some = posts[at : at + ROWS_PER_PART]
        seen = (
            centres[rng.integers(CENTRES, size=len(some))]
            + rng.normal(size=(len(some), WIDTH))
            + 0.2 * (good[at : at + ROWS_PER_PART, None])
        )
        layers = {
            "fc6": np.zeros((len(some), WIDTH), np.float32),
            "fc7": seen.astype(np.float32),
        }
        table = pa.table(
            {
                "post_id": some, "flipped": [False] * len(some), "weights": ["random"] * len(some),
                "sha256": some, "recipe": ["r"] * len(some),
                **{layer: pa.FixedSizeListArray.from_arrays(r.ravel(), WIDTH) for layer, r in layers.items()},
            }
        )  # fmt: skip
        workspace.commit_parts(ALEXNET.name, [workspace.write_part(ALEXNET.name, table)], COMMIT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=35_000)
    parser.add_argument("--accounts", type=int, default=20_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w")
        build(workspace, asked.photos, asked.accounts)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        settings = resolve({}, environ={}).settings
        profile = cProfile.Profile()
        started, cpu = time.perf_counter(), time.process_time()
        profile.runcall(report.run, StageContext(workspace, settings, Silence(), COMMIT))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        size = Path(workspace.artifact("report", "index.html")).stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked.photos:,} labelled photos: {seconds:.1f} s, {cpu:.1f} s of CPU, page {size / 1e6:.1f} MB, "
          f"peak memory {peak:,.0f} MiB (building it took {before:,.0f})")  # fmt: skip
    for (file, _, name), found in sorted(pstats.Stats(profile).stats.items(), key=lambda item: -item[1][3]):  # type: ignore[attr-defined]
        if name in PARTS and "raylike" in file:
            print(f"  {name:<14} {found[3]:6.1f} s")


if __name__ == "__main__":
    main()
