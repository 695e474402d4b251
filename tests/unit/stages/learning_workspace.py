"""A small workspace for the stages that learn: tables as earlier stages would have left them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raylike.commits import Commit
from raylike.config import resolve
from raylike.progress import Silence
from raylike.stage import StageContext
from raylike.tables import FACES, FEATURE_LAYERS, TABLES
from raylike.workspace import Workspace

NOW = datetime(2015, 11, 1, tzinfo=UTC)
GIVEN = Commit("test", "")


def context(path: Path, stage: str, **sections: Any) -> StageContext:
    """What the pipeline would hand to a stage, for a workspace of imported files."""
    settings = resolve({"source": {"name": "files"}, **sections}, environ={}).settings
    return StageContext(Workspace(path), settings, Silence(), Commit(stage, "fingerprint"))


def write(path: Path, name: str, columns: dict[str, Sequence[Any]]) -> None:
    """Write a table, leaving empty the optional columns that are not given."""
    schema = TABLES[name].schema
    n = len(next(iter(columns.values())))
    arrays = {
        field.name: pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(n, field.type)
        for field in schema
    }
    Workspace(path).write(name, pa.table(arrays), GIVEN)


def write_posts(path: Path, users: Sequence[str], likes: Sequence[int]) -> list[str]:
    """One post for each user named; returns their ids."""
    n = len(users)
    ids = [f"post{i:03d}" for i in range(n)]
    write(
        path,
        "posts",
        {
            "post_id": ids,
            "provider": ["files"] * n,
            "user_id": users,
            "created_at": [NOW - timedelta(hours=7 * i) for i in range(n)],
            "collected_at": [NOW] * n,
            "image_url": ["photo.jpg"] * n,
            "likes": likes,
            "tags": [["me"] * (i % 3) for i in range(n)],
            "caption": [None if i % 5 == 0 else "x" * i for i in range(n)],
        },
    )
    return ids


def write_users(path: Path, followers: dict[str, int | None], status: dict[str, str] | None = None) -> None:
    """Accounts with their followers; `status` names those that are not ok."""
    names = list(followers)
    statuses = [(status or {}).get(name, "ok") for name in names]
    columns = {
        "user_id": names,
        "followers": list(followers.values()),
        "looked_up_at": [NOW] * len(names),
        "status": statuses,
    }
    write(path, "users", columns)


def write_faces(
    path: Path,
    faces: dict[str, list[tuple[float, float]]],
    undecodable: Sequence[str] = (),
    phash: Sequence[str | None] | None = None,
) -> None:
    """For each photo its faces as (confidence, area fraction), best first, and its perceptual hash."""
    ids = list(faces)
    boxes = [
        [
            {"x": 0, "y": 0, "width": 1, "height": 1, "confidence": c, "area_fraction": a}
            for c, a in faces[post]
        ]
        for post in ids
    ]
    write(
        path,
        "faces",
        {
            "post_id": ids,
            "detector": ["haar"] * len(ids),
            "n_faces": [len(found) for found in boxes],
            "faces": pa.array(boxes, FACES.schema.field("faces").type).to_pylist(),
            "confidence": [max((c for c, _ in faces[post]), default=-np.inf) for post in ids],
            "area_fraction": [max((a for _, a in faces[post]), default=0.0) for post in ids],
            "phash": phash or [None] * len(ids),
            "status": ["undecodable" if post in undecodable else "ok" for post in ids],
        },
    )


def write_features(
    path: Path, ids: Sequence[str], features: np.ndarray[Any, Any], weights: str = "random"
) -> None:
    """Features (orientations, n, few) as AlexNet's layers, the few repeated to full width; fc7 halved."""
    tables = []
    layers = FEATURE_LAYERS["alexnet"]
    for flipped, rows in zip((False, True), features, strict=False):
        columns: dict[str, Any] = {
            "post_id": list(ids),
            "flipped": [flipped] * len(ids),
            "weights": [weights] * len(ids),
            "sha256": ["0" * 64] * len(ids),
            "recipe": ["test"] * len(ids),
        }
        for factor, (layer, width) in zip((1.0, 0.5), layers.items(), strict=True):
            wide = np.tile(rows * np.float32(factor), (1, width // rows.shape[1]))
            columns[layer] = pa.FixedSizeListArray.from_arrays(pa.array(wide.ravel()), width)
        tables.append(pa.table(columns))
    Workspace(path).write("features/alexnet", pa.concat_tables(tables[::-1]), GIVEN)
