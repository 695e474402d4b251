"""The photos that a network is fine-tuned on, is validated on and is tested on.

Fold 0 validates: it chooses when to stop and which learning rate is best. The test photos do neither.

Knows the `labels` table. Knows nothing of Ray.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.errors import StageError
from raylike.learning.photos import Photos
from raylike.learning.splits import TEST
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import nn

    from raylike.config import FinetuneSettings, Settings
    from raylike.learning.finetune import Material
    from raylike.learning.inputs import Inputs
    from raylike.vision.backbones import Backbone

VALIDATION_FOLD = 0

FEATURES_BELOW = {"fc7": "fc6", "head": "fc7"}
"""Column of the features table that is the input of the first layer to move."""


def with_alexnet(settings: Settings) -> Settings:
    """The same settings, with AlexNet for the network: the only one that is fine-tuned, whatever
    `features.backbone` is."""
    features = settings.features
    if features.backbone == "alexnet":
        return settings
    own = features.model_copy(update={"backbone": "alexnet", "weights_file": None, "layers": ()})
    return settings.model_copy(update={"features": own})


def read(workspace: Workspace) -> Photos:
    """All labelled photos, in order of their ids. Raises `StageError` where nothing can be learned."""
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
    StageError : naming the part and what it holds
    """
    parts = {"training": trained_on(photos), "validation": validated_on(photos), "test": photos.test}
    for name, part in parts.items():
        kinds = np.unique(photos.labels[part])
        if kinds.size < 2:
            held = (
                "no photo" if not kinds.size else f"only {'good' if kinds[0] else 'bad'} photos ({part.size})"
            )
            raise StageError(
                f"the {name} set holds {held}", "finetune", "collect more photos, or set labels.folds lower"
            )


def trained_on(photos: Photos) -> NDArray[np.int64]:
    """Indices of the photos of every fold but the validation fold."""
    return np.flatnonzero((photos.folds != TEST) & (photos.folds != VALIDATION_FOLD))


def validated_on(photos: Photos) -> NDArray[np.int64]:
    """Indices of the photos of the validation fold."""
    return np.flatnonzero(photos.folds == VALIDATION_FOLD)


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
    StageError : if the photos that can be decoded are all good or all bad
    """
    from raylike.learning import inputs
    from raylike.learning.finetune import Material, split

    trunk, tail = split(backbone, settings.trainable, seed)
    found = _features_below(workspace, photos, backbone, settings) or inputs.prepare(
        workspace,
        photos.ids,
        None if trunk is None else trunk.to(device),
        _key(workspace, "images", f"{settings.trainable} {backbone.name} {backbone.weights} {seed}"),
        device,
    )
    there = np.flatnonzero(found.there)
    check(replace(photos, ids=photos.ids[there], groups=photos.groups[there], labels=photos.labels[there],
                  folds=photos.folds[there]))  # fmt: skip
    train = np.intersect1d(trained_on(photos), there)
    validation = np.intersect1d(validated_on(photos), there)
    return tail, Material(found.values, photos.labels, train, validation), found.there


def _features_below(
    workspace: Workspace, photos: Photos, backbone: Backbone, settings: FinetuneSettings
) -> Inputs | None:
    """What the features stage has computed of the trunk, if it was this trunk: then nothing is left to do."""
    from raylike.learning import inputs

    layer = FEATURES_BELOW.get(settings.trainable)
    table = f"features/{backbone.name}"
    last = workspace.last_commit(table)
    if layer is None or last is None or last.state.get("weights") != backbone.weights:
        return None
    rows = workspace.read(table, ["post_id"], where=feature_rows.in_force(workspace, table))
    if not set(photos.ids.tolist()) <= set(rows["post_id"].to_pylist()):
        return None
    return inputs.from_features(workspace, table, layer, photos.ids, _key(workspace, table, layer))


def _key(workspace: Workspace, table: str, what: str) -> str:
    last = workspace.last_commit(table)
    return f"{what} of {table} {0 if last is None else last.data_version}"
