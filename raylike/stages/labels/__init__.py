"""Stage labels: photos of a person become good or bad, and get their place in the split.

Reads cohort, faces, images (no photo bytes) and posts; writes duplicates, label_designs and, last, labels.
Which photos those are, `choosing.py` says. First each gets its side, by `labels.protocol`; then its label,
by `labels.design`, and by each of the other designs too, so that they can be compared on the same photos
and the same split. Test photos have no say in what a design learns.
"""

from __future__ import annotations

from collections import Counter
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike.config import LabelsSettings, Settings
from raylike.errors import StageError
from raylike.learning.face_cut import UNDECODABLE
from raylike.learning.label_designs import NO_LABEL, NO_PAIR, NO_PARTNER, Design, Labels, Popularity, label
from raylike.learning.splits import (
    BOTH_SIDES,
    LEFT_OUT,
    TEST,
    assign_folds,
    assign_folds_forward,
    join_groups,
    refuse_leaks,
)
from raylike.stage import StageContext, StageReport
from raylike.stages.labels.choosing import choose
from raylike.tables import LABEL_DESIGNS

STUDY_WARNING = (
    "photos were split at random, as in the study: accounts lie on both sides, so scores flatter; "
    "classify says by how much"
)


def run(context: StageContext) -> StageReport:
    """Write duplicates, label_designs and labels; the report counts photos left out by reason.

    Raises
    ------
    StageError : if no photo is left, all labels are equal, or there are fewer accounts than folds
    """
    settings, workspace = context.settings.labels, context.workspace
    cohort = workspace.read(
        "cohort", ["post_id", "user_id", "likes", "followers", "ratio"],
        where=pc.field("kept") & pc.field("ratio").is_valid(),
    )  # fmt: skip
    left_out: Counter[str] = Counter()
    photos, duplicates = choose(cohort, workspace, context.settings, left_out)
    photos, folds = _split(photos, context.settings, left_out)
    photos, folds, designs = _label(photos, folds, settings, left_out)
    chosen = designs[settings.design].values
    ratios = photos.column("ratio").to_numpy()
    threshold = float(np.median(ratios[folds != TEST]))
    table = pa.table(
        {
            "post_id": photos.column("post_id"),
            "user_id": photos.column("user_id"),
            "ratio": ratios,
            "label": chosen,
            "threshold": np.full(chosen.size, threshold),
            "fold": folds,
            "split": pa.array(np.where(folds == TEST, "test", "train").tolist(), pa.string()),
        }
    )
    workspace.write("duplicates", duplicates, context.commit)
    workspace.write("label_designs", _design_rows(photos, designs), context.commit)
    workspace.write("labels", table, context.commit)
    failed = {UNDECODABLE: left_out.pop(UNDECODABLE)} if UNDECODABLE in left_out else {}
    return StageReport(
        cohort.num_rows,
        chosen.size,
        skipped=dict(left_out.most_common()),
        failed=failed,
        notes=_notes(chosen, folds, threshold, duplicates, settings),
    )


def _split(
    photos: pa.Table, settings: Settings, left_out: Counter[str]
) -> tuple[pa.Table, NDArray[np.int32]]:
    """The photos that have a side, and the fold of each. Raises `StageError`; a leak is one, too."""
    chosen = settings.labels
    by_photo = chosen.protocol == "study"
    groups = join_groups(
        photos.column("post_id" if by_photo else "user_id").to_pylist(), photos.column("first").to_pylist()
    )
    if chosen.protocol == "time":
        folds = assign_folds_forward(
            groups, _posted_s(photos), folds=chosen.folds, test_share=chosen.test_share, seed=settings.seed
        )
    else:
        folds = assign_folds(groups, folds=chosen.folds, test_share=chosen.test_share, seed=settings.seed)
    refuse_leaks(folds, photos.column("first").to_pylist(), "groups of copies")
    if not by_photo:
        refuse_leaks(folds, photos.column("user_id").to_pylist(), "accounts")
    has_side = folds != LEFT_OUT
    left_out.update({BOTH_SIDES: int((~has_side).sum())} if not has_side.all() else {})
    return photos.filter(pa.array(has_side)), folds[has_side]


