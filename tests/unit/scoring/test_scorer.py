"""A photo's score, what made it and its best crop, with a model that likes green."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raylike.scoring.results import PLAIN, Box, FoundFace
from raylike.scoring.scorer import Unread, upright_size
from raylike.scoring.windows import held
from tests.hostile_files import FILES, STATUS
from tests.pictures import encode, photo, scene
from tests.unit.scoring.fakes import HELD_OUT, green_model, green_scorer, patched


def flat(green: int) -> bytes:
    return encode(np.full((256, 256, 3), (0, green, 0), np.uint8), "PNG")


def test_the_percentile_is_the_share_of_held_out_photos_below() -> None:
    standard = green_model().standard
    assert standard.percentile(np.array([-1.0, 2.0])).tolist() == [0, 100]
    assert standard.percentile(HELD_OUT[[50]]).tolist() == [50]
    between = (HELD_OUT[9] + HELD_OUT[10]) / 2
    assert standard.percentile(np.array([between])) == pytest.approx(100 * 10 / 101)


def test_greener_photos_are_better_and_keep_their_order() -> None:
    found = green_scorer().score([(str(g), flat(g)) for g in (200, 0, 100)], PLAIN)
    assert [result.photo for result in found] == ["200", "0", "100"]
    values = [result.percentile for result in found]
    assert values[1] < values[2] < values[0]  # type: ignore[operator]
    chances = [result.probability for result in found]
    assert chances[1] < chances[2] < chances[0]  # type: ignore[operator]


@pytest.mark.parametrize(("name", "status"), [(n, s) for n, s in STATUS.items() if n != "large"])
def test_a_hostile_file_is_a_result_with_a_reason(name: str, status: str) -> None:
    good, bad = green_scorer().score([("good", photo()), (name, FILES[name])], PLAIN)
    assert (bad.status, bad.score) == (status, None)
    assert bad.error
    assert good.score is not None
    assert json.loads(json.dumps(bad.as_json())) == {"photo": name, "status": status, "error": bad.error}


def test_what_could_not_be_read_keeps_its_reason() -> None:
    (result,) = green_scorer().score([("x", Unread("gone", "there is no such file"))])
    assert (result.status, result.error) == ("gone", "there is no such file")


def test_the_green_part_is_what_raised_the_score() -> None:
    (result,) = green_scorer().score([("x", patched(256, 256, 30, 30, 60))])
    explanation = result.explanation
    assert explanation is not None
    assert explanation.raised[0].where == "top left"
    assert explanation.raised[0].points > 1
    assert explanation.lowered == ()
    assert result.seen == Box(16, 16, 224, 224)


def test_a_part_with_the_face_is_called_so() -> None:
    face = FoundFace(Box(40, 40, 40, 40), 9.0)
    (result,) = green_scorer(face).score([("x", patched(256, 256, 30, 30, 60))])
    assert result.explanation is not None
    assert result.explanation.raised[0].where == "a face"


def test_the_best_crop_goes_where_the_green_is() -> None:
    (result,) = green_scorer().score([("x", patched(600, 400, 420, 20, 170))])
    assert result.crop is not None
    assert result.crop.box.width == 220
    assert result.crop.box.x >= 300
    assert result.crop.percentile > result.percentile  # type: ignore[operator]


def test_the_best_crop_keeps_the_face() -> None:
    face = FoundFace(Box(20, 200, 100, 100), 9.0)
    (result,) = green_scorer(face).score([("x", patched(600, 400, 420, 20, 170))])
    assert result.crop is not None
    assert held(face.box, result.crop.box) == 1


def test_a_crops_percentile_is_that_of_the_cropped_file() -> None:
    pixels = scene(600, 400)
    scorer = green_scorer()
    (whole,) = scorer.score([("x", encode(pixels, "PNG"))])
    assert whole.crop is not None
    box = whole.crop.box
    part = pixels[box.y : box.y + box.height, box.x : box.x + box.width]
    (alone,) = scorer.score([("y", encode(part, "PNG"))], PLAIN)
    assert alone.percentile == pytest.approx(whole.crop.percentile, abs=0.5)


@pytest.mark.parametrize(("orientation", "size"), [(1, (320, 200)), (3, (320, 200)), (6, (200, 320))])
def test_boxes_are_in_pixels_of_the_upright_photo(orientation: int, size: tuple[int, int]) -> None:
    assert upright_size(encode(scene(), orientation=orientation)) == size


def test_json_holds_everything_that_was_found() -> None:
    face = FoundFace(Box(40, 40, 40, 40), 9.0)
    (result,) = green_scorer(face).score([("x", patched(256, 256, 30, 30, 60))])
    told = json.loads(json.dumps(result.as_json()))
    assert told["faces"] == [{"x": 40, "y": 40, "width": 40, "height": 40, "confidence": 9.0}]
    assert set(told["best_crop"]) == {"x", "y", "width", "height", "percentile"}
    assert np.array(told["heat"]).shape == (6, 6)
    assert told["raised"][0]["where"] == "a face"
