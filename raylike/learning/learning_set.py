"""The photos that a network is fine-tuned on, is validated on and is tested on, and what they teach.

Fold 0 validates: it chooses when to stop and which learning rate is best. The test photos do neither.

Knows the `labels`, `label_designs`, `cohort` and `posts` tables. Knows nothing of Ray.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.errors import InputDataError
from raylike.learning import inputs, machine_cache, pack
from raylike.learning.label_designs import Popularity, surplus
from raylike.learning.material import Material, Views
from raylike.learning.photos import Photos
from raylike.learning.splits import TEST
from raylike.tables import EMBEDDING, features_name
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import nn

    from raylike.config import FinetuneSettings
    from raylike.vision.backbones import Backbone

VALIDATION_FOLD = 0
PAIRED = "same_user_pairs"
"""The label design that pairs photos."""

FEATURES_BELOW = {"fc7": "fc6", "1": "fc6", "head": "fc7", "0": "fc7"}
"""What moves of AlexNet -> column of its features table that is the input of the first layer to move."""


def read(workspace: Workspace) -> Photos:
    """All labelled photos, in order of their ids. Raises `InputDataError` where nothing can be learned."""
    rows = workspace.read("labels", ["post_id", "user_id", "label", "fold", "ratio"]).sort_by("post_id")
    photos = Photos(
        ids=np.array(rows.column("post_id").to_pylist(), dtype=str),
        groups=np.array(rows.column("user_id").to_pylist(), dtype=str),
        labels=rows.column("label").to_numpy(),
        folds=rows.column("fold").to_numpy(),
        ratios=rows.column("ratio").to_numpy(),
    )
    check(photos)
    return photos


def check(photos: Photos) -> None:
    """Refuse photos to train, validate or test on that are not of both kinds.

    Raises
    ------
    InputDataError : naming the part and what it holds
    """
    parts = {"training": trained_on(photos), "validation": validated_on(photos), "test": photos.test}
    for name, part in parts.items():
        kinds = np.unique(photos.labels[part])
        if kinds.size < 2:
            held = (
                "no photo" if not kinds.size else f"only {'good' if kinds[0] else 'bad'} photos ({part.size})"
            )
            raise InputDataError(
                f"the {name} set holds {held}", "finetune", "collect more photos, or set labels.folds lower"
            )


def trained_on(photos: Photos) -> NDArray[np.int64]:
    """Indices of the photos of every fold but the validation fold."""
    return np.flatnonzero((photos.folds != TEST) & (photos.folds != VALIDATION_FOLD))


def validated_on(photos: Photos) -> NDArray[np.int64]:
    """Indices of the photos of the validation fold."""
    return np.flatnonzero(photos.folds == VALIDATION_FOLD)


def streams(backbone: str, settings: FinetuneSettings, n_photos: int) -> bool:
    """Whether photos go through the whole network at every step; else a frozen trunk's output is kept.

    Raises `ConfigError` for a name of a network that there is not.
    """
    if settings.trainable == "all" or settings.crops == "ten":
        return True
    from raylike.learning import tails

    width = tails.width(backbone, settings.trainable)
    return width is None or inputs.mib(n_photos, width) > settings.in_memory_mib


def prepare(
    workspace: Workspace,
    photos: Photos,
    backbone: Backbone,
    settings: FinetuneSettings,
    *,
    seed: int,
    device: torch.device,
) -> tuple[nn.Sequential, Material, NDArray[np.bool_]]:
    """The tail to train, what to train it on, and which photos could be decoded.

    Raises
    ------
    InputDataError : if the photos that can be decoded are all good or all bad, or make no pair
    """
    from raylike.learning.tails import OUTPUTS, split

    outputs = OUTPUTS[settings.objective]
    whole = streams(backbone.name, settings, photos.ids.size)
    trunk, tail = split(backbone, settings.trainable, seed, outputs=outputs, whole=whole)
    if trunk is None:
        material, there = photos_themselves(workspace, photos, backbone.framing, settings)
        return tail, material, there
    found = _features_below(workspace, photos, backbone, settings) or inputs.prepare(
        workspace,
        photos.ids,
        trunk.to(device),
        backbone.framing,
        _source(workspace, photos),
        f"{settings.trainable} {backbone.name} {backbone.weights} {backbone.identity} {seed}",
        device,
    )
    return tail, _material(workspace, photos, found, found.there, settings), found.there


def photos_themselves(
    workspace: Workspace, photos: Photos, framing: Framing, settings: FinetuneSettings
) -> tuple[Material, NDArray[np.bool_]]:
    """The photos as material for a whole network, and which could be decoded; needs no torch.

    Raises
    ------
    InputDataError : if the photos that can be decoded are all good or all bad, or make no pair
    """
    squares = pack.prepare(workspace, photos.ids, framing, _source(workspace, photos))
    return _material(workspace, photos, squares, squares.there, settings), squares.there


def _material(
    workspace: Workspace,
    photos: Photos,
    views: Views,
    decoded: NDArray[np.bool_],
    settings: FinetuneSettings,
) -> Material:
    there = np.flatnonzero(decoded)
    check(replace(photos, ids=photos.ids[there], groups=photos.groups[there], labels=photos.labels[there],
                  folds=photos.folds[there]))  # fmt: skip
    train = np.intersect1d(trained_on(photos), there)
    validation = np.intersect1d(validated_on(photos), there)
    pairs = _pairs(workspace, photos, train) if settings.objective == "pairs" else None
    residuals = _residuals(workspace, photos, train) if settings.objective == "residual" else None
    return Material(views, photos.labels, train, validation, pairs, residuals)


def _pairs(workspace: Workspace, photos: Photos, train: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of training photos of one account, the better one first, in order of their numbers: (p, 2).

    Raises
    ------
    InputDataError : if there is none
    """
    paired = (pc.field("design") == PAIRED) & pc.field("pair").is_valid()
    rows = workspace.read("label_designs", ["post_id", "label", "pair"], where=paired)
    rows = rows.filter(pc.is_in(rows["post_id"], value_set=pa.array(photos.ids[train].tolist(), pa.string())))
    position = {post: i for i, post in enumerate(photos.ids.tolist())}
    members: dict[int, dict[int, int]] = {}
    for row in rows.to_pylist():
        members.setdefault(row["pair"], {})[row["label"]] = position[row["post_id"]]
    whole = [(two[1], two[0]) for _, two in sorted(members.items()) if len(two) == 2]
    if not whole:
        raise InputDataError(
            "there is no pair of training photos to learn from",
            "finetune",
            "collect more photos of each account, or set finetune.objective to labels",
        )
    return np.array(whole, np.int64)


