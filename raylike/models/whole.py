"""A whole network out of its trained tail and the trunk that it was trained on, or out of a file.

Knows torch and networks. Knows nothing of files or tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from raylike.learning import objectives
from raylike.learning.tails import split
from raylike.vision import alexnet, zoo
from raylike.vision.backbones import Backbone, Framing

INSIDE = "1.network."
"""Where the network's own layers are, in the names of what `put_together` gives."""


def put_together(backbone: Backbone, tail: Mapping[str, Tensor], *, outputs: int) -> nn.Sequential:
    """The network from uint8 (N, side, side, 3) to (N, outputs), with the tail's weights where it has some.

    Parameters
    ----------
    tail : of `learning.tails.split`: the whole network's, AlexNet's last layers, or the new layer alone
    """
    whole = split(backbone, "all", outputs=outputs, whole=True)[1]
    state = whole.state_dict()
    if len(tail) == len(state):
        names = list(state)
    elif backbone.name == "alexnet":
        names = list(state)[-len(tail) :]
    else:
        names = [f"{INSIDE}{zoo.last_layer(whole[1].get_submodule('network'))}.{name[2:]}" for name in tail]
    whole.load_state_dict({**state, **dict(zip(names, tail.values(), strict=True))})
    return whole.eval()


def empty(name: str, framing: Framing, *, outputs: int) -> nn.Sequential:
    """A network as `put_together` gives it, its weights not set yet."""
    network = alexnet.layers().to_empty(device="cpu") if name == "alexnet" else zoo.build(name)
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    bare = Backbone(name, "", state, framing=framing)
    return split(bare, "all", outputs=outputs, whole=True)[1].eval()


class Scorer(nn.Module):
    """A network that gives one score a photo, (N,): the greater, the better."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos_NHWC: Tensor) -> Tensor:
        """Score uint8 photos (N, side, side, 3)."""
        return objectives.score(cast(Tensor, self.network(photos_NHWC)).float())
