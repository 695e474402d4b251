"""A network as an ONNX file, checked against torch on photos that it was not traced with.

Knows torch's exporter and onnxruntime, the optional extra `onnx`. Knows nothing of what the network is for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TRACED, CHECKED = 2, 5
"""Photos that the exporter sees, and that both are asked about: another number, for it must not be fixed."""


def available() -> bool:
    """Whether the extra `onnx` is installed."""
    return all(importlib.util.find_spec(package) for package in PACKAGES)


def export(network: nn.Module, side: int, path: Path) -> float:
    """Write `photos` uint8 (n, side, side, 3) -> `score` float32 (n,) for any n.

    Returns
    -------
    The greatest difference between torch's scores and onnxruntime's for random photos.
    """
    import onnxruntime

    with _silence():
        torch.onnx.export(
            network,
            (_photos(TRACED, side),),
            str(path),
            input_names=["photos"],
            output_names=["score"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    photos = _photos(CHECKED, side)
    with torch.inference_mode():
        expected = network(photos).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["score"], {"photos": photos.numpy()})
    return float(np.abs(found - expected).max())


def _photos(n: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=generator)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter prints and logs what it finds normal."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
