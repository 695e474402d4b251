"""What the stage classify reads: photos with their labels and folds, features, metadata, label designs.

Knows the workspace's tables. Knows nothing of models.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.config import FeaturesSettings
from raylike.errors import StageError
from raylike.learning import metadata
from raylike.learning.label_designs import NO_LABEL
from raylike.learning.photos import Photos
from raylike.tables import features_name
from raylike.workspace import Workspace

MEMORY_SHARE = 0.5
"""Of the memory that is free: solvers read a layer in blocks, so that a larger one can stay on the disk."""


@dataclass(frozen=True)
class FeatureTable:
    """Where a network's features lie.

    Attributes
    ----------
    name : of the table
    orientations : flipped or not: those that are there, ascending
    weights : what the network's weights were
    """

    name: str
    orientations: tuple[bool, ...]
    weights: str


def read_photos(workspace: Workspace, settings: FeaturesSettings) -> tuple[Photos, FeatureTable, int]:
    """The labelled photos that have all features, by id; where these are; how many have a label at all.

    Raises
    ------
    StageError : if none has features, features of several networks are mixed, or there are too few photos
        to learn from and to test on
    """
    labels = workspace.read("labels", ["post_id", "user_id", "label", "fold", "ratio"]).sort_by("post_id")
    table = features_name(settings.backbone, settings.layers)
    found, complete = _find_features(workspace, table, labels.column("post_id"))
    n_labelled = labels.num_rows
    labels = labels.filter(pa.array(complete, pa.bool_()))
    photos = Photos(
        ids=np.array(labels.column("post_id").to_pylist(), dtype=str),
        groups=np.array(labels.column("user_id").to_pylist(), dtype=str),
        labels=labels.column("label").to_numpy(),
        folds=labels.column("fold").to_numpy(),
        ratios=labels.column("ratio").to_numpy(),
    )
    photos.check()
    return photos, found, n_labelled


def read_layer(
    workspace: Workspace, table: FeatureTable, layer: str, ids: NDArray[np.str_]
) -> NDArray[np.float32]:
    """One layer's activations, float32 of shape (orientations, n, d), photos in the order of `ids`.

    The table is read a file at a time: beside what is returned, no more than one is held. What would take
    more than `MEMORY_SHARE` lies in a file that vanishes with the array.
    """
    width: int = workspace.spec(table.name).schema.field(layer).type.list_size
    position = {post: i for i, post in enumerate(ids.tolist())}
    features = _room(workspace, (len(table.orientations), ids.size, width))
    in_force = feature_rows.in_force(workspace, table.name)
    columns = ["post_id", "flipped", feature_rows.RECIPE, layer]
    for batch in chain.from_iterable(
        workspace.read_file(file, columns).filter(in_force).to_batches()
        for file in workspace.files(table.name)
    ):
        activations = batch.column(layer).flatten().to_numpy().reshape(-1, width)
        places = [position.get(post, -1) for post in batch.column("post_id").to_pylist()]
        sides = [table.orientations.index(flipped) for flipped in batch.column("flipped").to_pylist()]
        wanted = np.array(places) >= 0
        features[np.array(sides)[wanted], np.array(places)[wanted]] = activations[wanted]
    return features


def _room(workspace: Workspace, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """An array to be filled, in memory or in a nameless file beside the workspace's tables."""
    if 4 * math.prod(shape) <= MEMORY_SHARE * psutil.virtual_memory().available:
        return np.empty(shape, dtype=np.float32)
    folder = Path(workspace.artifact("cache", "layers") if workspace.is_local else tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.asarray(np.memmap(file, np.float32, "w+", shape=shape))


def read_metadata(workspace: Workspace, ids: NDArray[np.str_]) -> metadata.Metadata:
    """The scalar columns of posts, cohort and images for the photos, in the order of `ids`."""
    posts = workspace.read("posts", ["post_id", "created_at", "tags", "caption"])
    cohort = workspace.read("cohort", ["post_id", "followers"])
    images = workspace.read("images", ["post_id", "byte_size"])
    joined = pa.table({"post_id": ids.tolist()})
    for table in (posts.drop_columns("tags"), cohort, images):
        joined = joined.join(table, "post_id", join_type="left outer")
    n_tags = dict(
        zip(posts.column("post_id").to_pylist(), map(len, posts.column("tags").to_pylist()), strict=True)
    )
    joined = joined.sort_by("post_id")
    return metadata.Metadata(
        followers=joined.column("followers").fill_null(0).to_numpy(),
        posted_s=joined.column("created_at").cast(pa.int64()).to_numpy() / 1e6,
        n_tags=np.array([n_tags[post] for post in joined.column("post_id").to_pylist()]),
        caption_length=np.array([len(text or "") for text in joined.column("caption").to_pylist()]),
        byte_size=joined.column("byte_size").fill_null(0).to_numpy(),
    )


def read_designs(workspace: Workspace, ids: NDArray[np.str_]) -> dict[str, NDArray[np.int8]]:
    """What every label design says of the photos, in the order of `ids`."""
    rows = workspace.read("label_designs", ["post_id", "design", "label"])
    designs = rows.column("design").to_numpy(zero_copy_only=False)
    found = {}
    for design in dict.fromkeys(designs.tolist()):
        said = rows.filter(pa.array(designs == design))
        label_of = dict(
            zip(said.column("post_id").to_pylist(), said.column("label").to_pylist(), strict=True)
        )
        found[design] = np.array([label_of.get(post, NO_LABEL) for post in ids.tolist()], dtype=np.int8)
    return found


def _find_features(
    workspace: Workspace, table: str, post_ids: pa.ChunkedArray
) -> tuple[FeatureTable, NDArray[np.bool_]]:
    """What features there are, and which photos have them in all orientations."""
    rows = workspace.read(
        table, ["post_id", "flipped", "weights"], where=feature_rows.in_force(workspace, table)
    )
    flipped = rows.column("flipped").to_pylist()
    found = set(zip(rows.column("post_id").to_pylist(), flipped, strict=True))
    orientations = tuple(sorted(set(flipped)))
    complete = [all((post, side) in found for side in orientations) for post in post_ids.to_pylist()]
    if not orientations or not any(complete):
        raise StageError("no labelled photo has features", "classify", "run `raylike features` first")
    kinds = sorted(set(rows.column("weights").to_pylist()))
    if len(kinds) > 1:
        raise StageError(
            f"features of several networks are mixed: {', '.join(kinds)}",
            table,
            "run `raylike features --force`",
        )
    return FeatureTable(table, orientations, kinds[0]), np.array(complete)
