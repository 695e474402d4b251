"""Kept models score pixels as they scored features in the run; another network is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from raylike.errors import InputDataError
from raylike.learning import linear_model
from raylike.learning.calibration import Platt
from raylike.learning.linear_model import LinearModel, Source
from raylike.learning.scaling import Scale
from raylike.models import files
from raylike.scoring import models
from raylike.tables import RESULTS
from raylike.vision import loading, networks
from raylike.vision.backbones import Backbone
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import write

NETWORK = "timm:test_resnet"


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return loading.load(NETWORK, "random", 5, False)


@pytest.fixture(scope="module")
def pictures(backbone: Backbone) -> np.ndarray:
    side = backbone.framing.input_px
    return np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)


def kept(backbone: Backbone, **others: Any) -> LinearModel:
    (layer,) = backbone.layers
    width = networks.widths(backbone)[layer]
    rng = np.random.default_rng(1)
    source = Source(NETWORK, layer, (), "random", None, 5, backbone.recipe("fp32"), True)
    return LinearModel(
        "LinearSVC", "ratio_median", replace(source, **others),
        rng.normal(size=width + 1).astype(np.float32), Scale(rng.normal(size=width).astype(np.float32), 2.0),
        Platt(1.0, 0.0, 0.0, 1.0), np.array([-1.0, 0.0, 1.0]), 2,
    )  # fmt: skip


def test_pixels_score_as_their_features_do(backbone: Backbone, pictures: np.ndarray, tmp_path: Path) -> None:
    model = kept(backbone)
    linear_model.save(Workspace(tmp_path), model)
    opened = models.opened(Workspace(tmp_path))
    extract = networks.extractor(backbone)
    plain = torch.from_numpy(pictures)
    with torch.inference_mode():
        rows = [extract(turned)[0].numpy() for turned in (plain, plain.flip(2))]
    np.testing.assert_allclose(opened.score(pictures), model.score(np.stack(rows)), rtol=1e-5)
    assert opened.name == f"LinearSVC on {model.source.layer} of {NETWORK}"
    assert "random" in opened.notes[0]


def test_another_network_than_the_models_is_refused(backbone: Backbone) -> None:
    with pytest.raises(InputDataError, match="another timm:test_resnet"):
        models.of_linear(kept(backbone, seed=6))


def test_where_the_best_model_is_not_kept_it_says_so(backbone: Backbone, tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        field.name: [0.6] * 2 for field in RESULTS.schema if pa.types.is_floating(field.type)
    }
    columns |= {"model": ["RandomForest"] * 2, "features": ["fc6"] * 2, "n": [9] * 2,
                "evaluation": ["cross-validation", "test"], "weights": ["random"] * 2,
                "parameters": ["{}"] * 2}  # fmt: skip
    write(tmp_path, "results", columns)
    linear_model.save(Workspace(tmp_path), kept(backbone))
    notes = models.opened(Workspace(tmp_path)).notes
    assert "RandomForest on fc6, is not kept" in notes[-1]
    assert len(models.opened(Workspace(tmp_path), "linear").notes) == 1


def test_a_run_whose_model_was_not_kept_is_told_apart_from_none(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="there is no trained model"):
        models.opened(Workspace(tmp_path))
    with pytest.raises(InputDataError, match="no model's folder"):
        models.opened(Workspace(tmp_path), "finetune")


def test_a_fine_tuned_network_scores_against_its_own_test_photos(
    backbone: Backbone, pictures: np.ndarray, tmp_path: Path
) -> None:
    from raylike.learning.tails import split

    workspace = Workspace(tmp_path)
    tail = split(backbone, "all", outputs=2, whole=True)[1]
    saved = files.save(backbone, tail.state_dict(), 2, workspace, "models/run-1", onnx=False)
    framing = backbone.framing
    config = {
        "format": files.FORMAT, "name": "finetune", "backbone": NETWORK, "onnx": None, "outputs": 2,
        "framing": {"square_px": framing.square_px, "input_px": framing.input_px,
                    "mean": framing.mean, "std": framing.std},
        "weights": {"sha256": saved.sha256, "initial": "random"},
        "calibration": {"slope": 1.0, "offset": 0.0, "centre": 0.0, "unit": 1.0},
        "data": {"test": {"accounts": 2}}, "label": {"design": "residual"}, "settings": {"crops": "ten"},
    }  # fmt: skip
    files.publish(workspace, "models/run-1", "finetune", json.loads(json.dumps(config)), "a card")
    rows = {"post_id": ["a", "b", "c"], "model": ["fine-tuned"] * 3, "features": ["pixels"] * 3,
            "evaluation": ["test", "cross-validation", "test"], "score": [2.0, -9.0, -2.0],
            "probability": [0.5] * 3}  # fmt: skip
    write(tmp_path, "finetune_predictions", rows)
    opened = models.opened(workspace, "finetune")
    with torch.inference_mode():
        outputs = tail.eval()(torch.from_numpy(pictures)).numpy()
    scores = opened.score(pictures)
    np.testing.assert_allclose(scores, outputs[:, 1] - outputs[:, 0], atol=1e-4)
    assert opened.standard.held_out.tolist() == [-2.0, 2.0]
    assert opened.design == "residual"
    assert ["random" in opened.notes[0], "several crops" in opened.notes[1]] == [True, True]
