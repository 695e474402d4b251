"""A small workspace as a finished run leaves it, made by hand so that its figures are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from raylike.commits import Commit
from raylike.config import resolve
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.stage_names import STAGES
from raylike.stages import report
from raylike.tables import TABLES
from raylike.workspace import Workspace

START = datetime(2015, 9, 1, tzinfo=UTC)
HOSTILE = "<script>alert('liked')</script>"

Rows = list[dict[str, Any]]


def photo(seed: int, side: int = 200) -> bytes:
    """A JPEG of a colour gradient."""
    colour = np.random.default_rng(seed).integers(0, 255, (2, 2, 3)).astype(np.uint8)
    pixels = cv2.resize(colour, (side, side), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def score_row(model: str, features: str, evaluation: str, ap: float, weights: str, n: int) -> dict[str, Any]:
    """A row of results: every interval is 0.05 to either side."""
    row: dict[str, Any] = {"model": model, "features": features, "evaluation": evaluation, "n": n}
    figures = {
        "ap": ap,
        "roc_auc": ap + 0.02,
        "accuracy": ap - 0.02,
        "spearman": ap - 0.4,
        "pair_accuracy": ap,
    }
    for figure, value in figures.items():
        row |= {figure: value, f"{figure}_low": value - 0.05, f"{figure}_high": value + 0.05}
    return row | {"positive_rate": 0.5, "weights": weights, "parameters": "{}", "seconds": 1.5}


def study_rows(n_posts: int, weights: str, seed: int, draw: Callable[[int], bytes]) -> dict[str, Rows]:
    """Rows of every table for `n_posts` posts.

    Of the posts, 3 in 5 are kept; of these 1 in 50 is gone. Of the photos 3 in 5 have a face, and half of
    those lie above the cut at 0. A quarter of what is left are test photos.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    for i in range(n_posts):
        followers = int(np.exp(rng.normal(5.5, 1.15))) + 1
        likes = int(followers**0.87 * np.exp(rng.normal(-1.7, 0.5)))
        _add_post(rows, i, followers, likes)
        if i % 5 < 3:
            _add_photo(rows, f"p{i:05d}", likes / followers, float(rng.normal(1.5, 0.4)), lambda i=i: draw(i))
    threshold = float(np.median([row["ratio"] for row in rows["labels"] if row["split"] == "train"]))
    for row in rows["labels"]:
        row |= {"threshold": threshold, "label": int(row["ratio"] > threshold)}
    _add_models(rows, weights)
    _add_predictions(rows, rng)
    _add_features(rows, weights, rng)
    _add_scores(rows, rng)
    _add_runs(rows)
    return rows


def _add_post(rows: dict[str, Rows], i: int, followers: int, likes: int) -> None:
    post, user = f"p{i:05d}", f"u{i:05d}"
    reason = ("", "", "", "too many followers", "too few followers")[i % 5]
    rows["posts"].append(
        {
            "post_id": post, "provider": "simulator", "user_id": user, "likes": likes, "tags": ["me"],
            "created_at": START + timedelta(minutes=11 * i), "collected_at": START + timedelta(days=61),
            "image_url": f"http://photos.simulator.test/{post}.jpg",
            "caption": HOSTILE if i % 2 else f"Sunday {i} #me",
        }
    )  # fmt: skip
    rows["users"].append({"user_id": user, "followers": followers, "looked_up_at": START, "status": "ok"})
    rows["cohort"].append(
        {
            "post_id": post, "user_id": user, "followers": followers, "likes": likes,
            "ratio": likes / followers, "kept": not reason, "reason": reason,
        }
    )  # fmt: skip


def _add_photo(
    rows: dict[str, Rows], post: str, ratio: float, distance: float, draw: Callable[[], bytes]
) -> None:
    """What download, faces and labels write; `distance` is from the face's confidence to the cut."""
    gone = len(rows["images"]) % 50 == 49
    rows["images"].append(
        {
            "post_id": post, "bytes": None if gone else draw(), "format": None if gone else "jpeg",
            "byte_size": 90_000, "fetched_at": START, "status": "gone" if gone else "ok",
        }
    )  # fmt: skip
    if gone:
        return
    kind = len(rows["faces"]) % 10
    confidence = distance if kind < 3 else -distance if kind < 6 else float("-inf")
    face = {"x": 1, "y": 1, "width": 60, "height": 60, "confidence": confidence, "area_fraction": 0.1}
    rows["faces"].append(
        {
            "post_id": post, "detector": "haar", "n_faces": int(kind < 6),
            "faces": [face] if kind < 6 else [], "confidence": confidence,
            "area_fraction": 0.1, "status": "ok",
        }
    )  # fmt: skip
    if confidence >= 0:
        test = len(rows["labels"]) % 4 == 0
        place = {"fold": -1 if test else 1, "split": "test" if test else "train"}
        rows["labels"].append({"post_id": post, "user_id": post, "ratio": ratio, **place})


