"""The labelled photos beside what the headline's model thinks of them.

A training photo's score comes from a model that saw nothing of its account, a test photo's from the
final one, so both may be looked at. Knows the tables labels and predictions. Knows nothing of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike.workspace import Workspace


@dataclass(frozen=True)
class ScoredPhotos:
    """Photos in the order of their ids, all arrays (n,).

    Attributes
    ----------
    percentile, liked : percentile of the score, and of likes per follower, among all photos scored
        alike; 0 to 100, equal ones share the middle
    """

    model: str
    ids: NDArray[np.str_]
    accounts: NDArray[np.str_]
    labels: NDArray[np.int8]
    test: NDArray[np.bool_]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    percentile: NDArray[np.float64]
    liked: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> ScoredPhotos:
        """Some of the photos; percentiles stay those among all."""
        arrays = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return ScoredPhotos(model=self.model, **arrays)


def read(workspace: Workspace, labels: pa.Table, model: str, features: str) -> ScoredPhotos | None:
    """The photos that `model` on `features` has scored; None if there are none."""
    chosen = (pc.field("model") == model) & (pc.field("features") == features)
    columns = ["post_id", "evaluation", "score", "probability"]
    found = pa.concat_tables(
        [workspace.read(t, columns, where=chosen) for t in ("predictions", "finetune_predictions")]
    )
    joined = found.join(labels.select(["post_id", "user_id", "label", "ratio"]), "post_id", join_type="inner")
    joined = joined.sort_by("post_id")
    if not joined.num_rows:
        return None
    scores = joined.column("score").to_numpy()
    test = pc.equal(joined.column("evaluation"), "test").to_numpy()
    percentile = np.empty(scores.size)
    for part in (test, ~test):
        percentile[part] = percentiles(scores[part])
    return ScoredPhotos(
        model=f"{model} on {features}",
        ids=np.array(joined.column("post_id").to_pylist(), dtype=str),
        accounts=np.array(joined.column("user_id").to_pylist(), dtype=str),
        labels=joined.column("label").to_numpy(),
        test=test,
        scores=scores,
        probabilities=joined.column("probability").to_numpy(),
        percentile=percentile,
        liked=percentiles(joined.column("ratio").to_numpy()),
    )


def percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of values below each, counting itself and its equals half: (n,), 0 to 100."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return np.asarray(100 * (below + up_to) / (2 * max(1, values.size)), np.float64)
