"""Features of a GPU are those of a CPU, within what rounding allows. Left out where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylike.vision import backbones, loading, networks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}
"""Of the largest activation. cuDNN may round inputs of fp32 convolutions to TF32's 10 bits (2^-11 = 5e-4);
bf16 keeps 8 bits (2^-9 = 2e-3), over eight layers."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_a_gpu_agrees_with_the_cpu(name: str, precision: backbones.Precision) -> None:
    backbone = loading.load(name, "random", 0, allow_random=False)
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (40, 224, 224, 3), np.uint8))
    device = torch.device("cuda")
    with torch.inference_mode():
        expected = networks.extractor(backbone)(photos)
        found = networks.extractor(backbone, precision).to(device)(photos.to(device))
    for ours, cpus in zip(found, expected, strict=True):
        assert float((ours.cpu() - cpus).abs().max() / cpus.abs().max()) < TOLERANCE[precision]
