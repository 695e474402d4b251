"""AlexNet, the default network, written out in full: its layers, trained weights, random ones.

So the driver, which only passes weights on, imports no torch for random ones, and a worker imports torch
alone: torchvision costs every process 6 s more.

Knows torch's layers and where AlexNet's weights are published. Knows nothing of tables or stages.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raylike.vision import weight_files
from raylike.vision.backbones import RANDOM, State

if TYPE_CHECKING:
    from torch import nn

FILE = weight_files.WeightFile("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79")
"""What `torchvision.models.AlexNet_Weights.IMAGENET1K_V1` names."""

POOL5 = 256 * 6 * 6
"""Activations of AlexNet's last pooling layer: the input of fc6."""

SHAPES = {
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

ALIASES = {"fc6": "classifier.2", "fc7": "classifier.5"}
"""The study's names of layers, which are Caffe's: after ReLU."""


def state(weights: str, seed: int, weights_file: Path | None) -> State:
    """The parameters, by `Choice.weights`; trained ones have been fetched before.

    Raises
    ------
    InputDataError : if `weights_file` holds another network, or code
    """
    if weights == RANDOM:
        return random_state(SHAPES, seed)
    path = weights_file or weight_files.fetch(FILE)
    expected = {f"{name}.weight": shape for name, shape in SHAPES.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in SHAPES.items()}
    return weight_files.checked(weight_files.read(path), expected, "alexnet", path)


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
    drawn: State = {}
    for (name, shape), stream in zip(layers.items(), streams, strict=True):
        generator, inputs = np.random.default_rng(stream), math.prod(shape[1:])
        if len(shape) == 2:
            weight = generator.random(shape, np.float32)
            weight -= 0.5
            weight *= 2 / math.sqrt(inputs)
        else:
            weight = generator.standard_normal(shape, np.float32)
            weight *= math.sqrt((1 if name in POOLED else 2) / inputs)
        drawn[f"{name}.weight"] = weight
        drawn[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return drawn


def layers() -> nn.Sequential:
    """Features, avgpool, flatten, classifier, named as torchvision names them, without weights."""
    import torch
    from torch import nn

    with torch.device("meta"):  # no memory and no random draws for weights that are replaced at once
        return nn.Sequential(
            OrderedDict(
                features=nn.Sequential(
                    nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(kernel_size=3, stride=2),
                    nn.Conv2d(64, 192, kernel_size=5, padding=2),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(kernel_size=3, stride=2),
                    nn.Conv2d(192, 384, kernel_size=3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(384, 256, kernel_size=3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(256, 256, kernel_size=3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(kernel_size=3, stride=2),
                ),
                avgpool=nn.AdaptiveAvgPool2d(6),
                flatten=nn.Flatten(),
                classifier=nn.Sequential(
                    nn.Dropout(),
                    nn.Linear(POOL5, 4096),
                    nn.ReLU(inplace=True),
                    nn.Dropout(),
                    nn.Linear(4096, 4096),
                    nn.ReLU(inplace=True),
                    nn.Linear(4096, 1000),
                ),
            )
        )
