"""Stage labels: photos of a person become good or bad, and get their place in the split.

Reads cohort and faces; writes labels. A photo is good (1) if its likes per follower lie above the
median of the training photos; test photos have no say in that threshold.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raylike.errors import StageError
from raylike.learning.face_cut import KEPT, UNDECODABLE, cut
from raylike.learning.splits import TEST, assign_folds
from raylike.stage import StageContext, StageReport

NOT_LOOKED_AT = "photo not downloaded"


def run(context: StageContext) -> StageReport:
    """Write labels; the report counts photos left out by reason.

    Raises
    ------
    StageError : if no photo is left, all labels are equal, or there are fewer accounts than folds
    """
    settings = context.settings
    cohort = context.workspace.read(
        "cohort", ["post_id", "user_id", "ratio"], where=pc.field("kept") & pc.field("ratio").is_valid()
    )
    faces = context.workspace.read("faces", ["post_id", "n_faces", "faces", "status"])
    reason_of = dict(
        zip(faces.column("post_id").to_pylist(), cut(faces, settings.faces).tolist(), strict=True)
    )
    cohort = cohort.sort_by("post_id")
    reasons = [reason_of.get(post, NOT_LOOKED_AT) for post in cohort.column("post_id").to_pylist()]
    left_out = Counter(reason for reason in reasons if reason != KEPT)
    photos = cohort.filter(pa.array([reason == KEPT for reason in reasons], pa.bool_()))
    if not photos.num_rows:
        listed = (
            ", ".join(f"{reason} {count}" for reason, count in left_out.most_common())
            or "the cohort is empty"
        )
        raise StageError(
            f"no photo is left: {listed}", "labels", "lower faces.min_confidence, or collect more"
        )

    by_account = settings.labels.protocol == "user"
    groups = photos.column("user_id" if by_account else "post_id").to_pylist()
    folds = assign_folds(
        groups, folds=settings.labels.folds, test_share=settings.labels.test_share, seed=settings.seed
    )
    ratios = photos.column("ratio").to_numpy()
    threshold = float(np.median(ratios[folds != TEST]))
    labels = (ratios > threshold).astype(np.int8)
    if labels.min() == labels.max():
        raise StageError(
            f"all {labels.size} photos get the same label: no ratio lies above the median {threshold:g}",
            "labels",
            "likes and followers must differ between photos",
        )
    table = pa.table(
        {
            "post_id": photos.column("post_id"),
            "user_id": photos.column("user_id"),
            "ratio": ratios,
            "label": labels,
            "threshold": np.full(labels.size, threshold),
            "fold": folds,
            "split": pa.array(np.where(folds == TEST, "test", "train").tolist(), pa.string()),
        }
    )
    context.workspace.write("labels", table, context.commit)
    n_test = int((folds == TEST).sum())
    notes = [
        f"{labels.size - n_test} training photos in {settings.labels.folds} folds, {n_test} test photos; "
        f"good above {threshold:.4f} likes per follower ({labels.mean():.1%} are)"
    ]
    if not by_account:
        notes.append(
            "photos were split at random, as in the study: accounts lie on both sides, so scores flatter"
        )
    failed = {UNDECODABLE: left_out.pop(UNDECODABLE)} if UNDECODABLE in left_out else {}
    return StageReport(
        len(reasons), labels.size, skipped=dict(left_out.most_common()), failed=failed, notes=tuple(notes)
    )
