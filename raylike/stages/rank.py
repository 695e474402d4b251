"""Stage rank: the test photos from best to worst, by what the photo models think of them.

Reads labels, the predictions and results of classify and, where it ran, of finetune; writes scores.
Ranked are the best of classify's models that look at photos, judged by cross-validated AP (never by
the test photos that are about to be ranked), and the fine-tuned network. The metadata baseline and the
simulator's oracle do not look at photos and are left out.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raylike.errors import StageError
from raylike.stage import StageContext, StageReport

NOT_FROM_PIXELS = ("metadata", "truth")
"""Features of models that never see a photo."""
CROSS_VALIDATION = "cross-validation"


def run(context: StageContext) -> StageReport:
    """Write scores; `model` is "LinearSVC on fc6" or the like.

    Raises
    ------
    StageError : if no model has scored the test photos
    """
    workspace = context.workspace
    chosen = _best(workspace.read("results"))
    predictions = pa.concat_tables([workspace.read("predictions"), workspace.read("finetune_predictions")])
    fine_tuned = workspace.read("finetune_predictions", ["model", "features"])
    models = ([chosen] if chosen else []) + sorted(set(_pairs(fine_tuned)))
    rankings = [
        ranking for model, features in models if (ranking := _rank(predictions, model, features)).num_rows
    ]
    if not rankings:
        raise StageError("no model has scored a test photo", "rank", "run `raylike classify` first")
    scores = pa.concat_tables(rankings)
    workspace.write("scores", scores, context.commit)
    notes = tuple(f"ranked by {name}" for name in dict.fromkeys(scores.column("model").to_pylist()))
    return StageReport(len(set(scores.column("post_id").to_pylist())), scores.num_rows, notes=notes)


def display_name(model: str, features: str) -> str:
    """The name of a model in the scores table."""
    return f"{model} on {features}"


def _best(results: pa.Table) -> tuple[str, str] | None:
    """Model and features with the highest cross-validated AP; the first by name of equals."""
    looks = pc.invert(pc.is_in(results.column("features"), pa.array(NOT_FROM_PIXELS)))
    judged = results.filter(pc.and_(looks, pc.equal(results.column("evaluation"), CROSS_VALIDATION)))
    if not judged.num_rows:
        return None
    ranked = judged.sort_by([("ap", "descending"), ("model", "ascending"), ("features", "ascending")])
    return _pairs(ranked)[0]


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table.column("model").to_pylist(), table.column("features").to_pylist(), strict=True))


def _rank(predictions: pa.Table, model: str, features: str) -> pa.Table:
    """Test photos by falling probability; equal ones by score, then by id."""
    mine = predictions.filter(
        (pc.field("model") == model) & (pc.field("features") == features) & (pc.field("evaluation") == "test")
    )
    ordered = mine.sort_by([("probability", "descending"), ("score", "descending"), ("post_id", "ascending")])
    return pa.table(
        {
            "post_id": ordered.column("post_id"),
            "model": pa.array([display_name(model, features)] * ordered.num_rows, pa.string()),
            "probability": ordered.column("probability"),
            "rank": np.arange(1, ordered.num_rows + 1),
        }
    )