def _add_models(rows: dict[str, Rows], weights: str) -> None:
    """Best by cross-validation is LinearSVC on fc6; best on the test photos, by luck, RandomForest on fc6."""
    n = len(rows["labels"])
    for model, features, cross_validated, test in (
        ("LinearSVC", "fc6", 0.61, 0.58), ("LinearSVC", "fc7", 0.59, 0.60),
        ("RandomForest", "fc6", 0.60, 0.64), ("RandomForest", "fc7", 0.60, 0.59),
        ("SVM by SGD", "fc6", 0.58, 0.57), ("SVM by SGD", "fc7", 0.57, 0.60),
        ("logistic regression", "metadata", 0.54, 0.53), ("oracle", "truth", 0.72, 0.71),
    ):  # fmt: skip
        kind = "none" if features in ("metadata", "truth") else weights
        rows["results"].append(score_row(model, features, "cross-validation", cross_validated, kind, n))
        rows["results"].append(score_row(model, features, "test", test, kind, n // 4))
    rows["finetune_results"].append(score_row("fine-tuned", "pixels", "test", 0.56, weights, n // 4))
    for design, ap in (("ratio_median", 0.60), ("residual", 0.57), ("same_user_pairs", 0.55)):
        for evaluation in ("cross-validation", "test"):
            judged = score_row("LinearSVC", "fc7", evaluation, ap, weights, n // 4)
            rows["design_results"].append({"design": design, "c": 0.01, **judged})
    for layer, best in (("fc6", -2), ("fc7", -4)):
        for k in range(-6, 6):
            ap = 0.61 - 0.008 * abs(k - best)
            bounds = {"ap_low": ap - 0.04, "ap_high": ap + 0.04}
            rows["sweep"].append({"features": layer, "c": 10.0**k, "ap": ap, **bounds, "accuracy": ap - 0.02})
    for step in (20, 40, 60):
        look = {
            "loss": 0.7 - step / 1000,
            "lr": 0.001,
            "validation_ap": 0.52 + step / 1500,
            "photos_per_s": 40.0,
        }
        rows["curves"].append({"run": "finetune", "iteration": step, **look})
    for trial in range(6):
        ap = 0.52 + 0.01 * trial
        chosen = {"lr": 10.0 ** (-4 + trial / 2), "weight_decay": 1e-4, "iterations": 30}
        reached = {"validation_ap": ap, "best_validation_ap": ap + 0.01, "stopped_early": trial % 2 == 1}
        chosen |= {"model": "network", "trainable": "fc7", "schedule": "cosine", "batch_size": 16}
        rows["trials"].append(
            {"trial": trial, **chosen, "label_smoothing": 0.1, "c": None, **reached, "seconds": 4.0}
        )
    linear = {"model": "LinearSVC on fc7", "c": 0.01, "iterations": 0, "validation_ap": 0.57}
    linear |= {name: None for name in ("lr", "weight_decay", "trainable", "schedule", "batch_size")}
    rows["trials"].append(
        {"trial": 6, **linear, "label_smoothing": None, "best_validation_ap": 0.57, "stopped_early": False,
         "seconds": 0.4}
    )  # fmt: skip


def _add_predictions(rows: dict[str, Rows], rng: np.random.Generator) -> None:
    """Scores of the headline's model and of the references; the oracle ranks every photo by its likes."""
    spread = {"LinearSVC": ("fc6", 1.0), "logistic regression": ("metadata", 3.0), "oracle": ("truth", 0.0)}
    for model, (features, noise) in spread.items():
        for row in rows["labels"]:
            score = float(np.log(row["ratio"] / row["threshold"]) + noise * rng.normal())
            rows["predictions"].append(
                {
                    "post_id": row["post_id"], "model": model, "features": features,
                    "evaluation": "test" if row["split"] == "test" else "cross-validation",
                    "score": score, "probability": 1 / (1 + float(np.exp(-score))),
                }
            )  # fmt: skip
    for other, gap in (("RandomForest", 0.01), ("SVM by SGD", 0.06)):
        rows["differences"].append(
            {
                "model": other, "features": "fc6", "other_model": "LinearSVC", "other_features": "fc6",
                "evaluation": "test", "difference": -gap, "low": -gap - 0.03, "high": -gap + 0.03,
            }
        )  # fmt: skip


def _add_features(rows: dict[str, Rows], weights: str, rng: np.random.Generator) -> None:
    """Every labelled photo plain and mirrored; fc7 holds one of four directions, and a little noise."""
    directions = rng.normal(size=(4, 4096)).astype(np.float32)
    nothing = np.zeros(4096, np.float32)
    for number, row in enumerate(rows["labels"]):
        seen = directions[number % 4] + 0.3 * rng.normal(size=4096).astype(np.float32)
        for flipped in (False, True):
            rows["features/alexnet"].append(
                {
                    "post_id": row["post_id"], "flipped": flipped, "weights": weights, "recipe": "r",
                    "sha256": row["post_id"], "fc6": nothing, "fc7": nothing if flipped else seen,
                }
            )  # fmt: skip


def _add_scores(rows: dict[str, Rows], rng: np.random.Generator) -> None:
    posts = [row["post_id"] for row in rows["labels"] if row["split"] == "test"]
    for model in ("LinearSVC on fc6", "fine-tuned on pixels"):
        chances = np.sort(rng.uniform(0.2, 0.8, len(posts)))[::-1].tolist()
        for rank, (post, chance) in enumerate(zip(posts, chances, strict=True), start=1):
            rows["scores"].append({"post_id": post, "model": model, "probability": chance, "rank": rank})


def _add_runs(rows: dict[str, Rows]) -> None:
    """Each stage once, then collect again: the later record counts."""
    seconds = (9.9, 3.2, 0.1, 9.8, 14.0, 0.2, 31.0, 17.5, 22.0, 24.0, 0.1, 5.0, 4.0)
    skipped = {
        "collect": {"too young": 12, "not an image": 9},
        "labels": {"no face": 5, "duplicate": 4, "near duplicate": 3, "over the cap per user": 2},
    }
    for number, stage in enumerate([*STAGES, "collect"]):
        rows["runs"].append(
            {
                "run": f"r{number // len(STAGES)}", "stage": stage, "seconds": seconds[number],
                "started_at": START + timedelta(days=61, minutes=number),
                "memory_peak_mib": 900.0 + 100 * number,
                "rows_in": 1000, "rows_out": 800, "failed": "{}", "notes": json.dumps([f"{stage} went well"]),
                "skipped": json.dumps(skipped.get(stage, {})),
                "settings": "{}", "versions": json.dumps({"python": "3.11.9", "raylike": "0.1.0"}),
            }
        )  # fmt: skip


def fill(path: Path, rows: dict[str, Rows], tables: set[str] | None = None) -> Workspace:
    """Write rows as tables of a workspace; only `tables`, if given."""
    workspace = Workspace(path)
    for name, found in rows.items():
        if found and (tables is None or name in tables):
            workspace.write(
                name, pa.Table.from_pylist(found, schema=TABLES[name].schema), Commit("test", "f")
            )
    return workspace


@pytest.fixture(scope="session")
def rows() -> dict[str, Rows]:
    """Rows of every table for 400 posts, from features of random weights."""
    return study_rows(400, "random", 0, photo)


@pytest.fixture(scope="session")
def fill_workspace() -> Callable[[Path, dict[str, Rows], set[str] | None], Workspace]:
    """`fill`, for tests that need another workspace."""
    return fill


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, Rows]) -> Workspace:
    """A workspace that holds every table but the report."""
    return fill(tmp_path_factory.mktemp("finished") / "workspace", rows)


@pytest.fixture(scope="session")
def written(finished: Workspace) -> tuple[str, dict[str, Any]]:
    """Run the stage, with a cut that half of the faces pass; the page, and its figures."""
    settings = resolve({"faces": {"min_confidence": 0.0}}, environ={}).settings
    report.run(StageContext(finished, settings, Silence(), Commit("report", "f")))
    page, figures = (Path(finished.artifact("report", name)) for name in ("index.html", "results.json"))
    return page.read_text(encoding="utf-8"), json.loads(figures.read_text(encoding="utf-8"))
