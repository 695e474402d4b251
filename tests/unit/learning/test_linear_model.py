"""A linear model comes back as it was kept, from a folder or a bucket; what is no such model is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raylike.errors import CannotWrite, InputDataError
from raylike.learning import linear_model
from raylike.learning.calibration import Platt
from raylike.learning.linear_model import LinearModel, Source
from raylike.learning.scaling import Scale
from raylike.place import Place
from tests.s3_server import S3Server


def model(bias: float = 0.5) -> LinearModel:
    return LinearModel(
        name="LinearSVC",
        design="ratio_median",
        source=Source("alexnet", "fc7", ("fc6", "fc7"), "random", None, 3, "ab12", True),
        weights=np.array([1, -2, bias], np.float32),
        scale=Scale(np.array([1, 1], np.float32), 2.0),
        platt=Platt(1.5, 0.1, 0.0, 1.0),
        held_out=np.array([-1.0, 0.5, 2.0]),
        n_accounts=2,
    )


def assert_same(found: LinearModel | None, kept: LinearModel) -> None:
    assert found is not None
    for name in ("name", "design", "source", "platt", "n_accounts"):
        assert getattr(found, name) == getattr(kept, name)
    np.testing.assert_array_equal(found.weights, kept.weights)
    np.testing.assert_array_equal(found.scale.mean, kept.scale.mean)
    np.testing.assert_array_equal(found.held_out, kept.held_out)
    assert found.scale.spread == kept.scale.spread


def test_a_model_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    linear_model.save(Place(tmp_path), model())
    assert_same(linear_model.load(Place(tmp_path)), model())


def test_a_model_comes_back_from_a_bucket(s3: S3Server) -> None:
    place = Place(f"{s3.bucket()}/study")
    assert linear_model.load(place) is None
    linear_model.save(place, model())
    assert_same(linear_model.load(place), model())


def test_there_is_none_before_one_is_kept(tmp_path: Path) -> None:
    assert linear_model.load(Place(tmp_path)) is None


def test_a_new_model_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for bias in (0.5, 0.75):
        linear_model.save(Place(tmp_path), model(bias))
    assert_same(linear_model.load(Place(tmp_path)), model(0.75))
    assert len(list((tmp_path / "models" / "linear").iterdir())) == 2


def test_scores_are_the_mean_over_orientations(tmp_path: Path) -> None:
    rows = np.array([[[3, 1]], [[1, 3]]], np.float32)
    # Scaled: (1, 0) and (0, 1); decided: 1 + 0.5 and -2 + 0.5.
    assert model().score(rows) == pytest.approx([0.0])


@pytest.mark.parametrize("fault", ["other arrays", "no arrays", "no JSON", "no object", "other format"])
def test_what_is_no_such_model_is_told_in_one_line(tmp_path: Path, fault: str) -> None:
    linear_model.save(Place(tmp_path), model())
    folder = tmp_path / "models" / "linear"
    (arrays,) = folder.glob("*.safetensors")
    told = folder / "model.json"
    if fault == "other arrays":
        arrays.write_bytes(arrays.read_bytes()[:-1] + b"\x01")
    elif fault == "no arrays":
        arrays.unlink()
    elif fault == "other format":
        told.write_text(json.dumps({**json.loads(told.read_text()), "format": 99}))
    else:
        told.write_text({"no JSON": "{", "no object": "[]"}[fault])
    with pytest.raises(InputDataError, match="the model cannot be read"):
        linear_model.load(Place(tmp_path))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(CannotWrite):
        linear_model.save(Place(tmp_path), replace(model(), n_accounts=1))
