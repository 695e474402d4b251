"""The weights of a network: trained ones, those of a file, or random ones where neither can be had.

Weights are numpy arrays under torch's names until a worker builds layers from them (`networks.py`):
processes of one machine then read one copy out of Ray's object store. AlexNet, the default, is described
here in full, so that the driver, which only passes its weights on, imports no torch for random ones;
every other network is torchvision's or timm's (`zoo.py`).

Knows where weights are published. Knows nothing of tables or stages.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from raylike.errors import ConfigError, InputDataError, ServiceUnavailable
from raylike.tables import feature_layers
from raylike.vision import weight_files

if TYPE_CHECKING:
    import torch

State = dict[str, NDArray[Any]]
"""Parameters by torch's names, such as `features.0.weight`."""

Precision = Literal["fp32", "bf16"]

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

PIXELS = "2026-11: central square by OpenCV, area or linear"
"""How photos become pixels (`crops.py`). To be changed with it: features of other pixels are not mixed."""

PRETRAINED, RANDOM = "pretrained", "random"


@dataclass(frozen=True)
class Framing:
    """How a photo is put before a network: the sizes and colours that its weights were trained with.

    Attributes
    ----------
    square_px : the photo's central square is scaled to this side
    input_px : of that, the network sees the centre
    mean, std : of each colour, RGB in [0, 1], that the input is normalised with
    """

    square_px: int = 256
    input_px: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Choice:
    """Which weights can be had.

    Attributes
    ----------
    weights : `pretrained`, `random`, or `sha256:` and the hash of a file
    note : a line for the user if these were not asked for
    """

    weights: str
    note: str = ""


@dataclass(frozen=True)
class Backbone:
    """A network as data: cheap to send to workers, who build layers from it.

    Attributes
    ----------
    name : torchvision's name of the architecture, or `timm:NAME`
    weights : where the parameters come from, as in `Choice`
    state : the parameters; arrays may be read-only
    note : a line for the user where something was chosen for them, else empty
    identity : what tells these parameters from others of the same architecture
    framing : what its input must look like
    layers : those whose activations are wanted
    """

    name: str
    weights: str
    state: State
    note: str = ""
    identity: str = ""
    framing: Framing = field(default_factory=Framing)
    layers: tuple[str, ...] = feature_layers("alexnet")

    def recipe(self, precision: Precision, *, mirrored: bool) -> str:
        """16 hex digits that change with everything features depend on, but for the photo itself."""
        told = [self.name, self.weights, self.identity, asdict(self.framing), self.layers, precision,
                mirrored, PIXELS]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


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
            weight_files.fetch(ALEXNET_FILE)
        else:
            zoo.fetch(name)
    except OSError as error:
        lines = str(error.strerror or error).strip().splitlines() or [type(error).__name__]
        reason = f"ImageNet weights of {name} cannot be had: {lines[0]}"
        if not allow_random:
            where = ALEXNET_FILE.url if name == "alexnet" else "features.weights"
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
        state, framing = _alexnet(choice.weights, seed, weights_file), Framing()
        if not set(taken) <= set(feature_layers(name)):
            from raylike.vision import networks

            networks.check_alexnet_layers(taken)
    identity = {PRETRAINED: lambda: _digest(name, state), RANDOM: lambda: f"seed {seed}"}
    told = identity.get(choice.weights, lambda: "")()
    return Backbone(name, choice.weights, state, choice.note, told, framing, taken)


def _digest(name: str, state: State) -> str:
    """What tells published weights from those that may be published under the same name later."""
    if name == "alexnet":
        return ALEXNET_FILE.sha256
    digest = hashlib.sha256()
    for key, values in state.items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _alexnet(weights: str, seed: int, weights_file: Path | None) -> State:
    if weights == RANDOM:
        return random_state(ALEXNET, seed)
    path = weights_file or weight_files.fetch(ALEXNET_FILE)
    expected = {f"{name}.weight": shape for name, shape in ALEXNET.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in ALEXNET.items()}
    return checked(weight_files.read(path), expected, "alexnet", path)


def checked(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], name: str, path: Path
) -> State:
    """The tensors of a file as arrays, if their names and shapes are those of the network `name`.

    Raises
    ------
    InputDataError : naming the first difference
    """
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    for key in [*expected, *found]:
        if found.get(key) != expected.get(key):
            has = f"{key} is {_shape(found.get(key))}, where {name} has {_shape(expected.get(key))}"
            raise InputDataError(f"holds another network than {name}: {has}", str(path))
    return {key: (t.float() if t.is_floating_point() else t).numpy() for key, t in tensors.items()}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"


def precision(asked: Literal["auto", "fp32", "bf16"], *, gpu: bool) -> Precision:
    """The precision to compute in: for `auto`, bf16 on a GPU and on processors with instructions for it."""
    if asked != "auto":
        return asked
    return "bf16" if gpu or _processor_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def _processor_flags() -> set[str]:
    """What Linux says this machine's processor can do; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


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
