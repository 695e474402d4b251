"""How well a model does on parts of the test photos: small and large accounts, one face and several.

A figure over all photos can hide that a model serves some accounts only. Groups are formed by what is known
of every photo: the account's followers, in thirds, and the faces that were found.

Knows the `cohort` and `faces` tables. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.learning.evaluation import evaluate
from raylike.learning.photos import Photos
from raylike.workspace import Workspace

FEWEST = 20
"""Photos of each kind below which a group's figure says nothing."""
THIRDS = ("fewest followers", "middle", "most followers")


def scores_by_group(
    workspace: Workspace,
    photos: Photos,
    scores: NDArray[np.float64],
    part: NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """For each group its name, photos, share of good ones, and AP with its interval; None where too few.

    Parameters
    ----------
    scores : of all photos, (n,)
    part : indices of the photos to judge
    """
    rows = []
    for name, chosen in _groups(workspace, photos, part):
        labels = photos.labels[chosen]
        row: dict[str, Any] = {"group": name, "n": int(chosen.size), "ap": None}
        if chosen.size:
            row["positive_rate"] = float(labels.mean())
        if min((labels > 0).sum(), (labels == 0).sum()) >= FEWEST:
            (found,) = evaluate(
                labels,
                scores[None, chosen],
                np.zeros(1),
                photos.groups[chosen],
                resamples=resamples,
                seed=seed,
            )
            row["ap"] = [found.ap.value, found.ap.low, found.ap.high]
        rows.append(row)
    return rows


def _groups(
    workspace: Workspace, photos: Photos, part: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    followers = _column(workspace, "cohort", "followers", photos)[part]
    if np.isfinite(followers).any():
        bounds = np.nanquantile(followers, (1 / 3, 2 / 3))
        thirds = np.searchsorted(bounds, followers, side="left")
        for third, name in enumerate(THIRDS):
            yield f"accounts: {name}", part[(thirds == third) & np.isfinite(followers)]
    faces = _column(workspace, "faces", "n_faces", photos)[part]
    if np.isfinite(faces).any():
        yield "photos: one face", part[faces == 1]
        yield "photos: several faces", part[faces > 1]


def _column(workspace: Workspace, table: str, column: str, photos: Photos) -> NDArray[np.float64]:
    """A column for all photos, (n,); NaN where it is not known."""
    rows = workspace.read(table, ["post_id", column])
    wanted = pa.table({"post_id": pa.array(photos.ids.tolist(), pa.string())})
    found = wanted.join(rows, "post_id").sort_by("post_id")
    return np.asarray(found.column(column).cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)
