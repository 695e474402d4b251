"""Networks of torchvision and timm by name: their layers, their trained weights, what input these expect.

A name is torchvision's (`resnet50`, any of its classifiers) or `timm:` and timm's (`timm:resnet50.a1_in1k`);
timm is the optional extra of the same name. Weights are torchvision's DEFAULT, its best, and timm's default
tag. Either library is imported when a name is looked at, never before: AlexNet does without.

Knows torch, torchvision and timm. Knows nothing of tables or stages.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from raylike.errors import ConfigError
from raylike.tables import EMBEDDING
from raylike.vision import weight_files
from raylike.vision.backbones import PRETRAINED, RANDOM, Framing, State

TIMM = "timm:"
HUB = "https://huggingface.co"

LAYOUTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}
"""How torchvision builds a network for its trained weights, where that is not its default. Their own draw of
weights takes minutes; torch's does for random ones."""


def check(name: str) -> None:
    """Raise `ConfigError`, naming the nearest, for a network that there is not."""
    known = _timm_names() if name.startswith(TIMM) else _torchvision_names()
    if name.partition(".")[0] not in known and name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "torchvision's classifiers, or timm:NAME"
        raise ConfigError(f"there is no backbone {name!r}", "features.backbone", hint)
    if name.startswith(TIMM):
        try:
            _timm().get_pretrained_cfg(name.removeprefix(TIMM))
        except RuntimeError as error:  # an unknown tag, after the dot
            raise ConfigError(str(error).rstrip("."), "features.backbone") from None


def fetch(name: str) -> Path:
    """The file of a network's trained weights, downloaded if need be.

    Raises
    ------
    OSError : if it is not here and cannot be had
    """
    if name.startswith(TIMM):
        return _fetch_from_hub(name.removeprefix(TIMM))
    url = _torchvision_weights(name).url
    # torchvision ends a file's name with the beginning of its hash: resnet50-11ad3fa6.pth
    return weight_files.fetch(weight_files.WeightFile(url, url.rpartition("-")[2].removesuffix(".pth")))


def load(
    name: str, weights: str, seed: int, weights_file: Path | None, layers: Sequence[str]
) -> tuple[State, Framing]:
    """The parameters of a network that has these layers, and how its input is framed.

    Parameters
    ----------
    weights : as in `backbones.Choice`; trained ones have been fetched before

    Raises
    ------
    ConfigError : for a layer that it does not have
    InputDataError : if `weights_file` holds another network, or code
    """
    import torch

    if weights == PRETRAINED:
        network = _trained(name)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(name)
    check_layers(network, layers)
    state = network.state_dict()
    if weights not in (PRETRAINED, RANDOM) and weights_file is not None:
        expected = {key: tuple(tensor.shape) for key, tensor in state.items()}
        own = weight_files.checked(weight_files.read(weights_file), expected, name, weights_file)
        return own, framing(name)
    return {key: tensor.numpy() for key, tensor in state.items()}, framing(name)


def build(name: str) -> nn.Module:
    """The layers of a network, with weights drawn by its own rule."""
    if name.startswith(TIMM):
        return cast(nn.Module, _timm().create_model(name.removeprefix(TIMM), pretrained=False))
    from torchvision import models

    return cast(nn.Module, models.get_model(name, weights=None, **LAYOUTS.get(name, {})))


def framing(name: str) -> Framing:
    """The sizes and colours of the transforms that belong to a network's weights.

    Their geometry is kept: the shorter side scaled, the centre cut out. Their resampling is not: OpenCV's
    area averaging or linear interpolation takes the place of Pillow's bilinear or bicubic one.
    """
    if name.startswith(TIMM):
        config = _timm().data.resolve_data_config(pretrained_cfg=_pretrained_cfg(name).to_dict())
        side = config["input_size"][-1]
        square = math.floor(side / config["crop_pct"])
        return Framing(square, side, tuple(config["mean"]), tuple(config["std"]))
    transforms = _torchvision_weights(name).transforms()
    return Framing(
        transforms.resize_size[0], transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std)
    )


def check_layers(network: nn.Module, layers: Sequence[str], others: Sequence[str] = (EMBEDDING,)) -> None:
    """Raise `ConfigError` for what is neither a module of the network nor among `others`."""
    known = [*others, *(layer for layer, _ in network.named_modules() if layer)]
    for layer in layers:
        if layer not in known:
            close = difflib.get_close_matches(layer, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"such as {known[0]} or {known[-1]}"
            raise ConfigError(f"there is no layer {layer!r}", "features.layers", hint)


def tap(network: nn.Module, layer: str, seen: Callable[[Tensor], None]) -> None:
    """Have `seen` called with what a layer gives, or for `embedding` with what the last layer is given."""
    if layer == EMBEDDING:
        network.get_submodule(last_layer(network)).register_forward_pre_hook(lambda _, given: seen(given[0]))
    else:
        network.get_submodule(layer).register_forward_hook(lambda *call: seen(call[2]))


def last_layer(network: nn.Module) -> str:
    """The layer that gives the classes: the last with weights, as all these networks are written."""
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return str(layers[-1])


def _trained(name: str) -> nn.Module:
    """A network with the trained weights that `fetch` has brought."""
    if name.startswith(TIMM):
        overlay = {"file": str(fetch(name))}
        return cast(
            nn.Module,
            _timm().create_model(name.removeprefix(TIMM), pretrained=True, pretrained_cfg_overlay=overlay),
        )
    from torchvision import models

    return cast(nn.Module, models.get_model(name, weights=_torchvision_weights(name)))


@cache
def _torchvision_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _torchvision_weights(name: str) -> Any:
    from torchvision import models

    return models.get_model_weights(name).DEFAULT


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise ConfigError(
            "timm is not installed", "features.backbone", "pip install 'raylike[timm]'"
        ) from None
    return timm


@cache
def _timm_names() -> tuple[str, ...]:
    return tuple(TIMM + name for name in _timm().list_models())


def _pretrained_cfg(name: str) -> Any:
    return _timm().get_pretrained_cfg(name.removeprefix(TIMM))


def _fetch_from_hub(name: str) -> Path:
    """A timm network's file from the Hugging Face cache, or from their server.

    timm itself asks the server even for what is in the cache, and offline goes on asking for a minute.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    where = _timm().get_pretrained_cfg(name)
    if not where.hf_hub_id:
        raise FileNotFoundError(f"timm knows of no trained weights of {name}")
    file = where.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(where.hf_hub_id, file)
    if isinstance(cached, str):
        return Path(cached)
    weight_files.reach(HUB)
    return Path(hf_hub_download(where.hf_hub_id, file))
