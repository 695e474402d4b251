"""Networks made ready for another question: a new last layer, and below it what learns and what stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raylike.errors import ConfigError
from raylike.learning.blocks import blocks, freeze_below, to_training
from raylike.learning.tails import split, width
from raylike.vision import backbones, loading, zoo

ALL_ALEXNET = 8


@pytest.fixture(scope="module")
def alexnet() -> backbones.Backbone:
    return loading.load("alexnet", "random", seed=0, allow_random=False)


@pytest.fixture(scope="module")
def resnet() -> backbones.Backbone:
    return loading.load("timm:test_resnet", "random", seed=0, allow_random=False)


def moving(tail: nn.Module) -> list[bool]:
    return [any(parameter.requires_grad for parameter in block) for block in blocks(tail)]


@pytest.mark.parametrize("trainable", ["head", "2"])
def test_trunk_and_tail_together_are_the_network(alexnet: backbones.Backbone, trainable: str) -> None:
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    trunk, tail = split(alexnet, trainable, seed=3)
    nothing, whole = split(alexnet, "all", seed=3)
    assert trunk is not None
    assert nothing is None
    with torch.inference_mode():
        seen = trunk(photos)
        assert seen.shape[1] == width("alexnet", trainable)
        torch.testing.assert_close(tail.eval()(seen), whole.eval()(photos), rtol=1e-3, atol=1e-4)


def test_the_last_layer_of_any_network_is_replaced(resnet: backbones.Backbone) -> None:
    side = resnet.framing.input_px
    photos = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    trunk, tail = split(resnet, "head", outputs=1)
    nothing, whole = split(resnet, "head", outputs=1, whole=True)
    assert trunk is not None
    assert nothing is None
    assert moving(whole) == [False] * (len(blocks(whole)) - 1) + [True]
    with torch.inference_mode():
        torch.testing.assert_close(tail.eval()(trunk(photos)), whole.eval()(photos))
        assert trunk(photos).shape[1] == width(resnet.name, "head")


@pytest.mark.parametrize(("trainable", "n"), [("1", 2), ("3", 4), ("all", None)])
def test_so_many_blocks_move(resnet: backbones.Backbone, trainable: str, n: int | None) -> None:
    found = moving(split(resnet, trainable)[1])
    expected = len(found) if n is None else n
    assert found == [False] * (len(found) - expected) + [True] * expected


@pytest.mark.parametrize(
    ("trainable", "n"), [("all", 8), ("5", 6), ("classifier", 3), ("fc7", 2), ("1", 2), ("head", 1)]
)
def test_alexnets_layers_by_name_and_number(alexnet: backbones.Backbone, trainable: str, n: int) -> None:
    assert sum(moving(split(alexnet, trainable)[1])) == n


@pytest.mark.parametrize("trainable", ["all", "classifier", "head"])
def test_a_tail_has_weights_of_its_own(alexnet: backbones.Backbone, trainable: str) -> None:
    shared = {array.ctypes.data for array in alexnet.state.values()}
    _, tail = split(alexnet, trainable)
    assert shared.isdisjoint(parameter.data_ptr() for parameter in tail.parameters())


def test_a_network_whose_last_layer_does_not_give_its_classes_is_refused(
    resnet: backbones.Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "last_layer", lambda network: "layer1.0.conv1")
    with pytest.raises(ConfigError, match="cannot be fine-tuned"):
        split(resnet, "all")


def test_a_norm_goes_with_the_block_before_it_and_stands_still_with_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4),
                            nn.Flatten(), nn.Linear(4, 2))  # fmt: skip
    freeze_below(network, 1)
    to_training(network)
    assert moving(network) == [False, True, True]
    assert [network[1].training, network[3].training] == [False, True]
