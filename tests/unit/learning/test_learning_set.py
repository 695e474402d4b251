"""What photos teach: labels, pairs or residuals, read from the tables; and which of them are streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylike.config import FinetuneSettings
from raylike.errors import InputDataError
from raylike.learning import learning_set
from raylike.learning.material import Material
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace
from tests.cluster.photo_workspace import write_photos
from tests.unit.stages.learning_workspace import write, write_posts

N = 16
IDS = [f"post{i:03d}" for i in range(N)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Photos of eight accounts, two each: of folds 0, 1, 2 and the test set in turn."""
    write_photos(tmp_path, N)
    return Workspace(tmp_path)


def material(workspace: Workspace, objective: str) -> Material:
    settings = FinetuneSettings.model_validate({"objective": objective, "batch_size": 4})
    photos = learning_set.read(workspace)
    return learning_set.photos_themselves(workspace, photos, Framing(32, 24), settings)[0]


def write_pairs(workspace: Workspace, pairs: list[int | None]) -> None:
    columns: dict[str, Any] = {
        "post_id": IDS, "design": ["same_user_pairs"] * N, "label": [0, 1] * (N // 2), "pair": pairs,
    }  # fmt: skip
    write(Path(workspace.uri), "label_designs", columns)


def test_pairs_are_those_of_training_photos_the_better_one_first(workspace: Workspace) -> None:
    write_pairs(workspace, [7 - i // 2 for i in range(N)])
    pairs = material(workspace, "pairs").pairs
    assert pairs is not None
    assert pairs.tolist() == [[13, 12], [11, 10], [5, 4], [3, 2]]  # accounts of folds 1 and 2, by number


def test_without_a_pair_there_is_nothing_to_learn(workspace: Workspace) -> None:
    write_pairs(workspace, [i // 2 if i < 2 else None for i in range(N)])  # a pair that validates
    with pytest.raises(InputDataError, match="no pair of training photos"):
        material(workspace, "pairs")


def test_residuals_are_likes_beyond_what_followers_let_expect(workspace: Workspace) -> None:
    path, likes = Path(workspace.uri), [10 * 2 ** (i % 4) for i in range(N)]
    users = [f"user{i // 2:03d}" for i in range(N)]
    write_posts(path, users, likes)
    columns: dict[str, Any] = {
        "post_id": IDS, "user_id": users, "followers": [100] * N, "likes": likes,
        "kept": [True] * N, "reason": [""] * N,
    }  # fmt: skip
    write(path, "cohort", columns)
    learned = material(workspace, "residual")
    assert learned.residuals is not None
    assert learned.residuals[learned.train].mean() == pytest.approx(0, abs=1e-5)
    assert learned.residuals[learned.train].std() == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(learned.residuals, np.log(likes))[0, 1] > 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_photos_of_one_kind_teach_nothing(tmp_path: Path, label: int) -> None:
    write_photos(tmp_path, N, labels=[label] * N)
    with pytest.raises(InputDataError, match=r"only (good|bad) photos"):
        learning_set.read(Workspace(tmp_path))


@pytest.mark.parametrize(
    ("values", "n_photos", "streamed"),
    [
        ({"trainable": "all"}, 10, True),
        ({"trainable": "4"}, 10, True),
        ({"trainable": "fc7"}, 35_000, False),
        ({"trainable": "head", "crops": "ten"}, 10, True),
        ({"trainable": "fc7", "in_memory_mib": 1000}, 35_000, True),
    ],
)
def test_frozen_outputs_are_kept_as_long_as_they_fit(
    values: dict[str, Any], n_photos: int, streamed: bool
) -> None:
    settings = FinetuneSettings.model_validate(values)
    assert learning_set.streams("alexnet", settings, n_photos) is streamed
