"""Other networks than AlexNet: any of their layers, their own input, misspelt names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raylike.errors import ConfigError, ServiceUnavailable
from raylike.vision import loading, networks, weight_files, zoo
from raylike.vision.backbones import PRETRAINED, Backbone

models = pytest.importorskip("torchvision.models")


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    """Random resnet18: what its last layer is given, a stage, and what an in-place ReLU then writes over."""
    layers = ("embedding", "layer3", "layer1.0.bn1")
    return loading.load("resnet18", "random", seed=1, allow_random=False, layers=layers)


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), np.uint8))


def test_layers_are_what_the_network_computes_pooled(resnet: Backbone, photos: torch.Tensor) -> None:
    theirs = models.resnet18(weights=None).eval()
    theirs.load_state_dict({name: torch.from_numpy(values) for name, values in resnet.state.items()})
    with torch.inference_mode():
        x = networks.Normalise(resnet.framing)(photos)
        stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        first = theirs.layer1[0]
        normalised = first.bn1(first.conv1(stem)).clone()
        third = theirs.layer3(theirs.layer2(theirs.layer1(stem)))
        expected = (
            theirs.avgpool(theirs.layer4(third)).flatten(1),
            third.mean((2, 3)),
            normalised.mean((2, 3)),
        )
        found = networks.extractor(resnet)(photos)
    for ours, his in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, his, rtol=1e-4, atol=1e-4)
    assert networks.widths(resnet) == {"embedding": 512, "layer3": 256, "layer1.0.bn1": 64}


def test_a_photos_features_do_not_depend_on_its_company(resnet: Backbone, photos: torch.Tensor) -> None:
    extract = networks.extractor(resnet)
    with torch.inference_mode():
        for many, one in zip(extract(photos), extract(photos[1:2]), strict=True):
            assert torch.equal(many[1:2], one)


@pytest.mark.parametrize(
    ("name", "width"),
    [("vgg11", 4096), ("squeezenet1_1", 512), ("mnasnet0_5", 1280), ("vit_b_32", 768), ("swin_t", 768),
     ("efficientnet_b0", 1280), ("convnext_tiny", 768), ("timm:vit_tiny_patch16_224", 192)],
)  # fmt: skip
def test_what_the_last_layer_is_given_is_found_in_every_kind(name: str, width: int) -> None:
    if name.startswith(zoo.TIMM):
        pytest.importorskip("timm")
    backbone = loading.load(name, "random", seed=0, allow_random=False)
    assert backbone.layers == ("embedding",)
    assert networks.widths(backbone) == {"embedding": width}


def test_fc6_and_fc7_are_the_same_by_either_way(photos: torch.Tensor) -> None:
    backbone = loading.load(
        "alexnet", "random", 0, allow_random=False, layers=("fc6", "fc7", "classifier.1", "features.12")
    )
    with torch.inference_mode():
        fc6, fc7, before_relu, pool5 = networks.extractor(backbone)(photos)
        quick = networks.FeatureExtractor(loading.load("alexnet", "random", 0, allow_random=False))(photos)
    torch.testing.assert_close((fc6, fc7), quick, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(before_relu.relu(), fc6, rtol=1e-4, atol=1e-4)
    assert before_relu.min() < 0
    assert pool5.shape == (3, 256)


def test_random_weights_follow_from_the_seed_alone() -> None:
    first = loading.load("resnet18", "random", 3, allow_random=False)
    torch.manual_seed(5)
    again, other = (loading.load("resnet18", "random", seed, allow_random=False) for seed in (3, 4))
    assert all(np.array_equal(first.state[name], again.state[name]) for name in first.state)
    assert not np.array_equal(first.state["conv1.weight"], other.state["conv1.weight"])
    assert first.recipe("fp32") == again.recipe("fp32")
    assert first.recipe("fp32") != other.recipe("fp32")


def test_a_recipe_changes_with_everything_that_features_depend_on(resnet: Backbone) -> None:
    other_layers = loading.load("resnet18", "random", 1, allow_random=False)
    recipes = {
        resnet.recipe("fp32"),
        resnet.recipe("bf16"),
        other_layers.recipe("fp32"),
    }
    assert len(recipes) == 3


def test_every_classifier_of_torchvision_says_how_to_frame_and_check_its_weights() -> None:
    for name in models.list_models(module=models):
        framing, url = zoo.framing(name), zoo._torchvision_weights(name).url
        assert framing.square_px >= framing.input_px > 0
        assert int(url.rpartition("-")[2].removesuffix(".pth"), 16) > 0, "its name ends with its hash"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet5O", "resnet50"),
        ("vgg_16", "vgg16"),
        ("alexnett", "alexnet"),
        ("timm:resnet5O", "timm:resnet50"),
    ],
)
def test_a_misspelt_backbone_names_the_nearest(name: str, nearest: str) -> None:
    if name.startswith(zoo.TIMM):
        pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=f"did you mean {nearest}") as raised:
        loading.choose(name, "random", allow_random=True)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "layer", "nearest"),
    [("resnet18", "layer_3", "layer3"), ("resnet18", "embeding", "embedding"), ("alexnet", "fc8", "fc[67]")],
)
def test_a_misspelt_layer_names_the_nearest(name: str, layer: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {nearest}"):
        loading.load(name, "random", 0, allow_random=False, layers=(layer,))


def test_an_unknown_tag_of_timm_is_refused() -> None:
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match="nosuch"):
        loading.choose("timm:resnet18.nosuch", "random", allow_random=True)


def test_without_a_network_random_weights_are_used_only_if_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(file: weight_files.WeightFile) -> Path:
        raise TimeoutError("no answer within 2 s")

    monkeypatch.setattr(weight_files, "fetch", unreachable)
    choice = loading.choose("resnet18", "imagenet", allow_random=True)
    assert (choice.weights, "resnet18 cannot be had: no answer" in choice.note) == ("random", True)
    with pytest.raises(ServiceUnavailable, match="cannot be had"):
        loading.choose("resnet18", "imagenet", allow_random=False)


def test_trained_weights_of_timm_come_from_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm, hub = pytest.importorskip("timm"), pytest.importorskip("huggingface_hub")
    from safetensors.torch import save_file

    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "model.safetensors"))
    backbone = loading.load("timm:resnet10t", "imagenet", 0, allow_random=False)
    assert backbone.weights == PRETRAINED
    assert np.array_equal(backbone.state["fc.weight"], state["fc.weight"].numpy())


def test_what_is_not_in_the_hubs_cache_is_not_waited_for_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(zoo, "HUB", "http://127.0.0.1:9")
    choice = loading.choose("timm:resnet10t", "imagenet", allow_random=True)
    assert choice.weights == "random"
