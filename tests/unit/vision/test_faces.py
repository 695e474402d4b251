"""The detectors: haar on a portrait that scikit-image ships, yunet and person on models made for the test."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from raylike import config
from raylike.config import FacesSettings
from raylike.errors import ConfigError, InputDataError, ServiceUnavailable
from raylike.vision import detectors, weight_files
from raylike.vision.detectors import Face, Model, haar, person, yunet
from raylike.vision.detectors.base import DetectorKind

skimage_data = pytest.importorskip("skimage.data")
POINTS = ((20.0, 12.0), (30.0, 12.0), (25.0, 18.0), (21.0, 24.0), (29.0, 24.0))


def gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def found_by_haar(pixels: NDArray[np.uint8], **settings: object) -> Sequence[Face]:
    return haar.create(FacesSettings.model_validate(settings), None).detect(pixels)


# haar


@pytest.mark.parametrize("size_px", [240, 512, None])
def test_haar_finds_the_astronaut_where_she_is_in_px_of_the_picture(size_px: int | None) -> None:
    best = found_by_haar(gray(skimage_data.astronaut()), size_px=size_px, min_face_px=28)[0]
    assert 176 < best.x + best.width / 2 < 272
    assert 64 < best.y + best.height / 2 < 160
    assert best.confidence > 2
    assert best.landmarks == ()


def test_best_confidence_comes_first() -> None:
    faces = found_by_haar(gray(skimage_data.astronaut()), min_face_px=20, scale_factor=1.05)
    confidences = [face.confidence for face in faces]
    assert len(confidences) > 1
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize("picture", [np.zeros((320, 320)), np.full((320, 320), 128)])
@pytest.mark.parametrize("profile", [False, True])
def test_an_even_surface_has_no_face(picture: NDArray[np.uint8], profile: bool) -> None:
    assert not found_by_haar(picture.astype(np.uint8), profile=profile)


def test_faces_from_the_side_are_looked_for_both_ways_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Cascade:
        def __init__(self, name: str) -> None:
            self.name = name

        def detectMultiScale3(self, image: NDArray[np.uint8], **_: object) -> tuple[object, ...]:
            if self.name == haar.FRONTAL or not image[0, 0]:
                return (), (), ()
            seen.append(image.shape)
            return np.array([[0, 5, 10, 12]]), (), np.array([2.0])

    monkeypatch.setattr(haar, "_cascade", Cascade)
    pixels = np.zeros((40, 100), np.uint8)
    pixels[0, -1] = 255  # lit where the mirrored picture begins
    (face,) = found_by_haar(pixels, profile=True)
    assert (face.x, face.y, face.width, face.height) == (90, 5, 10, 12)
    assert seen == [(40, 100)]
    assert not found_by_haar(pixels, profile=False)


def test_haar_takes_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="haar takes no model file"):
        haar.KIND.load(FacesSettings(model_path=tmp_path / "model.onnx"))


# yunet


class Network:
    """Stands for OpenCV's network: sees a face where a picture is white, as sure as `confidences` say.

    Rows are as OpenCV documents them: box, five points, confidence.
    """

    def __init__(self, confidences: Sequence[float]) -> None:
        self.confidences = list(confidences)
        self.sizes: list[tuple[int, int]] = []

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.sizes.append(size)

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32] | None]:
        assert (pixels.shape[1], pixels.shape[0]) == self.sizes[-1]
        confidence = self.confidences.pop(0)
        if confidence < yunet.PROPOSED:
            return 1, None
        lit = np.argwhere(pixels[:, :, 0] > 128)
        (top, left), (bottom, right) = lit.min(0), lit.max(0) + 1
        width, height = right - left, bottom - top
        points = [
            (left + 0.25 * width, top), (right, top), (left + 0.5 * width, top),
            (left, bottom), (right, bottom),
        ]  # fmt: skip
        row = [left, top, width, height, *np.ravel(points), confidence]
        return 1, np.array([row], np.float32)


Look = Callable[..., tuple[Sequence[Face], Network]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Looks at a photo of 240 x 120 px with one white field, through a network with the given confidences."""

    def run(*confidences: float, second_look: bool = True) -> tuple[Sequence[Face], Network]:
        trials = [0.0] * (1 + second_look)  # when the detector is built
        network = Network([*trials, *confidences])
        network.sizes.append((32, 32))
        monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: network)
        detector = yunet.YuNetDetector(Model("", b"model"), 480, second_look)
        pixels = np.zeros((120, 240, 3), np.uint8)
        pixels[30:60, 40:80] = 255
        return detector.detect(pixels), network

    return run


