"""A network as data: its name, weights, layers, what its input looks like; what features depend on.

Weights are numpy arrays under torch's names until a worker builds layers from them (`networks.py`):
processes of one machine then read one copy out of Ray's object store. Below this module there is nothing;
`alexnet.py` and `zoo.py` know networks, `loading.py` gets one by name.

Knows numpy alone. Knows nothing of where weights are published, of torch, tables or stages.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from raylike.tables import feature_layers

State = dict[str, NDArray[Any]]
"""Parameters by torch's names, such as `features.0.weight`."""

Precision = Literal["fp32", "bf16"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of ImageNet's training photos, RGB in [0, 1]; what torchvision's weights expect."""

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

    def recipe(self, precision: Precision) -> str:
        """16 hex digits that change with everything features depend on, but for the photo itself."""
        told = [self.name, self.weights, self.identity, asdict(self.framing), self.layers, precision,
                PIXELS]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


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
