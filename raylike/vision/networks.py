"""Networks as torch layers, and the parts of them that turn photos into features.

Knows torch, and `alexnet.py` and `zoo.py`, which know the layers of each network. Knows nothing of where
weights or photos come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from raylike.tables import FEATURE_LAYERS
from raylike.vision import alexnet, zoo
from raylike.vision.backbones import Backbone, Framing, Precision, State

EQUAL_ROWS = 32
"""Rows that fully connected layers are given at a time, never fewer: see `equal_batches`."""


def build(backbone: Backbone) -> nn.Sequential:
    """AlexNet: features, avgpool, flatten, classifier; from (N, 3, 224, 224) to (N, 1000).

    The layers share the backbone's arrays: clone what is to be trained.
    """
    network = alexnet.layers()
    network.load_state_dict(_tensors(backbone.state), assign=True)
    return network


def assembled(backbone: Backbone) -> nn.Module:
    """Any network with its weights, from (N, 3, side, side) to (N, classes); AlexNet's are shared arrays."""
    if backbone.name == "alexnet":
        return build(backbone)
    network = zoo.build(backbone.name)
    tensors = _tensors(backbone.state)
    for key, own in network.state_dict().items():
        own.copy_(tensors[key])
    return network


def _tensors(state: State) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # Arrays out of the object store are read-only; torch warns, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return {name: torch.from_numpy(values) for name, values in state.items()}


class Normalise(nn.Module):
    """From uint8 (N, height, width, 3) to float32 (N, 3, height, width), channels last in memory."""

    scale: Tensor
    shift: Tensor

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        mean, std = torch.tensor(framing.mean), torch.tensor(framing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (mean / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, photos_NHWC: Tensor) -> Tensor:
        """Normalise with the mean and standard deviation of the photos the network was trained on."""
        return photos_NHWC.permute(0, 3, 1, 2).to(torch.float32, copy=True).mul_(self.scale).sub_(self.shift)


class Extractor(Protocol):
    """What turns uint8 photos (N, side, side, 3) into a float32 (N, width) for each layer asked for."""

    def to(self, device: torch.device) -> Extractor:
        """The same, on another device."""

    def __call__(self, photos_NHWC: Tensor) -> tuple[Tensor, ...]:
        """Features of photos, which lie on the same device."""


def extractor(backbone: Backbone, precision: Precision = "fp32") -> Extractor:
    """The part of a network that gives the layers asked for."""
    if backbone.name == "alexnet" and set(backbone.layers) <= set(FEATURE_LAYERS["alexnet"]):
        return FeatureExtractor(backbone, precision)
    return LayerTaps(backbone, precision)


def widths(backbone: Backbone) -> dict[str, int]:
    """How many numbers a photo has in each layer asked for; looked up if possible, else tried out."""
    known = FEATURE_LAYERS.get(backbone.name, {})
    if set(backbone.layers) <= set(known):
        return {layer: known[layer] for layer in backbone.layers}
    side = backbone.framing.input_px
    with torch.inference_mode():
        seen = LayerTaps(backbone).look(torch.zeros((1, side, side, 3), dtype=torch.uint8))
    return {layer: values.shape[1] for layer, values in seen.items()}


class FeatureExtractor(nn.Module):
    """AlexNet up to fc7, for inference: dropout is left out."""

    def __init__(self, backbone: Backbone, precision: Precision = "fp32") -> None:
        super().__init__()
        network = build(backbone)
        classifier = cast(nn.Sequential, network[-1])
        self.normalise = Normalise(backbone.framing)
        self.convolutions = network[:-1]
        self.convolutions.to(memory_format=torch.channels_last)
        self.fc6 = nn.Sequential(classifier[1], nn.ReLU())
        self.fc7 = nn.Sequential(classifier[4], nn.ReLU())
        self._layers = backbone.layers
        self._dtype = _as(self, precision)

    def forward(self, photos_NHWC: Tensor) -> tuple[Tensor, ...]:
        """Features after ReLU of uint8 photos (N, 224, 224, 3): of fc6 and fc7 those asked for, (N, 4096)."""
        pooled_ND = self.convolutions(self.normalise(photos_NHWC).to(self._dtype))
        fc6 = [self.fc6(rows) for rows in equal_batches(pooled_ND)]
        found = {"fc6": fc6, "fc7": [self.fc7(rows) for rows in fc6] if "fc7" in self._layers else []}
        return tuple(torch.cat(found[layer])[: len(photos_NHWC)].float() for layer in self._layers)


class LayerTaps(nn.Module):
    """Any network, for inference, with what some of its layers give written down on the way.

    Maps (N, channels, height, width) are averaged over their places, tokens (N, places, channels) too.
    """

    def __init__(self, backbone: Backbone, precision: Precision = "fp32") -> None:
        super().__init__()
        self.network = assembled(backbone)
        self.network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(backbone.framing)
        self._layers = backbone.layers
        self._seen: dict[str, Tensor] = {}
        aliases = alexnet.ALIASES if backbone.name == "alexnet" else {}
        for layer in self._layers:
            zoo.tap(self.network, aliases.get(layer, layer), self._keeper(layer))
        self._dtype = _as(self, precision)

    def forward(self, photos_NHWC: Tensor) -> tuple[Tensor, ...]:
        """A float32 (N, width) for each layer asked for, of uint8 photos (N, side, side, 3)."""
        seen = [self.look(batch) for batch in equal_batches(photos_NHWC)]
        n = len(photos_NHWC)
        return tuple(torch.cat([found[layer] for found in seen])[:n] for layer in self._layers)

    def look(self, photos_NHWC: Tensor) -> dict[str, Tensor]:
        """The same by layer, of a batch as it is."""
        self._seen = {}
        self.network(self.normalise(photos_NHWC).to(self._dtype))
        return self._seen

    def _keeper(self, layer: str) -> Callable[[Tensor], None]:
        def keep(given: Tensor) -> None:
            # A copy at once: the next layer may write into the very same memory.
            self._seen[layer] = pooled(given.float()).clone()

        return keep


def pooled(given: Tensor) -> Tensor:
    """One row (N, channels) of what a layer gives: maps and tokens are averaged over their places."""
    if given.dim() == 4:
        return given.mean(dim=(2, 3))
    return given.mean(dim=1) if given.dim() == 3 else given.flatten(1)


def _as(module: nn.Module, precision: Precision) -> torch.dtype:
    """Make a module ready for inference in a precision; colours are normalised before they are rounded."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for name, child in module.named_children():
        if name != "normalise":
            child.to(dtype)
    module.eval().requires_grad_(False)
    return dtype


def equal_batches(rows: Tensor) -> Iterator[Tensor]:
    """Cut into batches of exactly `EQUAL_ROWS`, the last filled up with copies of its first row.

    How a matrix product rounds depends on its shape (oneDNN: up to 5e-6 between 3 rows and 32; convolutions
    do not care). With one shape for all, a photo's features are the same bits in any company, and a run that
    was killed and went on ends with the tables of an undisturbed one.
    """
    for batch in torch.split(rows, EQUAL_ROWS):
        missing = EQUAL_ROWS - len(batch)
        yield torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])]) if missing else batch
