"""AlexNet as torch layers, and the part of it that turns photos into features.

The layers are written out here, named as torchvision names them, so that a worker imports torch
alone: torchvision costs every process 6 s more.

Knows torch. Knows nothing of where weights or photos come from.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from raylike.vision.backbones import POOL5, Backbone

EQUAL_ROWS = 32
"""Rows that fully connected layers are given at a time, never fewer: see `equal_batches`."""


def build(backbone: Backbone) -> nn.Sequential:
    """AlexNet: features, avgpool, flatten, classifier; from (N, 3, 224, 224) to (N, 1000).

    The layers share the backbone's arrays: clone what is to be trained.
    """
    with torch.device("meta"):  # no memory and no random draws for weights that are replaced at once
        network = nn.Sequential(
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
    with warnings.catch_warnings():
        # Arrays out of the object store are read-only; torch warns, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        state = {name: torch.from_numpy(values) for name, values in backbone.state.items()}
    network.load_state_dict(state, assign=True)
    return network


class Normalise(nn.Module):
    """From uint8 (N, height, width, 3) to float32 (N, 3, height, width), channels last in memory."""

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (mean / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, photos_NHWC: Tensor) -> Tensor:
        """Normalise with the mean and standard deviation of the photos the network was trained on."""
        return photos_NHWC.permute(0, 3, 1, 2).float() * self.scale - self.shift


class FeatureExtractor(nn.Module):
    """AlexNet up to fc7, for inference: dropout is left out."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        network = build(backbone)
        classifier = cast(nn.Sequential, network[-1])
        self.convolutions = nn.Sequential(Normalise(backbone), *network[:-1])
        self.convolutions.to(memory_format=torch.channels_last)
        self.fc6 = nn.Sequential(classifier[1], nn.ReLU())
        self.fc7 = nn.Sequential(classifier[4], nn.ReLU())
        self.eval().requires_grad_(False)

    def forward(self, photos_NHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Features after ReLU of uint8 photos (N, 224, 224, 3): fc6 and fc7, each float32 (N, 4096)."""
        pooled_ND = self.convolutions(photos_NHWC)
        fc6 = [self.fc6(rows) for rows in equal_batches(pooled_ND)]
        fc7 = [self.fc7(rows) for rows in fc6]
        n = len(photos_NHWC)
        return torch.cat(fc6)[:n], torch.cat(fc7)[:n]


def equal_batches(rows: Tensor) -> Iterator[Tensor]:
    """Cut into batches of exactly `EQUAL_ROWS`, the last filled up with copies of its first row.

    How a matrix product rounds depends on its shape (oneDNN: up to 5e-6 between 3 rows and 32; convolutions
    do not care). With one shape for all, a photo's features are the same bits in any company, and a run that
    was killed and went on ends with the tables of an undisturbed one.
    """
    for batch in torch.split(rows, EQUAL_ROWS):
        missing = EQUAL_ROWS - len(batch)
        yield torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])]) if missing else batch