def _residuals(workspace: Workspace, photos: Photos, train: NDArray[np.int64]) -> NDArray[np.float32]:
    """Likes beyond expectation, of mean 0 and spread 1 over the training photos, (n,).

    Raises
    ------
    InputDataError : if the training photos do not differ in it
    """
    wanted = pa.table({"post_id": pa.array(photos.ids.tolist(), pa.string())})
    rows = wanted.join(workspace.read("cohort", ["post_id", "likes", "followers"]), "post_id")
    posts = workspace.read("posts", ["post_id", "created_at", "tags"])
    n_tags = pc.fill_null(pc.list_value_length(posts.column("tags")), 0)
    posts = posts.drop_columns("tags").append_column("n_tags", n_tags)
    rows = rows.join(posts, "post_id").sort_by("post_id")
    popularity = Popularity(
        likes=rows.column("likes").to_numpy(),
        followers=rows.column("followers").to_numpy(),
        users=photos.groups,
        posted_s=rows.column("created_at").cast(pa.int64()).fill_null(0).to_numpy() / 1e6,
        n_tags=rows.column("n_tags").to_numpy(),
    )
    learned_from = np.zeros(photos.ids.size, np.bool_)
    learned_from[train] = True
    beyond = surplus(popularity, learned_from)
    spread = beyond[train].std()
    if not spread > 0:
        raise InputDataError(
            "all training photos have as many likes as expected",
            "finetune",
            "set finetune.objective to labels",
        )
    return np.asarray((beyond - beyond[train].mean()) / spread, np.float32)


def _features_below(
    workspace: Workspace, photos: Photos, backbone: Backbone, settings: FinetuneSettings
) -> inputs.Inputs | None:
    """What the features stage has computed of the trunk, if it was this trunk: then nothing is left to do."""
    alexnet = backbone.name == "alexnet"
    layer = FEATURES_BELOW.get(settings.trainable) if alexnet else EMBEDDING
    if layer is None:
        return None
    return features_of(workspace, photos, backbone.name, backbone.weights, layer)


def features_of(
    workspace: Workspace, photos: Photos, backbone: str, weights: str, layer: str
) -> inputs.Inputs | None:
    """One layer that the features stage has computed with these weights; None unless of all photos."""
    table = features_name(backbone, ())
    last = workspace.last_commit(table)
    if last is None or last.state.get("weights") != weights:
        return None
    rows = workspace.read(table, ["post_id"], where=feature_rows.in_force(workspace, table))
    if not set(photos.ids.tolist()) <= set(rows["post_id"].to_pylist()):
        return None
    key = f"{layer} of {table} {last.data_version}"
    return inputs.from_features(workspace, table, layer, photos.ids, _source(workspace, photos), key)


def _source(workspace: Workspace, photos: Photos) -> str:
    """The digest of the learning set: which photos, and the version of their table."""
    last = workspace.last_commit("images")
    return machine_cache.digest(str(0 if last is None else last.data_version), *photos.ids.tolist())
