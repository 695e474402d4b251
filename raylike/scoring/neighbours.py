"""The labelled photos of a workspace that a network sees as alike to another one.

Whatever is shown of them keeps to the rule of the report: faces of strangers are hidden and posts not named,
unless the settings say otherwise. Knows the workspace's tables. Knows nothing of models.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike import likeness, photo_stream
from raylike.config import OWN_PHOTOS
from raylike.scoring.results import Neighbour
from raylike.vision import decode, thumbnails
from raylike.workspace import Workspace

COUNT = 6
THUMBNAIL_PX = 160
KEPT = 500
"""Thumbnails in memory, 5 kB each."""


class Neighbours:
    """Opened when it is first asked: all features are read once, and 200 bytes a photo kept.

    Parameters
    ----------
    table, layer : where the features lie, and which of them the model reads
    show_photos : None: those of the simulator and of imported files; True: all, with faces and names
    """

    def __init__(self, workspace: Workspace, table: str, layer: str, show_photos: bool | None) -> None:
        self._workspace = workspace
        self._table = table
        self._layer = layer
        self._show_photos = show_photos
        self._thumbnail = lru_cache(KEPT)(self._picture)

    def of(self, features: NDArray[np.float32]) -> tuple[Neighbour, ...]:
        """The photos most alike to one of these features (d,); none where no features are kept."""
        ids, good, projected = self._known
        there = np.flatnonzero(projected.there)
        if not there.size or not projected.rows.shape[1]:
            return ()
        best, cosines = likeness.most_alike(projected.rows[there], projected.place(features), COUNT)
        found = zip(there[best].tolist(), cosines.tolist(), strict=True)
        return tuple(self._neighbour(str(ids[place]), cosine, bool(good[place])) for place, cosine in found)

    def _neighbour(self, post_id: str, cosine: float, good: bool) -> Neighbour:
        hidden = self._is_hidden(post_id)
        return Neighbour("" if hidden else post_id, cosine, good, self._thumbnail(post_id))

    @cached_property
    def _known(self) -> tuple[NDArray[np.str_], NDArray[np.bool_], likeness.Projected]:
        labels = self._workspace.read("labels", ["post_id", "label"]).sort_by("post_id")
        ids = np.array(labels["post_id"].to_pylist(), dtype=str)
        good = labels["label"].to_numpy() > 0
        return ids, good, likeness.project(self._workspace, self._table, self._layer, ids)

    @cached_property
    def _own(self) -> frozenset[str]:
        """Posts of the simulator and of imported files; whatever else there is are other people's."""
        own = pc.field("provider").isin(pa.array(sorted(OWN_PHOTOS)))
        return frozenset(self._workspace.read("posts", ["post_id"], where=own)["post_id"].to_pylist())

    @cached_property
    def _units(self) -> dict[str, photo_stream.Unit]:
        """Where each labelled photo lies."""
        units = photo_stream.plan(self._workspace, self._known[0].tolist())
        return {post_id: unit for unit in units for post_id in unit["post_ids"]}

    def _is_hidden(self, post_id: str) -> bool:
        return post_id not in self._own if self._show_photos is None else not self._show_photos

    def _picture(self, post_id: str) -> bytes | None:
        if post_id not in self._units:
            return None
        only = {**self._units[post_id], "post_ids": [post_id]}
        for _, photo in photo_stream.read(self._workspace, [only]):
            picture = decode.decode(photo, at_least_px=2 * THUMBNAIL_PX)
            if picture is None:
                return None
            if self._is_hidden(post_id):
                picture = thumbnails.hide_faces(picture, self._boxes(post_id))
            return thumbnails.jpeg(thumbnails.square(picture.pixels, THUMBNAIL_PX))
        return None

    def _boxes(self, post_id: str) -> NDArray[np.float64]:
        """All faces that were proposed in a photo, (n, 4): x, y, width, height."""
        found = self._workspace.read("faces", ["faces"], where=pc.field("post_id") == post_id)
        faces = [face for faces in found["faces"].to_pylist() for face in faces]
        sides = [[face[name] for name in ("x", "y", "width", "height")] for face in faces]
        return np.array(sides, np.float64).reshape(-1, 4)
