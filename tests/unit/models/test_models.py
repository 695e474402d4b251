"""A model's folder: what is written is what is read, and nothing else is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raylike.errors import InputDataError
from raylike.learning.tails import split
from raylike.models import card, files, groups, onnx_file
from raylike.models.whole import Scorer, put_together
from raylike.vision import zoo
from raylike.vision.backbones import Backbone, Framing
from raylike.workspace import Workspace

NAME = "timm:test_resnet"


@cache
def small() -> Backbone:
    state, framing = zoo.load(NAME, "random", 0, None, ())
    return Backbone(NAME, "random", state, framing=framing)


def photos(framing: Framing, n: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    side = framing.input_px
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=generator)


def config(saved: files.Saved, framing: Framing, **others: Any) -> dict[str, Any]:
    """What `load_model` needs of a config."""
    told = {
        "format": files.FORMAT,
        "backbone": NAME,
        "outputs": saved.outputs,
        "framing": vars(framing),
        "weights": {"sha256": saved.sha256},
        "onnx": None,
    }
    return {**told, **others}


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A model's folder, and the scores that its network gave before it was written."""
    backbone, workspace = small(), Workspace(tmp_path / "workspace")
    trunk, tail = split(backbone, "head", seed=3)
    assert trunk is not None
    saved = files.save(backbone, tail.state_dict(), 2, workspace, "models/run-1", onnx=False)
    files.publish(workspace, "models/run-1", "mine", config(saved, backbone.framing), "a card")
    with torch.inference_mode():
        given = tail(trunk(photos(backbone.framing)))
    return tmp_path / "workspace" / "models" / "mine", given


def test_a_network_comes_back_as_it_was_trained(published: tuple[Path, torch.Tensor]) -> None:
    path, expected = published
    network, framing = files.load_model(path, backbone=NAME)
    with torch.inference_mode():
        found = network(photos(framing))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert sorted(file.name for file in path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_model_of_another_backbone_is_refused(published: tuple[Path, torch.Tensor]) -> None:
    with pytest.raises(InputDataError, match="of the backbone timm:test_resnet, not alexnet"):
        files.load_model(published[0], backbone="alexnet")


def test_weights_of_another_training_are_refused(published: tuple[Path, torch.Tensor]) -> None:
    weights = published[0] / files.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputDataError, match=r"not the file that config\.json was written for"):
        files.load_model(published[0])


def test_a_pickle_is_refused_even_where_its_hash_is_right(published: tuple[Path, torch.Tensor]) -> None:
    path = published[0]
    torch.save({"weight": torch.zeros(2)}, path / files.WEIGHTS)
    told = json.loads((path / files.CONFIG).read_text())
    told["weights"]["sha256"] = files.weight_files.sha256(path / files.WEIGHTS)
    (path / files.CONFIG).write_text(json.dumps(told))
    with pytest.raises(InputDataError, match="no safetensors file"):
        files.load_model(path)


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"has no config\.json"):
        files.load_model(tmp_path)


@pytest.mark.parametrize("trainable", ["head", "1", "all"])
def test_alexnets_tail_finds_its_place(trainable: str) -> None:
    from raylike.vision import alexnet

    backbone = Backbone("alexnet", "random", alexnet.state("random", 0, None))
    trunk, tail = split(backbone, trainable, seed=1)
    shown = photos(backbone.framing, 2)
    with torch.inference_mode():
        expected = tail.eval()(shown if trunk is None else trunk(shown))
        found = put_together(backbone, tail.state_dict(), outputs=2)(shown)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not onnx_file.available(), reason="the extra `onnx` is not installed")
def test_onnx_gives_torchs_scores_for_any_number_of_photos(tmp_path: Path) -> None:
    backbone = small()
    tail = split(backbone, "all")[1]
    network = Scorer(put_together(backbone, tail.state_dict(), outputs=2))
    assert onnx_file.export(network, backbone.framing.input_px, tmp_path / "model.onnx") < 1e-4


FIGURE = [0.6, 0.5, 0.7]
PART = {"n": 40, "positive_rate": 0.5, "ap": FIGURE, "roc_auc": FIGURE, "accuracy": FIGURE, "spearman": None,
        "pair_accuracy": FIGURE}  # fmt: skip


def told(**others: Any) -> dict[str, Any]:
    """A whole config."""
    counts = {"photos": 1200, "accounts": 30, "good": 600}
    return {
        "name": "mine", "backbone": "alexnet", "framing": vars(Framing()), "objective": "labels",
        "outputs": 2,
        "weights": {"sha256": "aa", "initial": "random", "initial_sha256": "bb"},
        "onnx": {"difference": 1.5e-7},
        "data": {"source": "simulator", "train": counts, "validation": counts, "test": counts},
        "label": {"design": "ratio_median", "protocol": "user"},
        "settings": {"lr": 0.001, "from_tune": True},
        "figures": {"validation": PART, "test": PART},
        "groups": [{"group": "accounts: middle", "n": 3, "positive_rate": 0.3, "ap": None}],
        "provenance": {"run": "r", "fingerprint": "f", "raylike": "1", "torch": "2", "code_sha256": "cc"},
        **others,
    }  # fmt: skip


def test_the_card_says_what_must_not_be_overlooked() -> None:
    text = card.card(told())
    for said in (
        "random weights", "0.600 (0.500 to 0.700)", "holds chance", "too few photos", "1.5e-07", "1,200",
        "drawn", "best trial", "not defined", "`aa`", "`bb`", "cc",
    ):  # fmt: skip
        assert said in text, said


def test_a_trained_beginning_is_not_called_random() -> None:
    text = card.card(told(weights={"sha256": "aa", "initial": "pretrained", "initial_sha256": "bb"}))
    assert "random weights" not in text
    assert "ImageNet" in text


def test_groups_are_thirds_of_followers_and_numbers_of_faces(tmp_path: Path) -> None:
    from raylike.learning.photos import Photos
    from tests.unit.stages.learning_workspace import write, write_faces

    n = 180
    ids = [f"post{i:03d}" for i in range(n)]
    write(tmp_path, "cohort", {"post_id": ids, "user_id": ids, "followers": list(range(n)), "likes": [1] * n,
                               "ratio": [0.1] * n, "kept": [True] * n, "reason": [""] * n})  # fmt: skip
    write_faces(tmp_path, {post: [(1.0, 0.1)] * (1 + (i == 0)) for i, post in enumerate(ids)})
    labels = np.tile(np.array([0, 1], np.int8), n // 2)
    known = Photos(np.array(ids), np.array(ids), labels, np.full(n, -1, np.int32))
    scores = np.where(np.arange(n) < n // 3, labels, 1 - labels).astype(float)
    rows = groups.scores_by_group(Workspace(tmp_path), known, scores, np.arange(n), resamples=100, seed=0)
    assert [(row["group"].partition(": ")[2], row["n"]) for row in rows] == [
        ("fewest followers", 60), ("middle", 60), ("most followers", 60), ("one face", 179),
        ("several faces", 1),
    ]  # fmt: skip
    assert rows[0]["ap"][0] == 1.0
    assert rows[1]["ap"][0] < 0.6
    assert rows[4]["ap"] is None
