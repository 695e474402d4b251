"""The weights of a network: ImageNet's, or random ones where those cannot be had.

Weights are numpy arrays under torch's names until a worker builds layers from them (`networks.py`):
processes of one machine then read one copy out of Ray's object store, and the driver, which only
passes them on, need not import torch for random ones.

Knows where weights are published. Knows nothing of layers, tables or stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raylike.errors import ConfigError, InputDataError, ServiceUnavailable
from raylike.vision import weight_files

State = dict[str, NDArray[np.float32]]
"""Parameters by torch's names, such as `features.0.weight`."""

ALEXNET_FILE = weight_files.WeightFile(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"
)
"""What `torchvision.models.AlexNet_Weights.IMAGENET1K_V1` names."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of ImageNet's training photos, RGB in [0, 1]; what torchvision's weights expect."""

POOL5 = 256 * 6 * 6
"""Activations of AlexNet's last pooling layer: the input of fc6."""

ALEXNET = {
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, POOL5),
    "classifier.4": (4096, 4096),
    "classifier.6": (1000, 4096),
}
"""Shape of each layer's weight; its bias is as long as the first axis."""

POOLED = frozenset({"features.0", "features.3", "features.10"})
"""The layers that a max pooling follows."""


@dataclass(frozen=True)
class Backbone:
    """A network as data: cheap to send to workers, who build layers from it.

    Attributes
    ----------
    name : torchvision's name of the architecture
    weights : where the parameters come from
    state : the parameters; arrays may be read-only
    note : a line for the user where something was chosen for them, else empty
    mean, std : of each colour, RGB in [0, 1], that the input is normalised with
    input_px : side of the square input
    """

    name: str
    weights: Literal["pretrained", "random"]
    state: State
    note: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    input_px: int = 224


@dataclass(frozen=True)
class Choice:
    """Which weights can be had: where they come from, and a line for the user if that was not asked for."""

    weights: Literal["pretrained", "random"]
    note: str = ""


def choose(name: str, weights: Literal["imagenet", "random"], allow_random: bool) -> Choice:
    """Settle which weights a network gets, and fetch trained ones if they are not here yet.

    Parameters
    ----------
    name : `alexnet`
    weights : `imagenet` for trained ones, from torch's cache or the network; `random` from the seed
    allow_random : where trained ones cannot be had, go on with random ones and a note

    Raises
    ------
    ConfigError : for another name
    ServiceUnavailable : if trained weights cannot be had and `allow_random` is off
    """
    if name != "alexnet":
        raise ConfigError(f"there is no backbone {name!r}", "features.backbone", "choose alexnet")
    if weights == "random":
        return Choice("random")
    try:
        weight_files.fetch(ALEXNET_FILE)
    except OSError as error:
        reason = f"ImageNet weights of {name} cannot be had: {error.strerror or error}"
        if not allow_random:
            raise ServiceUnavailable(
                reason,
                ALEXNET_FILE.url,
                f"put the file into {weight_files.folder()}, or set features.allow_random",
            ) from error
        return Choice("random", f"{reason}; random weights from the seed instead")
    return Choice("pretrained")


def load(name: str, weights: Literal["imagenet", "random"], seed: int, allow_random: bool) -> Backbone:
    """The network with the weights that `choose` settles on; random ones are drawn from `seed`."""
    choice = choose(name, weights, allow_random)
    if choice.weights == "random":
        return Backbone(name, "random", random_state(ALEXNET, seed), choice.note)
    return Backbone(name, "pretrained", _read(weight_files.fetch(ALEXNET_FILE)))


def random_state(layers: Mapping[str, tuple[int, ...]], seed: int) -> State:
    """Draw weights under which activations, and the first steps of training, keep a sane scale; biases are 0.

    Convolutions: normal with variance 2 / (inputs of a unit), made for ReLU (He et al., ICCV 2015,
    doi:10.1109/ICCV.2015.123), but half of it before a max pooling, which doubles the mean square: the
    mean square stays that of the pixels. Linear layers: uniform within 1 / sqrt(inputs), which is torch's
    own default and about the spread of the trained weights; with more, fine-tuning at the usual 0.001
    overshoots.
    Each layer has its own stream of the seed.
    """
    streams = np.random.SeedSequence(seed).spawn(len(layers))
    state: State = {}
    for (name, shape), stream in zip(layers.items(), streams, strict=True):
        generator, inputs = np.random.default_rng(stream), math.prod(shape[1:])
        if len(shape) == 2:
            weight = generator.random(shape, np.float32)
            weight -= 0.5
            weight *= 2 / math.sqrt(inputs)
        else:
            weight = generator.standard_normal(shape, np.float32)
            weight *= math.sqrt((1 if name in POOLED else 2) / inputs)
        state[f"{name}.weight"] = weight
        state[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return state


def _read(path: Path) -> State:
    """Open a weight file and check that it holds AlexNet."""
    import torch

    loaded = torch.load(path, map_location="cpu", weights_only=True)
    state: State = {name: tensor.numpy() for name, tensor in loaded.items()}
    expected = {f"{name}.weight": shape for name, shape in ALEXNET.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in ALEXNET.items()}
    if {name: values.shape for name, values in state.items()} != expected:
        raise InputDataError("holds another network than AlexNet", str(path), "delete it")
    return state