@pytest.mark.parametrize(("confidence", "kept"), [(0.95, [0.95]), (0.4, [0.4]), (0.1, [])])
def test_a_photo_beyond_doubt_is_looked_at_once(look: Look, confidence: float, kept: list[float]) -> None:
    faces, network = look(confidence)
    assert network.sizes[1:] == [(480, 240)]
    assert [face.confidence for face in faces] == pytest.approx(kept)


def test_a_second_look_that_is_spared_could_not_have_reached_the_cut() -> None:
    highest_mean = (yunet.DOUBTFUL + 1) / 2
    assert highest_mean == pytest.approx(yunet.MIN_CONFIDENCE)
    assert yunet.PROPOSED < yunet.DOUBTFUL < yunet.MIN_CONFIDENCE < yunet.SURE


def test_a_doubtful_photo_is_looked_at_again_and_its_face_has_the_mean_confidence(look: Look) -> None:
    faces, network = look(0.8, 0.6)
    assert network.sizes[1:] == [(480, 240), (640, 320)]
    (face,) = faces
    assert face.confidence == pytest.approx(0.7)
    assert (face.x, face.y, face.width, face.height) == pytest.approx((40, 30, 40, 30), abs=1)
    assert face.landmarks[0] == pytest.approx((50, 30), abs=1)


def test_a_face_that_only_one_look_sees_has_half_its_confidence(look: Look) -> None:
    faces, _ = look(0.8, 0.1)
    assert [face.confidence for face in faces] == pytest.approx([0.4])


def test_the_second_look_can_be_left_out(look: Look) -> None:
    faces, network = look(0.8, second_look=False)
    assert network.sizes[1:] == [(480, 240)]
    assert [face.confidence for face in faces] == pytest.approx([0.8])


def test_a_face_seen_only_in_the_second_look_is_kept() -> None:
    one, other = Face(0, 0, 10, 10, 0.8), Face(50, 0, 10, 10, 0.6)
    merged = yunet.agree([one], [other])
    assert [(face.x, face.confidence) for face in merged] == [(0, 0.4), (50, 0.3)]


def test_mirroring_twice_changes_nothing_and_once_swaps_left_and_right() -> None:
    face = Face(15, 5, 20, 25, 0.5, POINTS)
    mirrored = yunet.mirror(face, 100)
    assert (mirrored.x, mirrored.y) == (65, 5)
    assert mirrored.landmarks[0] == (100 - POINTS[1][0], POINTS[1][1])
    assert yunet.mirror(mirrored, 100) == face


@pytest.mark.parametrize(
    ("other", "expected"), [((0, 0), 1.0), ((5, 0), 1 / 3), ((10, 0), 0.0), ((20, 20), 0.0)]
)
def test_overlap_is_intersection_over_union(other: tuple[float, float], expected: float) -> None:
    assert yunet.overlap(Face(0, 0, 10, 10, 1), Face(*other, 10, 10, 1)) == pytest.approx(expected)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(InputDataError, match="is no YuNet model") as raised:
        yunet.KIND.load(FacesSettings(detector="yunet", model_path=path))
    assert raised.value.where == str(path)


def test_a_model_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        yunet.KIND.load(FacesSettings(detector="yunet", model_path=tmp_path / "none.onnx"))


@pytest.mark.parametrize("detector", ["yunet", "person"])
def test_without_network_the_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, detector: str) -> None:
    def unreachable(file: weight_files.WeightFile) -> Path:
        raise TimeoutError("no answer within 2 s")

    monkeypatch.setattr(weight_files, "fetch", unreachable)
    with pytest.raises(ServiceUnavailable, match="no answer within 2 s") as raised:
        detectors.kind(detector).load(FacesSettings(detector=detector))
    assert raised.value.exit_code == 69
    assert "--model" in raised.value.hint
    assert raised.value.where.startswith("https://")


def test_a_downloaded_model_with_another_hash_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weight_files, "_open", lambda _: io.BytesIO(b"another file"))
    with pytest.raises(ServiceUnavailable, match="SHA-256 differs"):
        yunet.KIND.load(FacesSettings(detector="yunet"))
    assert not list(tmp_path.rglob("*.onnx*"))


