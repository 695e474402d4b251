"""The galleries' photos: parts of a ranking, with what is known of each photo.

Knows scores, labels, cohort and captions; decides whether people may be recognised. Reads no photo
(`album.py` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raylike.config import OWN_PHOTOS, Settings
from raylike.report import learned
from raylike.report.facts import Gallery, Model, RankedPhoto
from raylike.workspace import Workspace

MAX_CAPTION = 140
"""Characters of a caption that a gallery shows."""
CONTINUUM = 60
MOST_WRONG = 10
"""Photos of each kind."""

Row = dict[str, Any]


def anonymised(settings: Settings) -> bool:
    """Whether faces and names are kept off the page."""
    wanted = settings.report.show_photos
    return settings.source.name not in OWN_PHOTOS if wanted is None else not wanted


def pictures(labels: pa.Table) -> dict[str, int]:
    """The number by which the page calls each labelled photo: its place among them by id."""
    return {post: number for number, post in enumerate(sorted(labels.column("post_id").to_pylist()))}


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
    models_there = sorted(set(scores.column("model").to_pylist()))
    wanted = f"{headline.model} on {headline.features}" if headline else ""
    model = wanted if wanted in models_there else models_there[0]
    ordered = scores.filter(pc.equal(scores.column("model"), model)).sort_by("rank").to_pylist()
    ends = settings.report.ends
    parts = _parts(ordered, max(settings.report.top, ends), ends, labels)
    hidden = anonymised(settings)
    shown = pa.array(sorted({row["post_id"] for part in parts.values() for row in part}), pa.string())
    photos = _describe(workspace, shown, cohort, labels, not hidden)
    numbers = pictures(labels)
    ranked = {
        name: tuple(_ranked(row, photos, numbers, not hidden) for row in part) for name, part in parts.items()
    }
    return Gallery(
        model=model,
        weights=next((m.weights for m in models if m.name == model), ""),
        n_photos=len(ordered),
        n_ends=min(ends, len(ordered)),
        anonymised=hidden,
        good_among_best=_good_share(ranked["best"][:ends]),
        good_among_worst=_good_share(ranked["worst"]),
        **ranked,
    )


def _parts(ordered: list[Row], top: int, ends: int, labels: pa.Table) -> dict[str, list[Row]]:
    """Rows of the ranking by gallery."""
    good = dict(zip(labels.column("post_id").to_pylist(), labels.column("label").to_pylist(), strict=True))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(CONTINUUM, len(ordered))).round().astype(int))
    upper, lower = ordered[: len(ordered) // 2], ordered[::-1][: len(ordered) // 2]
    return {
        "best": ordered[:top],
        "worst": ordered[::-1][:ends],
        "continuum": [ordered[place] for place in places[::-1]],
        "overrated": [row for row in upper if good.get(row["post_id"]) == 0][:MOST_WRONG],
        "underrated": [row for row in lower if good.get(row["post_id"]) == 1][:MOST_WRONG],
    }


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


def _ranked(row: Row, photos: dict[str, Row], numbers: Mapping[str, int], show: bool) -> RankedPhoto:
    photo = photos[row["post_id"]]
    label, caption = photo.get("label"), photo.get("caption")
    return RankedPhoto(
        picture=numbers.get(row["post_id"]),
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
