"""Drawn photos are JPEGs as phones make them, show what they were asked to, and faces are found in them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.simulator.contact_sheet import main as make_contact_sheet
from raylike.simulator.drawing import SIDE_PX, Kind, PhotoSpec, draw
from raylike.simulator.world import World

SAMPLE = 150
DETECTOR_PX, SCALE_FACTOR, MIN_FACE_PX, MIN_NEIGHBORS = 320, 1.2, 56, 1
MIN_CONFIDENCE = 5.0
"""The detector's settings that the simulator's photos were tuned with."""
NOTHING_FOUND = -np.inf


def decode(photo: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), flags)
    assert pixels is not None
    return pixels  # type: ignore[return-value]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_photo_is_a_jpeg_of_a_phone_s_size(kind: Kind) -> None:
    for seed in range(3):
        photo = draw(PhotoSpec(kind, seed))
        assert photo[:2] == b"\xff\xd8"
        assert photo[-2:] == b"\xff\xd9"
        assert decode(photo).shape == (SIDE_PX, SIDE_PX, 3)
        assert 35_000 <= len(photo) <= 160_000


def test_sizes_lie_between_40_and_150_kb(sample: Sample) -> None:
    sizes = np.array([len(photo) for photo in sample.photos]) / 1000
    assert np.mean((sizes >= 40) & (sizes <= 150)) >= 0.97
    assert 60 <= np.median(sizes) <= 110


@pytest.mark.parametrize("kind", list(Kind))
def test_the_same_spec_gives_the_same_bytes(kind: Kind) -> None:
    spec = PhotoSpec(kind, 7, text=True, border=True)
    assert draw(spec) == draw(spec)
    assert draw(spec) != draw(replace(spec, seed=8))


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "from hashlib import sha256; from raylike.simulator.drawing import *;"
        "print(sha256(draw(PhotoSpec(Kind.PERSON, 3))).hexdigest())"
    )
    environ = os.environ | {"PYTHONHASHSEED": "99"}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert told.stdout.strip() == sha256(draw(PhotoSpec(Kind.PERSON, 3))).hexdigest()


def test_attributes_show() -> None:
    plain = PhotoSpec(Kind.PERSON, 2, greenery=0.0, saturation=0.4, brightness=0.4)

    def mean_colour(spec: PhotoSpec) -> NDArray[np.float64]:
        pixels = decode(draw(spec)).astype(float)
        centre = pixels[60:-60, 60:-60].reshape(-1, 3)
        result: NDArray[np.float64] = np.array(
            [
                centre.mean(),
                np.ptp(centre, axis=1).mean(),
                (centre[:, 1] - centre[:, [0, 2]].max(axis=1) > 8).mean(),
            ]
        )
        return result

    light, colour, green = mean_colour(plain)
    assert mean_colour(replace(plain, brightness=0.9))[0] > light + 15
    assert mean_colour(replace(plain, saturation=0.9))[1] > colour + 5
    assert mean_colour(replace(plain, greenery=0.8))[2] > green + 0.1
    assert mean_colour(replace(plain, monochrome=True))[1] < 4
    bordered = decode(draw(replace(plain, border=True)))
    assert bordered[:20].std() < 3


class Sample:
    """Photos of a world's posts, and the detector's best confidence in each."""

    def __init__(self, seed: int, size: int) -> None:
        made = World(seed, 400)
        rows = np.flatnonzero(~made.posts.is_video)[:size]
        self.is_person = made.posts.kind[rows] == Kind.PERSON
        self.photos = [draw(made.spec(int(row))) for row in rows]
        cascade = cv2.CascadeClassifier(
            str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
        )  # type: ignore[attr-defined]
        self.confidence = np.array([self._best(cascade, photo) for photo in self.photos])

    @staticmethod
    def _best(cascade: cv2.CascadeClassifier, photo: bytes) -> float:
        grey = decode(photo, cv2.IMREAD_REDUCED_GRAYSCALE_2)
        assert grey.shape == (DETECTOR_PX, DETECTOR_PX)
        _, _, weights = cascade.detectMultiScale3(
            grey, scaleFactor=SCALE_FACTOR, minNeighbors=MIN_NEIGHBORS, minSize=(MIN_FACE_PX, MIN_FACE_PX),
            outputRejectLevels=True,
        )  # fmt: skip
        return float(np.max(weights)) if len(weights) else NOTHING_FOUND


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(1, SAMPLE)


def test_the_cut_keeps_people_and_drops_the_rest(sample: Sample) -> None:
    kept = sample.confidence >= MIN_CONFIDENCE
    assert np.mean(kept[sample.is_person]) >= 0.90
    assert np.mean(kept[~sample.is_person]) <= 0.05 + 1 / np.sum(~sample.is_person)


def test_about_half_of_all_photos_get_a_proposal(sample: Sample) -> None:
    assert np.mean(sample.confidence > NOTHING_FOUND) == pytest.approx(0.48, abs=0.1)


def test_the_contact_sheet_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.jpg"
    assert make_contact_sheet([str(out), "--users", "60"]) == 0
    assert decode(out.read_bytes()).shape == (1324, 1324, 3)
    assert make_contact_sheet([str(tmp_path / "no" / "sheet.jpg"), "--users", "60"]) == 73
    assert "sheet.jpg" in capsys.readouterr().err
