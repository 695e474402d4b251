"""Photos that are alike are found by their features, and shown as the report would show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.learning import linear_model
from raylike.scoring import running
from raylike.scoring.neighbours import COUNT, Neighbours
from raylike.workspace import Workspace
from tests.pictures import photo
from tests.unit.stages.learning_workspace import NOW, write, write_faces, write_features, write_posts

N = 20
FEW = 8
SOURCE = linear_model.Source("alexnet", "fc7", ("fc6", "fc7"), "random", None, 0, None, False)


@pytest.fixture
def rows() -> NDArray[np.float32]:
    """Features, the first half of the photos in one direction, the rest in another."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(2, FEW)), N // 2, axis=0)
    return (centres + 0.1 * rng.normal(size=(N, FEW))).astype(np.float32)


@pytest.fixture
def workspace(workspace_path: Path, rows: NDArray[np.float32]) -> Workspace:
    ids = write_posts(workspace_path, [f"u{i}" for i in range(N)], [1] * N)
    half = N // 2
    write(workspace_path, "labels", {
        "post_id": ids, "user_id": ids, "ratio": [0.1] * N, "label": [1] * half + [0] * half,
        "threshold": [0.1] * N, "fold": [0] * N, "split": ["train"] * N,
    })  # fmt: skip
    write(workspace_path, "images", {
        "post_id": ids, "bytes": [photo(320, 240, i) for i in range(N - 1)] + [None], "byte_size": [1] * N,
        "fetched_at": [NOW] * N, "status": ["ok"] * (N - 1) + ["gone"],
    })  # fmt: skip
    write_faces(workspace_path, {post: [(5.0, 0.3)] for post in ids})
    write_features(workspace_path, ids, rows[None])
    return Workspace(workspace_path)


def wide(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """As fc7 holds it: see `write_features`."""
    return np.tile(row * np.float32(0.5), 4096 // FEW)


def test_the_most_alike_come_first(workspace: Workspace, rows: NDArray[np.float32]) -> None:
    found = Neighbours(workspace, "features/alexnet", "fc7", None).of(wide(rows[3]))
    assert len(found) == COUNT
    assert found[0].post_id == "post003"
    assert found[0].likeness == pytest.approx(1, abs=1e-4)
    likeness = [neighbour.likeness for neighbour in found]
    assert likeness == sorted(likeness, reverse=True)
    assert all(neighbour.good for neighbour in found)
    assert found[0].thumbnail is not None
    picture = cv2.imdecode(np.frombuffer(found[0].thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (160, 160, 3)


def test_a_photo_that_is_not_there_is_told_without_a_picture(
    workspace: Workspace, rows: NDArray[np.float32]
) -> None:
    found = Neighbours(workspace, "features/alexnet", "fc7", None).of(wide(rows[N - 1]))
    assert found[0].post_id == f"post{N - 1:03d}"
    assert found[0].thumbnail is None
    assert not found[0].good


@pytest.mark.parametrize(
    ("provider", "show_photos", "named"),
    [("mastodon", None, False), ("mastodon", True, True), ("files", None, True), ("files", False, False)],
)
def test_strangers_are_neither_named_nor_to_be_recognised(
    workspace: Workspace,
    rows: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    show_photos: bool | None,
    named: bool,
) -> None:
    posts = workspace.read("posts")
    write(
        Path(workspace.uri),
        "posts",
        {name: posts[name].to_pylist() for name in posts.column_names} | {"provider": [provider] * N},
    )
    hidden = []
    monkeypatch.setattr(
        "raylike.vision.thumbnails.hide_faces", lambda picture, boxes: hidden.append(len(boxes)) or picture
    )
    found = Neighbours(workspace, "features/alexnet", "fc7", show_photos).of(wide(rows[0]))
    assert (found[0].post_id == "post000") is named
    assert (found[0].post_id == "") is not named
    assert hidden == ([] if named else [1] * COUNT)


def test_without_features_of_the_models_own_recipe_nobody_is_alike(workspace: Workspace) -> None:
    assert running.neighbours(workspace, None, None) is None
    assert running.neighbours(workspace, SOURCE, None) is not None
    assert running.neighbours(workspace, replace(SOURCE, recipe="another"), None) is None
    none = Neighbours(workspace, "features/alexnet-none", "fc7", None)
    assert none.of(np.zeros(4096, np.float32)) == ()
