"""Real photos and a table of likes, from the import to the report."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from raylike import Workspace
from raylike.headline import headline
from tests.pipeline.conftest import TINY, raylike

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

skimage_data = pytest.importorskip("skimage.data")

N_PORTRAITS = 48


def write_photos(folder: Path) -> Path:
    """A portrait that scikit-image ships, cropped and lit in many ways, and pictures without a face.

    Bright ones are liked twice as much as dark ones.
    """
    folder.mkdir()
    generator = np.random.default_rng(0)
    portrait = cv2.cvtColor(skimage_data.astronaut(), cv2.COLOR_RGB2BGR)
    others = [
        cv2.cvtColor(getattr(skimage_data, name)(), cv2.COLOR_RGB2BGR) for name in ("coffee", "chelsea")
    ]
    rows = []
    for i in range(N_PORTRAITS + 6):
        light = generator.uniform(0.5, 1.3)
        top, left = generator.integers(0, 40, 2)
        picture = portrait[top : top + 360, left + 20 : left + 380] if i < N_PORTRAITS else others[i % 2]
        cv2.imwrite(str(folder / f"{i}.jpg"), np.clip(picture * light, 0, 255).astype(np.uint8))
        rows.append({"image": f"{i}.jpg", "like_count": int(400 * light), "followers": 1000, "user_id": i})
    rows.append({"image": "missing.jpg", "like_count": 1, "followers": 10, "user_id": 98})
    rows.append({"image": "0.jpg", "like_count": -1, "followers": 10, "user_id": 99})
    table = folder / "photos.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return table


def test_imported_photos_reach_the_report(tmp_path: Path, ray_tmpdir: Path) -> None:
    table, uri = write_photos(tmp_path / "photos"), tmp_path / "workspace"
    imported = raylike(
        ["import", str(table), "--workspace", str(uri), "--map", "likes=like_count"], ray_tmpdir
    )
    assert imported.exit_code == 0, imported.stderr
    # By default, crops of one portrait are copies of each other.
    options = ["--source", "files", "--set", "labels.near_duplicate_bits=0", *TINY]
    outcome = raylike(["run-all", "--workspace", str(uri), "--until", "classify", *options], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    outcome = raylike(["report", "--workspace", str(uri), *options], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    workspace = Workspace(uri)
    assert workspace.rows("posts") == N_PORTRAITS + 6
    assert set(workspace.table("images").to_pandas(["status"])["status"]) == {"ok"}
    labelled = set(workspace.table("labels").to_pandas()["post_id"])
    photos = workspace.table("posts").to_pandas().set_index("post_id")["image_url"]
    assert {int(Path(photos[post]).stem) for post in labelled} <= set(range(N_PORTRAITS))
    assert len(labelled) > N_PORTRAITS / 4  # the default cut is strict: it is set on drawn faces
    page = Path(outcome.events[-1]["report"]).read_text()
    assert "LinearSVC" in page
    assert "oracle" not in str(headline(workspace))


def test_a_file_without_a_usable_row_is_bad_input(tmp_path: Path, ray_tmpdir: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("image,likes,followers\nnowhere.jpg,1,10\n")
    outcome = raylike(["import", str(table), "--workspace", str(tmp_path / "w")], ray_tmpdir)
    assert outcome.exit_code == 65
    assert outcome.events[-1]["event"] == "error"
