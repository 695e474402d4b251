"""Detector person: whole people instead of faces, by a network that was trained on COCO.

The study's outlook: a photo of somebody from behind shows a person and no face. The network is
torchvision's SSDLite320 on MobileNetV3 (Sandler et al. 2018, Howard et al. 2019).

Knows torchvision's detection models; imports torch only when it is built. Knows nothing of tables.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import InputDataError
from raylike.vision import weight_files
from raylike.vision.detectors.base import DetectorKind, Face, Model, read_model, resize

PERSON_FILE = weight_files.WeightFile(
    "https://download.pytorch.org/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth", "a79551df"
)
"""What `SSDLite320_MobileNet_V3_Large_Weights.COCO_V1` names; 13 MB."""
COCO_CLASSES = 91
"""Background and COCO's numbering, gaps included."""
PERSON = 1
SIZE_PX = 320
"""The network scales every picture to 320 x 320 px itself."""
MIN_CONFIDENCE = 0.5
"""A usual cut for detectors of objects; not measured on photos of ours."""


class PersonDetector:
    """Boxes of people with a confidence in [0, 1].

    Raises
    ------
    InputDataError : if the file holds other weights
    """

    colour = True

    def __init__(self, model: Model, size_px: int) -> None:
        import torch
        from torchvision.models import detection

        self.at_least_px = size_px
        self._torch = torch
        torch.set_num_threads(1)  # one process a core
        network = detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=COCO_CLASSES
        )
        try:
            network.load_state_dict(torch.load(io.BytesIO(model.data), map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, AttributeError, TypeError, EOFError) as error:
            raise InputDataError(
                "holds no weights of ssdlite320_mobilenet_v3_large", model.source, "take torchvision's file"
            ) from error
        self._network = network.eval()

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        """All people in an RGB picture of shape (height, width, 3), best confidence first."""
        picture, scale = resize(pixels, self.at_least_px)
        with self._torch.inference_mode():
            tensor = self._torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
            (found,) = self._network([tensor])
        people = found["labels"] == PERSON
        return [
            Face(x, y, right - x, bottom - y, confidence).scaled(scale)
            for (x, y, right, bottom), confidence in zip(
                found["boxes"][people].tolist(), found["scores"][people].tolist(), strict=True
            )
        ]


def load(settings: FacesSettings) -> Model:
    """Read or fetch the weights, and refuse others."""
    model = read_model(settings, PERSON_FILE)
    create(settings, model)
    return model


def create(settings: FacesSettings, model: Model | None) -> PersonDetector:
    """The detector that the settings describe."""
    assert model is not None
    return PersonDetector(model, settings.size_px or SIZE_PX)


KIND = DetectorKind("person", MIN_CONFIDENCE, create, load)
