"""The model that a workspace keeps, ready to score pixels, and what its scores mean.

Knows the kept models, networks and torch. Knows nothing of files of photos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raylike.errors import InputDataError
from raylike.headline import best_model
from raylike.learning import linear_model, outcomes
from raylike.learning.calibration import Platt
from raylike.learning.linear_model import LinearModel, Source
from raylike.vision import loading
from raylike.vision.backbones import RANDOM, Backbone, Framing, Precision
from raylike.workspace import Workspace

LINEAR = "linear"
"""The name of the linear model; others are folders of fine-tuned networks below `models/`."""
FINETUNED = "finetune"
BATCH = 64
"""Pictures in a forward pass."""


@dataclass(frozen=True)
class Standard:
    """What scores are measured against.

    Attributes
    ----------
    held_out : scores of photos that the model did not learn from, ascending, (n,)
    n_accounts : whose photos these are
    """

    platt: Platt
    held_out: NDArray[np.float64]
    n_accounts: int

    def percentile(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of held-out photos with a lower score, in percent; equal ones count by half."""
        below = np.searchsorted(self.held_out, scores, "left")
        up_to = np.searchsorted(self.held_out, scores, "right")
        return np.asarray(50 * (below + up_to) / self.held_out.size, np.float64)

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of being called good, for scores of any shape."""
        return self.platt.probability(scores)

    def __str__(self) -> str:
        return f"{self.held_out.size:,} held-out photos of {self.n_accounts:,} accounts"


@dataclass(frozen=True)
class Model:
    """A model of pixels.

    Attributes
    ----------
    name : for people, such as `LinearSVC on fc7 of alexnet`
    design : the label design that it learned
    framing : how its network wants photos
    features : pictures (n, side, side, 3), RGB -> activations (orientations, n, d)
    of_features : those -> scores (n,)
    notes : what a user should know of it
    source : whose activations the features are; None where they are no layer of a features table
    random : whether its network's weights are: then every score of it has to be told with that
    """

    name: str
    design: str
    framing: Framing
    standard: Standard
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    of_features: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    notes: tuple[str, ...] = ()
    source: Source | None = None
    random: bool = False

    def score(self, pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Scores (n,) of pictures (n, side, side, 3), RGB."""
        return self.of_features(self.features(pictures_NHWC))


def opened(workspace: Workspace, name: str | None = None) -> Model:
    """The model that the workspace's headline names, where it is kept; else the best linear one.

    Raises
    ------
    InputDataError : if none is kept, or none of this name, or it cannot be read, or its network has changed
    ServiceUnavailable : if the network's weights cannot be had
    """
    if name is None and _finetuned_is_best(workspace):
        name = FINETUNED
    if name not in (None, LINEAR):
        return of_finetuned(workspace, str(name))
    kept = linear_model.load(workspace)
    if kept is None:
        learned = workspace.exists("results")
        raise InputDataError(
            "the model of this workspace was not kept" if learned else "there is no trained model",
            workspace.uri,
            f"raylike run-all{' --force classify' if learned else ''} --workspace {workspace.uri}",
        )
    return of_linear(kept, _not_the_best(workspace, kept) if name is None else ())


def of_linear(kept: LinearModel, notes: tuple[str, ...] = ()) -> Model:
    """A linear model with its network below it."""
    source = kept.source
    backbone, precision = _network(source)
    random = backbone.weights == RANDOM
    if random:
        notes = (_random(source.backbone), *notes)
    return Model(
        name=f"{kept.name} on {source.layer} of {source.backbone}",
        design=kept.design,
        framing=backbone.framing,
        standard=Standard(kept.platt, kept.held_out, kept.n_accounts),
        features=_activations(replace(backbone, layers=(source.layer,)), precision, source.mirrored),
        of_features=kept.score,
        notes=notes,
        source=source,
        random=random,
    )


def of_finetuned(workspace: Workspace, name: str) -> Model:
    """A fine-tuned network; scores are those of the central crop.

    Raises
    ------
    InputDataError : if there is none of this name, or no test photo was scored by it
    """
    import torch

    from raylike.models import files
    from raylike.models.whole import Scorer

    folder = workspace.artifact("models", name)
    config = files.read_config(folder)
    network, framing = files.load_model(folder)
    layers = Scorer(network).eval()
    tested = workspace.read("finetune_predictions", ["evaluation", "score"]).to_pandas()
    held_out = np.sort(tested.score[tested.evaluation == "test"].to_numpy())
    if not held_out.size:
        raise InputDataError("no test photo was scored by this model", folder, "raylike run-all")
    notes, random = [], config["weights"]["initial"] == RANDOM
    if random:
        notes.append(_random(config["backbone"]))
    if config["settings"]["crops"] != "centre":
        notes.append("the held-out photos were scored by several crops, photos here by the central one")

    def score(pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batches = (pictures_NHWC[at : at + BATCH] for at in range(0, len(pictures_NHWC), BATCH))
            found = [layers(torch.from_numpy(np.ascontiguousarray(batch))).numpy() for batch in batches]
        return np.concatenate(found)[None, :, None]

    return Model(
        name=f"{config['name']} of {config['backbone']}",
        design=config["label"]["design"],
        framing=framing,
        standard=Standard(Platt(**config["calibration"]), held_out, config["data"]["test"]["accounts"]),
        features=score,
        of_features=lambda scores: scores[0, :, 0].astype(np.float64),
        notes=tuple(notes),
        random=random,
    )


def _random(backbone: str) -> str:
    return f"the weights of {backbone} are random: this shows that it works, not what is liked"


def _finetuned_is_best(workspace: Workspace) -> bool:
    """Whether the headline is about the fine-tuned network, and that is kept."""
    best = best_model(workspace)
    if best is None or best[0] != outcomes.MODEL:
        return False
    filesystem, root = workspace.filesystem()
    info = filesystem.get_file_info(f"{root}/models/{FINETUNED}/config.json")
    return bool(info.is_file)


def _not_the_best(workspace: Workspace, kept: LinearModel) -> tuple[str, ...]:
    best = best_model(workspace)
    if best is None or best == (kept.name, kept.source.layer):
        return ()
    return (f"the best model of the run, {' on '.join(best)}, is not kept; the best linear one scores",)


def _network(source: Source) -> tuple[Backbone, Precision]:
    """The network that the model was fitted to, and in which precision it computed."""
    weights: Literal["imagenet", "random"] = "random" if source.weights == RANDOM else "imagenet"
    file = None if source.weights_file is None else Path(source.weights_file)
    backbone = loading.load(source.backbone, weights, source.seed, False, file, source.layers)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        if source.recipe in (None, backbone.recipe(precision)):
            return backbone, precision
    raise InputDataError(
        f"the model was fitted to another {source.backbone} than the one that is here",
        source.weights_file or source.backbone,
        "bring back its weights, or `raylike run-all --from features`",
    )


def _activations(
    backbone: Backbone, precision: Precision, mirrored: bool
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import torch

    from raylike.vision import networks

    extract = networks.extractor(backbone, precision)

    def features(pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        sides: list[list[NDArray[np.float32]]] = [[], []] if mirrored else [[]]
        with torch.inference_mode():
            for at in range(0, len(pictures_NHWC), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(pictures_NHWC[at : at + BATCH]))
                for flipped, found in enumerate(sides):
                    (values,) = extract(batch.flip(2) if flipped else batch)
                    found.append(values.float().numpy())
        return np.stack([np.concatenate(found) for found in sides])

    return features
