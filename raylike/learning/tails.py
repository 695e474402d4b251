"""A network made ready for another question: a new last layer, and below it what learns and what stays.

The network is cut in two where that is possible. The trunk stays as it is, so its output is computed once
a photo and kept (`inputs.py`); the tail is trained. Where no cut is possible the tail is the whole network,
which takes photos, with its lower blocks frozen.

Knows torch and networks. Knows nothing of Ray, tables or training.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from raylike.errors import ConfigError
from raylike.learning.blocks import freeze_below
from raylike.vision import alexnet, networks
from raylike.vision.backbones import Backbone
from raylike.vision.networks import Normalise

Trainable = str
"""`all`; `head`; or the number of blocks below the new layer that move, as in `finetune.trainable`."""

NAMED = {"head": 0, "fc7": 1, "classifier": 2}
"""Blocks below the new layer. fc7 and classifier are what they are called in AlexNet."""
HEAD_STD = 0.01
"""Of the new layer's weights, as in Caffe's fine-tuning example."""
OUTPUTS = {"labels": 2, "pairs": 1, "residual": 1}
"""Of the new layer, by objective."""
FC7_WIDTH = 4096
ALEXNET_CUTS = {0: (6, FC7_WIDTH), 1: (3, FC7_WIDTH), 2: (0, alexnet.POOL5)}
"""Blocks of AlexNet that move -> the position in its classifier of the first layer above the cut, with its
dropout, and how many numbers a photo is there."""


def depth(trainable: Trainable) -> int | None:
    """How many blocks below the new layer move; None for all."""
    if trainable == "all":
        return None
    return NAMED[trainable] if trainable in NAMED else int(trainable)


def split(
    backbone: Backbone, trainable: Trainable, seed: int = 0, *, outputs: int = 2, whole: bool = False
) -> tuple[nn.Module | None, nn.Sequential]:
    """The frozen trunk, or None, and the tail, which ends in a new layer.

    The trunk takes uint8 (N, side, side, 3) to (N, d); so does the tail where there is no trunk.

    Parameters
    ----------
    outputs : of the new layer
    whole : make no cut, whatever is frozen

    Raises
    ------
    ConfigError : for a network whose last layer with weights does not give its classes
    """
    moving = depth(trainable)
    if backbone.name == "alexnet" and moving in ALEXNET_CUTS and not whole:
        return _alexnet(backbone, ALEXNET_CUTS[moving][0], outputs, seed)
    network = networks.assembled(backbone)
    name, head = _last(network, outputs, seed)
    if moving == 0 and not whole and isinstance(head, nn.Linear):
        network.set_submodule(name, nn.Identity())
        if _shape(network, backbone) == (1, head.in_features):
            return _trunk(Normalise(backbone.framing), _FirstOutput(network)), _own(nn.Sequential(head))
    network.set_submodule(name, head)
    tail = _own(nn.Sequential(Normalise(backbone.framing), _FirstOutput(network)))
    if backbone.name != "alexnet" and _shape(network, backbone) != (1, outputs):
        raise ConfigError(
            f"{backbone.name} cannot be fine-tuned: its last layer, {name}, does not give its classes",
            "features.backbone",
            "choose another backbone",
        )
    if moving is not None:
        freeze_below(tail, moving)
    return None, tail.to(memory_format=torch.channels_last)


def width(backbone: str, trainable: Trainable) -> int | None:
    """How many numbers a photo is where `split` cuts a network of this name; None where it cannot.

    Raises `ConfigError` for a name that there is not.
    """
    moving = depth(trainable)
    if backbone == "alexnet":
        return ALEXNET_CUTS[moving][1] if moving in ALEXNET_CUTS else None
    if moving != 0:
        return None
    from raylike.vision import zoo

    with torch.device("meta"):
        network = zoo.build(backbone)
    head = network.get_submodule(zoo.last_layer(network))
    return head.in_features if isinstance(head, nn.Linear) else None


class _FirstOutput(nn.Module):
    """A network that may give more than its classes while it is trained, without that."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: Tensor) -> Tensor:
        given = self.network(photos)
        return cast(Tensor, given if isinstance(given, Tensor) else given[0])


def _alexnet(backbone: Backbone, first: int, outputs: int, seed: int) -> tuple[nn.Module, nn.Sequential]:
    network = networks.build(backbone)
    classifier = list(network[-1].children())
    head = _new(cast(nn.Linear, classifier[-1]), outputs, seed)
    trunk = _trunk(Normalise(backbone.framing), *network[:-1], *classifier[:first])
    return trunk, _own(nn.Sequential(*classifier[first:-1], head))


def _last(network: nn.Module, outputs: int, seed: int) -> tuple[str, nn.Module]:
    """The name of the last layer, and the new one that takes its place."""
    from raylike.vision import zoo

    name = zoo.last_layer(network)
    return name, _new(cast("nn.Linear | nn.Conv2d", network.get_submodule(name)), outputs, seed)


def _new(old: nn.Linear | nn.Conv2d, outputs: int, seed: int) -> nn.Linear | nn.Conv2d:
    generator = torch.Generator().manual_seed(seed)
    layer: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Linear):
        layer = nn.Linear(old.in_features, outputs)
    else:
        layer = nn.Conv2d(old.in_channels, outputs, cast("tuple[int, int]", old.kernel_size))
    with torch.no_grad():
        layer.weight.normal_(0, HEAD_STD, generator=generator)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer


def _trunk(*layers: nn.Module) -> nn.Module:
    trunk = nn.Sequential(*layers).eval().requires_grad_(False)
    return trunk.to(memory_format=torch.channels_last)


def _shape(network: nn.Module, backbone: Backbone) -> tuple[int, ...]:
    """Of what the network gives for one photo; empty if its layers no longer fit together."""
    side = backbone.framing.input_px
    try:
        with torch.inference_mode():
            return tuple(network.eval()(torch.zeros(1, 3, side, side)).shape)
    except RuntimeError:
        return ()


def _own(tail: nn.Sequential) -> nn.Sequential:
    """The same layers with weights of their own: the backbone's arrays are shared, and may be read-only."""
    for tensor in [*tail.parameters(), *tail.buffers()]:
        tensor.data = tensor.data.clone()
    return tail
