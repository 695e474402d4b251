"""What the faces stage makes of one photo: decoded once, for the detector and for the perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.stages import faces
from raylike.vision import decode
from raylike.vision.detectors import Face
from raylike.vision.perceptual_hash import AT_LEAST_PX, perceptual_hash
from tests.pictures import encode

PIXELS = np.kron(
    np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8), np.ones((40, 40, 1), np.uint8)
)
PHOTO = encode(PIXELS)


class Detector:
    """Sees one face in the upper left corner, or none; keeps what it was shown."""

    def __init__(self, colour: bool, at_least_px: int, sees: bool = True) -> None:
        self.colour = colour
        self.at_least_px = at_least_px
        self._sees = sees
        self.shown: list[NDArray[np.uint8]] = []

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        self.shown.append(pixels)
        return [Face(0, 0, pixels.shape[1] / 2, pixels.shape[0] / 2, 0.5)] * self._sees


@pytest.mark.parametrize(("colour", "at_least_px"), [(False, 8), (False, 320), (True, 640)])
@pytest.mark.parametrize("sees", [True, False])
def test_one_decode_serves_the_detector_and_the_hash(
    monkeypatch: pytest.MonkeyPatch, colour: bool, at_least_px: int, sees: bool
) -> None:
    decoded: list[decode.Picture] = []
    honest = decode.decode

    def counted(*arguments: object, **options: object) -> decode.Picture | None:
        picture = honest(*arguments, **options)  # type: ignore[arg-type]
        assert picture is not None
        decoded.append(picture)
        return picture

    monkeypatch.setattr(decode, "decode", counted)
    detector = Detector(colour, at_least_px, sees)
    row = faces._look(PHOTO, detector)
    (picture,) = decoded
    assert detector.shown[0] is picture.pixels
    assert max(picture.pixels.shape[:2]) >= AT_LEAST_PX
    assert (row["status"], row["n_faces"]) == ("ok", int(sees))
    assert row["phash"] == perceptual_hash(picture.pixels)
    assert all(face["width"] == pytest.approx(320) for face in row["faces"])


def test_what_cannot_be_decoded_has_a_status_and_no_hash() -> None:
    row = faces._look(encode(PIXELS, "PNG")[:60] + b"garbage IEND", Detector(False, 320))
    assert (row["status"], row["n_faces"], row.get("phash")) == ("undecodable", 0, None)
