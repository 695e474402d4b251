"""A workspace's scorer, and photos that go past it batch by batch.

Knows settings and the modules beside it. Knows nothing of Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raylike import feature_rows
from raylike.config import Settings
from raylike.learning import linear_model
from raylike.scoring import models
from raylike.scoring.neighbours import Neighbours
from raylike.scoring.results import PhotoScore, Wanted
from raylike.scoring.scorer import Scorer, Unread, face_finder
from raylike.scoring.sources import Reader, Source, in_batches
from raylike.tables import features_name
from raylike.vision.inspection import Limits
from raylike.workspace import Workspace

BATCH = 16
"""Photos held at a time: at most so many times `download.max_bytes`."""


def open_scorer(
    workspace: Workspace, settings: Settings, name: str | None = None
) -> tuple[Scorer, tuple[str, ...]]:
    """The scorer that a workspace's model makes, and what a user should know of it.

    Raises as `models.opened` does.
    """
    model = models.opened(workspace, name)
    faces, why_none = face_finder(settings.faces)
    limits = Limits(settings.download.max_pixels, settings.download.min_side_px)
    near = neighbours(workspace, model.source, settings.report.show_photos)
    return Scorer(model, faces, limits, near), (*model.notes, *([why_none] if why_none else []))


def neighbours(
    workspace: Workspace, source: linear_model.Source | None, show_photos: bool | None
) -> Neighbours | None:
    """Whom photos can be compared with: those of the features table that the model learned from.

    None for a model of no such table, and where the table has been made anew by another recipe since.
    """
    if source is None:
        return None
    table = features_name(source.backbone, source.layers)
    if source.recipe not in (None, feature_rows.recipe_in_force(workspace, table)):
        return None
    return Neighbours(workspace, table, source.layer, show_photos)


def scorer(workspace: Workspace, settings: Settings, name: str | None = None) -> Scorer:
    """The scorer alone, for processes whose user was told already."""
    return open_scorer(workspace, settings, name)[0]


def score_each(
    sources: Sequence[Source], reader: Reader, by: Scorer, wanted: Wanted
) -> Iterator[tuple[PhotoScore, bytes | Unread]]:
    """Each photo's result and bytes, in order, as batches are done."""
    for batch in in_batches(sources, BATCH):
        photos = reader.read(batch)
        for result, (_, data) in zip(by.score(photos, wanted), photos, strict=True):
            yield result, data
