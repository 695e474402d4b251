"""A network by name, with its weights: trained ones, a file's, or random ones where neither can be had.

Knows which module knows which network. Knows nothing of tables or stages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from raylike.errors import ConfigError, ServiceUnavailable
from raylike.tables import feature_layers
from raylike.vision import alexnet, weight_files
from raylike.vision.backbones import PRETRAINED, RANDOM, Backbone, Choice, Framing, State


def choose(
    name: str,
    weights: Literal["imagenet", "random"],
    allow_random: bool,
    weights_file: Path | None = None,
) -> Choice:
    """Settle which weights a network gets, and fetch trained ones if they are not here yet.

    Parameters
    ----------
    name : `alexnet`, another of torchvision's classifiers, or `timm:NAME`
    weights : `imagenet` for trained ones, from a cache or the network; `random` from the seed
    allow_random : where trained ones cannot be had, go on with random ones and a note
    weights_file : a file of weights, which then count instead of `weights`

    Raises
    ------
    ConfigError : for a name that there is not, or a file that is not there
    ServiceUnavailable : if trained weights cannot be had and `allow_random` is off
    """
    if name != "alexnet":
        from raylike.vision import zoo

        zoo.check(name)
    if weights_file is not None:
        if not weights_file.is_file():
            raise ConfigError("there is no such file", str(weights_file), "see features.weights_file")
        return Choice(f"sha256:{weight_files.sha256(weights_file)}")
    if weights == RANDOM:
        return Choice(RANDOM)
    try:
        if name == "alexnet":
            weight_files.fetch(alexnet.FILE)
        else:
            zoo.fetch(name)
    except OSError as error:
        lines = str(error.strerror or error).strip().splitlines() or [type(error).__name__]
        reason = f"ImageNet weights of {name} cannot be had: {lines[0]}"
        if not allow_random:
            where = alexnet.FILE.url if name == "alexnet" else "features.weights"
            raise ServiceUnavailable(
                reason,
                where,
                f"put the file into {weight_files.folder()}, name one as features.weights_file, "
                "or set features.allow_random",
            ) from error
        return Choice(RANDOM, f"{reason}; random weights from the seed instead")
    return Choice(PRETRAINED)


def load(
    name: str,
    weights: Literal["imagenet", "random"],
    seed: int,
    allow_random: bool,
    weights_file: Path | None = None,
    layers: Sequence[str] = (),
) -> Backbone:
    """The network with the weights that `choose` settles on; random ones are drawn from `seed`.

    Raises
    ------
    ConfigError : also for a layer that the network does not have
    InputDataError : if `weights_file` holds another network, or code
    """
    choice = choose(name, weights, allow_random, weights_file)
    taken = feature_layers(name, layers)
    if name != "alexnet":
        from raylike.vision import zoo

        state, framing = zoo.load(name, choice.weights, seed, weights_file, taken)
    else:
        state, framing = alexnet.state(choice.weights, seed, weights_file), Framing()
        if not set(taken) <= set(feature_layers(name)):
            from raylike.vision import zoo

            zoo.check_layers(alexnet.layers(), taken, others=feature_layers(name))
    identity = {PRETRAINED: lambda: _digest(name, state), RANDOM: lambda: f"seed {seed}"}
    told = identity.get(choice.weights, lambda: "")()
    return Backbone(name, choice.weights, state, choice.note, told, framing, taken)


def framing(name: str) -> Framing:
    """How photos are put before a network of this name."""
    if name == "alexnet":
        return Framing()
    from raylike.vision import zoo

    return zoo.framing(name)


def _digest(name: str, state: State) -> str:
    """What tells published weights from those that may be published under the same name later."""
    if name == "alexnet":
        return alexnet.FILE.sha256
    digest = hashlib.sha256()
    for key, values in state.items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