def _label(
    photos: pa.Table,
    folds: NDArray[np.int32],
    settings: LabelsSettings,
    left_out: Counter[str],
) -> tuple[pa.Table, NDArray[np.int32], dict[Design, Labels]]:
    """The photos that the chosen design labels, their folds, and what every design says of them.

    Raises
    ------
    StageError : if that label is the same for all
    """
    popularity = _popularity(photos)
    labelled = label(settings.design, popularity, folds != TEST).values != NO_LABEL
    if not labelled.all():
        left_out.update({NO_PARTNER: int((~labelled).sum())})
        photos, folds = photos.filter(pa.array(labelled)), folds[labelled]
        popularity = _popularity(photos)
    if not (folds != TEST).any():
        raise StageError(
            "no training photo has a label", "labels", "collect more, or choose another labels.design"
        )
    designs = {design: label(design, popularity, folds != TEST) for design in get_args(Design)}
    values = designs[settings.design].values
    if values.min() == values.max():
        raise StageError(
            f"all {values.size} photos get the same label by {settings.design}",
            "labels",
            "likes and followers must differ between photos",
        )
    return photos, folds, designs


def _popularity(photos: pa.Table) -> Popularity:
    return Popularity(
        likes=photos.column("likes").to_numpy(),
        followers=photos.column("followers").to_numpy(),
        users=np.array(photos.column("user_id").to_pylist(), dtype=str),
        posted_s=_posted_s(photos),
        n_tags=photos.column("n_tags").fill_null(0).to_numpy(),
    )


def _posted_s(photos: pa.Table) -> NDArray[np.float64]:
    """When each photo was posted, Unix seconds."""
    seconds: NDArray[np.float64] = photos.column("created_at").cast(pa.int64()).fill_null(0).to_numpy() / 1e6
    return seconds


def _design_rows(photos: pa.Table, designs: dict[Design, Labels]) -> pa.Table:
    tables = []
    for design, found in designs.items():
        rows = pa.table(
            {
                "post_id": photos.column("post_id"),
                "design": pa.array([design] * photos.num_rows, pa.string()),
                "label": found.values,
                "pair": pa.array(found.pairs, mask=found.pairs == NO_PAIR),
            },
            schema=LABEL_DESIGNS.schema,
        )
        tables.append(rows.filter(pa.array(found.values != NO_LABEL)))
    return pa.concat_tables(tables)


def _notes(
    labels: NDArray[np.int8],
    folds: NDArray[np.int32],
    threshold: float,
    duplicates: pa.Table,
    settings: LabelsSettings,
) -> tuple[str, ...]:
    n_test = int((folds == TEST).sum())
    by = f"above {threshold:.4f} likes per follower" if settings.design == "ratio_median" else settings.design
    notes = [
        f"{labels.size - n_test} training photos in {settings.folds} folds, {n_test} test photos; "
        f"good {'' if settings.design == 'ratio_median' else 'by '}{by} ({labels.mean():.1%} are)"
    ]
    if duplicates.num_rows:
        notes.append(_say_copies(duplicates, settings))
    if settings.protocol == "study":
        notes.append(STUDY_WARNING)
    return tuple(notes)


def _say_copies(duplicates: pa.Table, settings: LabelsSettings) -> str:
    """How many copies there are, of how many photos, and how many of the one that has most."""
    copies_of: NDArray[np.int64] = np.array(
        [count["counts"] for count in pc.value_counts(duplicates.column("duplicate_of")).to_pylist()]
    )
    originals = f"{copies_of.size} photo{'s' if copies_of.size > 1 else ''}"
    fate = "left out" if settings.duplicates == "drop" else "kept, all on one side"
    return f"{duplicates.num_rows} copies of {originals}, {copies_of.max()} of one, {fate}: table duplicates"