def test_a_named_model_is_taken_whatever_its_hash_and_the_hash_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"mine")
    monkeypatch.setattr(yunet, "create", lambda *_: None)
    model = yunet.load(FacesSettings(detector="yunet", model_path=path))
    assert (model.sha256, model.source) == (hashlib.sha256(b"mine").hexdigest(), str(path))


@pytest.mark.skipif(not os.environ.get("YUNET_MODEL"), reason="YUNET_MODEL names no file")
def test_the_real_network_finds_the_astronaut_and_no_face_in_a_cup_of_coffee() -> None:
    settings = FacesSettings(detector="yunet", model_path=Path(os.environ["YUNET_MODEL"]))
    detector = detectors.built(settings, yunet.KIND.load(settings))
    best = detector.detect(skimage_data.astronaut())[0]
    assert yunet.MIN_CONFIDENCE < best.confidence <= 1
    (right, _), (left, _), *_ = best.landmarks
    assert best.x < right < left < best.x + best.width
    assert all(face.confidence < yunet.MIN_CONFIDENCE for face in detector.detect(skimage_data.coffee()))


# person


def test_person_keeps_only_people_and_random_weights_stand_for_trained_ones(tmp_path: Path) -> None:
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    network = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = tmp_path / "person.pth"
    torch.save(network.state_dict(), path)
    settings = FacesSettings(detector="person", model_path=path)
    detector = person.create(settings, person.KIND.load(settings))
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [10.0, 10.0, 30.0, 50.0]])
    seen: list[torch.Tensor] = []

    def answer(pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        seen.extend(pictures)
        return [{"boxes": boxes, "labels": torch.tensor([2, 1]), "scores": torch.tensor([0.9, 0.8])}]

    pixels = np.full((320, 640, 3), 255, np.uint8)
    assert all(0 <= face.confidence <= 1 for face in detector.detect(pixels))
    detector._network = answer
    (face,) = detector.detect(pixels)
    assert (face.x, face.y, face.width, face.height) == (20, 20, 40, 80)
    assert face.confidence == pytest.approx(0.8)
    assert seen[0].shape == (3, 160, 320)
    assert float(seen[0].max()) == 1.0


def test_other_weights_are_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(InputDataError, match="holds no weights"):
        person.KIND.load(FacesSettings(detector="person", model_path=path))


# Registered ones


class OneFace:
    colour = False
    at_least_px = 100

    def detect(self, pixels: NDArray[np.uint8]) -> Sequence[Face]:
        return [Face(0, 0, 10, 10, 0.5)]


MINE = DetectorKind("mine", 0.25, lambda settings, model: OneFace())


def bring(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Make entry points look as if a package had brought `mine`."""
    entry = EntryPoint("mine", value, config.DETECTOR_GROUP)

    def found(**chosen: str) -> EntryPoints:
        return EntryPoints([entry]).select(**chosen)

    monkeypatch.setattr("raylike.config.photos.entry_points", found)
    monkeypatch.setattr(detectors, "entry_points", found)


def test_a_package_brings_a_detector_with_a_cut_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("raylike_mine")
    package.MINE = MINE  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raylike_mine", package)
    bring(monkeypatch, "raylike_mine:MINE")
    settings = FacesSettings(detector="mine")
    assert detectors.kind("mine") is MINE
    assert detectors.min_confidence(settings) == 0.25
    assert detectors.built(settings, None).detect(np.zeros((9, 9), np.uint8))[0].confidence == 0.5


@pytest.mark.parametrize(
    ("value", "message"), [("no.such.module:KIND", "cannot be imported"), ("os:getcwd", "no DetectorKind")]
)
def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    bring(monkeypatch, value)
    with pytest.raises(ConfigError, match=message) as raised:
        detectors.kind("mine")
    assert "raylike.face_detectors" in raised.value.where


def test_an_unknown_detector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="haar, yunet, person"):
        config.resolve({"faces": {"detector": "hear"}}, environ={})


@pytest.mark.parametrize(("name", "cut"), [("haar", 5.0), ("yunet", 0.72), ("person", 0.5)])
def test_each_detector_has_its_own_cut_until_one_is_chosen(name: str, cut: float) -> None:
    assert detectors.kind(name).name == name
    assert detectors.min_confidence(FacesSettings(detector=name)) == cut
    assert detectors.min_confidence(FacesSettings(detector=name, min_confidence=0.0)) == 0.0
