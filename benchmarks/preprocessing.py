"""A photo put before a network in three ways, and what that does to features and to what is learned of them.

    uv run python -m benchmarks.preprocessing [--photos N] [--weights-file FILE [--backbone NAME]]

Ours is `crops.py`. `Pillow` is what torchvision's transforms do: the whole photo decoded, the shorter side
resampled by Pillow's antialiased bilinear filter (timm's networks: bicubic), the centre cut out. `Caffe` is
what the study ran: the whole photo squeezed to 256 x 256 px, the central 227 px, BGR from 0 to 255 less the
mean of each pixel over all photos. Photos are the simulator's, which are square, and the same cut to 4:3.
AlexNet has random weights; `--weights-file` adds a network with trained ones, for which Caffe's colours would
be wrong.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.features import out_of_fold
from raylike.learning.evaluation import average_precision
from raylike.simulator.drawing import draw
from raylike.simulator.world import World
from raylike.vision import crops, loading, networks
from raylike.vision.backbones import Backbone, Framing

Pixels = NDArray[np.uint8]
BATCH = 32
CAFFE_SQUARE_PX, CAFFE_INPUT_PX = 256, 227


class CaffesColours(nn.Module):
    """In the place of `Normalise`: BGR, 0 to 255, less the mean of each pixel over all photos."""

    def __init__(self, photos_NHWC: Pixels) -> None:
        super().__init__()
        self.mean = torch.from_numpy(photos_NHWC.mean(axis=0, dtype=np.float64).astype(np.float32))

    def forward(self, photos_NHWC: Tensor) -> Tensor:
        """From uint8 RGB (N, height, width, 3) to float32 (N, 3, height, width)."""
        return (photos_NHWC - self.mean).flip(3).permute(0, 3, 1, 2)


def pillows(photo: bytes, framing: Framing, method: Image.Resampling) -> Pixels:
    """As torchvision's and timm's transforms make it, before the colours."""
    with Image.open(io.BytesIO(photo)) as picture:
        rgb = picture.convert("RGB")
        scale = framing.square_px / min(rgb.size)
        scaled = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), method)
    return crops.centre(np.asarray(scaled), framing.input_px)


def caffes(photo: bytes) -> Pixels:
    """As Caffe's `convert_imageset --resize` and its data layer make it, before the colours."""
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    squeezed = cv2.resize(picture, (CAFFE_SQUARE_PX, CAFFE_SQUARE_PX))
    return crops.centre(np.asarray(cv2.cvtColor(squeezed, cv2.COLOR_BGR2RGB), np.uint8), CAFFE_INPUT_PX)


def ours(photo: bytes, framing: Framing) -> Pixels:
    """As the features stage makes it."""
    found = crops.preprocess(photo, framing.square_px, framing.input_px)
    assert found is not None
    return found


def features(backbone: Backbone, photos_NHWC: Pixels, colours: nn.Module | None) -> list[NDArray[np.float32]]:
    """The layers asked for, float32 (n, width) each; `colours` in the place of the network's own."""
    extract = networks.extractor(backbone)
    if colours is not None:
        extract.normalise = colours  # type: ignore[attr-defined]
    with torch.inference_mode():
        found = [extract(torch.from_numpy(photos_NHWC[i : i + BATCH]))
                 for i in range(0, len(photos_NHWC), BATCH)]  # fmt: skip
    return [torch.cat(layer).numpy() for layer in zip(*found, strict=True)]


def compare(
    backbone: Backbone, files: list[bytes], labels: NDArray[np.int8], method: Image.Resampling
) -> None:
    """Print cosines to ours, and LinearSVC's average precision, layer by layer."""
    ways: dict[str, Callable[[bytes], Pixels]] = {
        "ours": lambda photo: ours(photo, backbone.framing),
        "Pillow": lambda photo: pillows(photo, backbone.framing, method),
    }
    if backbone.name == "alexnet":
        ways["Caffe"] = caffes
    found = {}
    for name, way in ways.items():
        photos = np.stack([way(file) for file in files])
        found[name] = features(backbone, photos, CaffesColours(photos) if name == "Caffe" else None)
    for i, layer in enumerate(backbone.layers):
        for name in ways:
            rows, mine = found[name][i], found["ours"][i]
            cosines = (rows * mine).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(mine, axis=1)
            ap = average_precision(labels, out_of_fold(rows, labels))
            print(
                f"  {layer}, {name}: AP {ap:.4f}; cosine with ours {np.median(cosines):.4f} in the middle, "
                f"at least {cosines.min():.4f}", flush=True,
            )  # fmt: skip


def narrowed(photo: bytes) -> bytes:
    """The same photo with a quarter of its width cut off: 4:3, upright."""
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    margin = picture.shape[1] // 8
    return cv2.imencode(".jpg", picture[:, margin:-margin], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2_000)
    parser.add_argument("--weights-file", type=Path)
    parser.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    chosen = parser.parse_args()
    world, n = World(0, chosen.photos), chosen.photos
    appeal = world.appeal[:n]
    labels = (appeal > np.median(appeal)).astype(np.int8)
    square = [draw(world.spec(row)) for row in range(n)]
    alexnet = loading.load("alexnet", "random", 0, allow_random=False)
    for shape, files in (("square", square), ("4:3", [narrowed(file) for file in square])):
        print(f"{n:,} {shape} photos, AlexNet with random weights")
        compare(alexnet, files, labels, Image.Resampling.BILINEAR)
        if chosen.weights_file is not None:
            trained = loading.load(
                chosen.backbone, "imagenet", 0, allow_random=False, weights_file=chosen.weights_file
            )
            print(f"{n:,} {shape} photos, {chosen.backbone} with the weights of {chosen.weights_file.name}")
            compare(trained, files, labels, Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
