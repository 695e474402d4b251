"""Which photos get a label: those of people, each once, and not too many of one account.

Photos are left out in three steps, each counted by reason: without a face above the cut; copies of a photo
that stays; above the cap of their account.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from raylike.config import LabelsSettings, Settings
from raylike.errors import StageError
from raylike.learning.duplicates import EXACT, NEAR, groups_of_copies
from raylike.learning.face_cut import KEPT, cut
from raylike.learning.splits import OVER_THE_CAP, within_cap
from raylike.tables import DUPLICATES
from raylike.vision.perceptual_hash import distance
from raylike.workspace import Workspace

NOT_LOOKED_AT = "photo not downloaded"


def choose(
    cohort: pa.Table, workspace: Workspace, settings: Settings, left_out: Counter[str]
) -> tuple[pa.Table, pa.Table]:
    """The photos that stay, in order of post_id, and the table of copies; the others are counted by reason.

    Columns `created_at` and `n_tags` of their posts are added.

    Raises
    ------
    StageError : if none stays
    """
    photos = _leave_out(cohort, _without_face(cohort, workspace, settings), left_out)
    if not photos.num_rows:
        listed = (
            ", ".join(f"{reason} {count}" for reason, count in left_out.most_common())
            or "the cohort is empty"
        )
        raise StageError(
            f"no photo is left: {listed}", "labels", "lower faces.min_confidence, or collect more"
        )
    photos = photos.join(_posts(workspace), "post_id", join_type="left outer")
    photos, duplicates = _mark_copies(photos, workspace, settings.labels)
    if settings.labels.duplicates == "drop":
        photos = _leave_out(photos, photos.column("copy").to_pylist(), left_out)
    photos = _leave_out(photos, _over_the_cap(photos, settings), left_out)
    return photos.sort_by("post_id"), duplicates


def _posts(workspace: Workspace) -> pa.Table:
    """When each post was made, and with how many tags."""
    posts = workspace.read("posts", ["post_id", "created_at", "tags"])
    n_tags = pc.fill_null(pc.list_value_length(posts.column("tags")), 0)
    return posts.drop_columns("tags").append_column("n_tags", n_tags)


def _leave_out(photos: pa.Table, reasons: list[str], left_out: Counter[str]) -> pa.Table:
    """The photos whose reason is `KEPT`; the others are counted."""
    left_out.update(reason for reason in reasons if reason != KEPT)
    return photos.filter(pa.array([reason == KEPT for reason in reasons], pa.bool_()))


def _without_face(photos: pa.Table, workspace: Workspace, settings: Settings) -> list[str]:
    """Why each photo is left out for what it shows."""
    faces = workspace.read("faces", ["post_id", "n_faces", "faces", "status"])
    reason_of = dict(
        zip(faces.column("post_id").to_pylist(), cut(faces, settings.faces).tolist(), strict=True)
    )
    return [reason_of.get(post, NOT_LOOKED_AT) for post in photos.column("post_id").to_pylist()]


def _mark_copies(
    photos: pa.Table, workspace: Workspace, settings: LabelsSettings
) -> tuple[pa.Table, pa.Table]:
    """The photos with two more columns, and the table of those that are copies.

    Of a photo and its copies the first posted stands for all: reposts come after it. Where the time is the
    same, as with imported posts that have none, it is the smallest post_id. Column `first` names it for
    each photo, and `copy` says what the photo is then: `KEPT` for the first itself, `EXACT` or `NEAR`.
    """
    for table, column in (("images", "sha256"), ("faces", "phash")):
        photos = photos.join(workspace.read(table, ["post_id", column]), "post_id", join_type="left outer")
    photos = photos.sort_by([("created_at", "ascending"), ("post_id", "ascending")])
    ids, sha256, phash = (photos.column(name).to_pylist() for name in ("post_id", "sha256", "phash"))
    first_of = groups_of_copies(sha256, phash, settings.near_duplicate_bits).tolist()
    kinds, rows = [], []
    for row, first in enumerate(first_of):
        same_bytes = sha256[row] is not None and sha256[row] == sha256[first]
        kinds.append(KEPT if row == first else EXACT if same_bytes else NEAR)
        if row != first:
            bits = 0 if same_bytes else distance(phash[row], phash[first])
            rows.append({"post_id": ids[row], "duplicate_of": ids[first], "kind": kinds[row], "bits": bits})
    photos = photos.append_column("first", pa.array([ids[first] for first in first_of], pa.string()))
    photos = photos.append_column("copy", pa.array(kinds, pa.string()))
    return photos, pa.Table.from_pylist(rows, schema=DUPLICATES.schema).sort_by("post_id")


def _over_the_cap(photos: pa.Table, settings: Settings) -> list[str]:
    """`OVER_THE_CAP` for the photos that exceed their account's share, by a draw that looks at no likes."""
    users, ids = photos.column("user_id").to_pylist(), photos.column("post_id").to_pylist()
    most = settings.labels.max_per_user or len(ids)
    return [KEPT if stays else OVER_THE_CAP for stays in within_cap(users, ids, most, settings.seed)]
