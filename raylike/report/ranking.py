"""The galleries' photos: the ends of a ranking, with what is known of each photo.

Knows scores, labels, cohort and captions; decides whether names and photos may be shown. Reads no
photo (`galleries.py` does).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raylike.config import Settings
from raylike.report import learned
from raylike.report.facts import Gallery, Model, RankedPhoto
from raylike.workspace import Workspace

OWN_PHOTOS = frozenset({"simulator", "files"})
"""Sources whose photos show nobody, or were given by the user: they may be shown unasked."""
MAX_CAPTION = 140
"""Characters of a caption that a gallery shows."""


def shows_photos(settings: Settings) -> bool:
    """Whether photos and names appear on the page."""
    wanted = settings.report.show_photos
    return settings.source.name in OWN_PHOTOS if wanted is None else wanted


def gallery(
    workspace: Workspace,
    models: tuple[Model, ...],
    cohort: pa.Table,
    labels: pa.Table,
    settings: Settings,
) -> Gallery | None:
    """The ends of the ranking by the headline's model, or by the first one that ranks; None without any."""
    scores = workspace.read("scores")
    if not scores.num_rows:
        return None
    headline = learned.headline(models)
    ranked = sorted(set(scores.column("model").to_pylist()))
    wanted = f"{headline.model} on {headline.features}" if headline else ""
    model = wanted if wanted in ranked else ranked[0]
    ordered = scores.filter(pc.equal(scores.column("model"), model)).sort_by("rank").to_pylist()
    ends = settings.report.ends
    best, worst = ordered[: max(settings.report.top, ends)], ordered[::-1][:ends]
    shown = pa.array(sorted({row["post_id"] for row in best + worst}), pa.string())
    show = shows_photos(settings)
    photos = _describe(workspace, shown, cohort, labels, show)
    best_photos = tuple(_ranked(row, photos, show) for row in best)
    worst_photos = tuple(_ranked(row, photos, show) for row in worst)
    return Gallery(
        model=model,
        weights=next((m.weights for m in models if m.name == model), ""),
        n_photos=len(ordered),
        n_ends=min(ends, len(ordered)),
        shows_photos=show,
        best=best_photos,
        worst=worst_photos,
        good_among_best=_good_share(best_photos[:ends]),
        good_among_worst=_good_share(worst_photos),
    )


def _describe(
    workspace: Workspace, post_ids: pa.Array, cohort: pa.Table, labels: pa.Table, show: bool
) -> dict[str, dict[str, Any]]:
    """Label, likes, followers and, where it may be shown, the caption of some posts."""
    described: dict[str, dict[str, Any]] = {post: {} for post in post_ids.to_pylist()}
    sources = [labels.select(["post_id", "label"]), cohort.select(["post_id", "likes", "followers"])]
    if show:
        sources.append(
            workspace.read("posts", ["post_id", "caption"], where=pc.field("post_id").isin(post_ids))
        )
    for source in sources:
        for row in source.filter(pc.is_in(source.column("post_id"), value_set=post_ids)).to_pylist():
            described[row["post_id"]] |= row
    return described


def _ranked(row: dict[str, Any], photos: dict[str, dict[str, Any]], show: bool) -> RankedPhoto:
    photo = photos[row["post_id"]]
    label, caption = photo.get("label"), photo.get("caption")
    return RankedPhoto(
        rank=row["rank"],
        probability=row["probability"],
        good=None if label is None else label == 1,
        likes=photo.get("likes"),
        followers=photo.get("followers"),
        post_id=row["post_id"] if show else None,
        caption=_shorten(caption) if show and caption else None,
    )


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_CAPTION else text[: MAX_CAPTION - 1].rstrip() + "…"


def _good_share(photos: tuple[RankedPhoto, ...]) -> float | None:
    known = [photo.good for photo in photos if photo.good is not None]
    return sum(known) / len(known) if known else None
