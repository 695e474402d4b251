"""A workspace with photos in which green says good, for the stages that train networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.pictures import encode
from tests.unit.stages.learning_workspace import NOW, write

FOLDS = (0, 1, 2, -1)


def write_photos(path: Path, n: int = 32, *, labels: list[int] | None = None) -> None:
    """Tables `labels` and `images` of `n` photos, two an account, a quarter of them to be tested on."""
    generator = np.random.default_rng(0)
    ids = [f"post{i:03d}" for i in range(n)]
    good = labels or [i % 2 for i in range(n)]
    folds = [FOLDS[i // 2 % len(FOLDS)] for i in range(n)]
    photos = []
    for label in good:
        pixels = generator.integers(0, 160, (64, 64, 3), dtype=np.uint8)
        pixels[:, :, 1] += 90 * label
        photos.append(encode(pixels))
    write(
        path,
        "labels",
        {
            "post_id": ids,
            "user_id": [f"user{i // 2:03d}" for i in range(n)],
            "ratio": [0.1] * n,
            "label": good,
            "threshold": [0.1] * n,
            "fold": folds,
            "split": ["test" if fold < 0 else "train" for fold in folds],
        },
    )
    write(
        path,
        "images",
        {
            "post_id": ids,
            "bytes": photos,
            "byte_size": [len(photo) for photo in photos],
            "fetched_at": [NOW] * n,
            "status": ["ok"] * n,
        },
    )
