"""What the report can say only after looking at photos or features: traits, neighbours, the map, pictures.

Every photo that is wanted for anything is decoded once. Knows the workspace, settings and `Facts`. Knows
nothing of plots and HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike import likeness
from raylike.config import FacesSettings, Settings
from raylike.report import album, explaining, photo_map, ranking, scored_photos
from raylike.report.facts import Facts, Gallery, RankedPhoto
from raylike.report.photo_facts import NearPhoto, Neighbourhood, PhotoMap, Traits
from raylike.report.scored_photos import ScoredPhotos
from raylike.report.traits import traits
from raylike.tables import feature_layers, features_name
from raylike.vision import detectors
from raylike.workspace import Workspace

QUERIES, NEAREST = 4, 7
"""Photos of each end whose neighbours are shown, and neighbours of each."""
NOT_SCORED = -1
NO_TILE = -1


@dataclass(frozen=True)
class Pictured:
    """Facts complete, and pictures: thumbnails by number, and the sheet of tiles; all data URIs."""

    facts: Facts
    thumbnails: dict[int, str]
    sheet: str | None


@dataclass(frozen=True)
class _Photos:
    """The labelled photos in the order of their ids, and a sample of them to look at (sorted places)."""

    ids: NDArray[np.str_]
    accounts: NDArray[np.str_]
    labels: NDArray[np.int8]
    test: NDArray[np.bool_]
    sample: NDArray[np.int64]


def picture(workspace: Workspace, facts: Facts, settings: Settings) -> Pictured:
    """Look at photos and features, and add what they show to the facts."""
    labels = workspace.read("labels").sort_by("post_id")
    if not labels.num_rows:
        return Pictured(facts, {}, None)
    photos = _photos(labels, settings)
    scored = None
    if facts.headline is not None:
        scored = scored_photos.read(workspace, labels, facts.headline.model, facts.headline.features)
    backbone, layers = settings.features.backbone, settings.features.layers
    layer = feature_layers(backbone, layers)[-1]
    projected = likeness.project(workspace, features_name(backbone, layers), layer, photos.ids)
    neighbourhoods = _neighbourhoods(facts.gallery, photos, projected.rows, projected.there)
    placed = np.flatnonzero(projected.there)
    layout = photo_map.lay_out(projected.rows[placed], settings.seed)

    numbers = sorted(_shown(facts.gallery, neighbourhoods))
    sample = photos.ids[photos.sample].tolist()
    wanted = album.Wanted(
        thumbnails=photos.ids[numbers].tolist(),
        tiles=sample if layout else (),
        measured=sample if scored else (),
        thumbnail_px=settings.report.thumbnail_px,
        tile_px=settings.report.tile_px,
        anonymised=ranking.anonymised(settings),
    )
    seen = album.look(workspace, wanted, _faces(workspace, photos.ids, settings.faces))
    tiles = sorted(seen.tiles)
    columns = max(1, math.isqrt(len(tiles)))
    found = replace(
        facts,
        traits=_traits(scored, seen, labels.num_rows, settings.seed),
        neighbourhoods=neighbourhoods,
        occlusions=explaining.explain(workspace, settings, facts.gallery),
    )
    if layout is not None:
        shape = {"tile_px": wanted.tile_px, "columns": columns}
        places = {post: number for number, post in enumerate(tiles)}
        found = replace(found, photo_map=_map(layer, layout, photos, placed, scored, places, **shape))
    return Pictured(
        facts=found,
        thumbnails={
            number: album.data_uri(seen.thumbnails[post])
            for number, post in zip(numbers, wanted.thumbnails, strict=True)
            if post in seen.thumbnails
        },
        sheet=album.data_uri(album.sheet([seen.tiles[post] for post in tiles], columns)) if tiles else None,
    )


def _photos(labels: pa.Table, settings: Settings) -> _Photos:
    n = labels.num_rows
    size = min(n, settings.report.looked_at)
    return _Photos(
        ids=np.array(labels.column("post_id").to_pylist(), dtype=str),
        accounts=np.array(labels.column("user_id").to_pylist(), dtype=str),
        labels=labels.column("label").to_numpy(),
        test=pc.equal(labels.column("split"), "test").to_numpy(),
        sample=np.sort(np.random.default_rng(settings.seed).choice(n, size, replace=False)),
    )


def _shown(gallery: Gallery | None, neighbourhoods: Iterable[Neighbourhood]) -> set[int]:
    """Numbers of all photos that stand on the page as thumbnails."""
    ranked: tuple[RankedPhoto, ...] = ()
    if gallery is not None:
        ranked = gallery.best + gallery.worst + gallery.continuum + gallery.overrated + gallery.underrated
    numbers = [photo.picture for photo in ranked]
    numbers += [photo.picture for around in neighbourhoods for photo in around.nearest]
    return {number for number in numbers if number is not None}


def _neighbourhoods(
    gallery: Gallery | None, photos: _Photos, rows: NDArray[np.float32], there: NDArray[np.bool_]
) -> tuple[Neighbourhood, ...]:
    """The photos most alike to the first ones of both ends."""
    if gallery is None or not rows.shape[1]:
        return ()
    queries = {photo.rank: photo for photo in gallery.best[:QUERIES] + gallery.worst[:QUERIES][::-1]}
    known = np.flatnonzero(there)
    found = []
    for rank, photo in sorted(queries.items()):
        if photo.picture is None or not there[photo.picture]:
            continue
        query = int(np.searchsorted(known, photo.picture))
        best, cosines = likeness.nearest(rows[known], photos.accounts[known], query, NEAREST)
        near = tuple(
            NearPhoto(int(known[place]), float(cosine), bool(photos.labels[known[place]]))
            for place, cosine in zip(best, cosines, strict=True)
        )
        found.append(Neighbourhood(rank, photo.picture, bool(photos.labels[photo.picture]), near))
    return tuple(found)


def _map(
    layer: str,
    layout: tuple[NDArray[np.int64], float],
    photos: _Photos,
    placed: NDArray[np.int64],
    scored: ScoredPhotos | None,
    tiles: dict[str, int],
    tile_px: int,
    columns: int,
) -> PhotoMap:
    places, perplexity = layout
    percentile = (
        dict(zip(scored.ids.tolist(), scored.percentile.round().tolist(), strict=True)) if scored else {}
    )
    ids = photos.ids[placed].tolist()
    return PhotoMap(
        layer=layer,
        perplexity=perplexity,
        x=tuple(places[:, 0].tolist()),
        y=tuple(places[:, 1].tolist()),
        percentile=tuple(int(percentile.get(post, NOT_SCORED)) for post in ids),
        good=tuple((photos.labels[placed] > 0).tolist()),
        test=tuple(photos.test[placed].tolist()),
        tile=tuple(tiles.get(post, NO_TILE) for post in ids),
        tile_px=tile_px,
        columns=columns,
    )


def _traits(scored: ScoredPhotos | None, seen: album.Album, n_labelled: int, seed: int) -> Traits | None:
    if scored is None:
        return None
    rows = np.flatnonzero([post in seen.attributes for post in scored.ids.tolist()])
    photos = scored.take(rows)
    return traits(photos, [seen.attributes[post] for post in photos.ids.tolist()], n_labelled, seed)


def _faces(workspace: Workspace, ids: NDArray[np.str_], settings: FacesSettings) -> dict[str, album.Faces]:
    """The boxes in each photo: all that were proposed, and those that count."""
    table = workspace.read("faces", ["post_id", "faces"], where=pc.field("post_id").isin(ids.tolist()))
    cut = detectors.min_confidence(settings)
    return {
        post: album.Faces(
            proposed=_boxes(faces),
            counted=_boxes(
                face
                for face in faces
                if face["confidence"] >= cut and face["area_fraction"] >= settings.min_area_fraction
            ),
        )
        for post, faces in zip(table["post_id"].to_pylist(), table["faces"].to_pylist(), strict=True)
    }


def _boxes(faces: Iterable[dict[str, float]]) -> NDArray[np.float64]:
    sides = [[face[name] for name in ("x", "y", "width", "height")] for face in faces]
    return np.array(sides, np.float64).reshape(-1, 4)
