"""Which photos get a label, which label, and where they lie in the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raylike.errors import StageError
from raylike.stages import labels
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import context, write, write_faces

FACE = [(5.0, 0.2)]


def write_cohort(path: Path, ratios: list[float]) -> list[str]:
    ids = [f"post{i:03d}" for i in range(len(ratios))]
    columns = {
        "post_id": [*ids, "dropped"],
        "user_id": [f"user{i // 2}" for i in range(len(ids))] + ["userx"],
        "followers": [100] * len(ids) + [0],
        "likes": [10] * (len(ids) + 1),
        "ratio": [*ratios, None],
        "kept": [True] * len(ids) + [False],
        "reason": [""] * len(ids) + ["zero followers"],
    }
    write(path, "cohort", columns)
    return ids


def test_the_threshold_is_the_median_of_the_training_photos(tmp_path: Path) -> None:
    ratios = np.random.default_rng(0).exponential(size=80)
    write_faces(tmp_path, dict.fromkeys(write_cohort(tmp_path, ratios.tolist()), FACE))
    report = labels.run(context(tmp_path, "labels"))
    table = Workspace(tmp_path).read("labels").to_pandas()
    train = table[table.split == "train"]
    assert (report.rows_in, report.rows_out) == (80, 80)
    assert set(table.threshold) == {train.ratio.median()}
    assert ((table.ratio > table.threshold) == (table.label == 1)).all()
    assert ((table.fold == -1) == (table.split == "test")).all()
    assert set(train.fold) == {0, 1, 2, 3, 4}
    assert not set(train.user_id) & set(table[table.split == "test"].user_id)


def test_photos_below_the_cut_are_counted_by_reason(tmp_path: Path) -> None:
    ids = write_cohort(tmp_path, np.random.default_rng(0).exponential(size=60).tolist())
    faces = dict.fromkeys(ids, FACE)
    faces[ids[0]] = []
    faces[ids[1]] = [(1.0, 0.5), (4.0, 0.001)]
    faces[ids[2]] = FACE * 3
    faces[ids[3]] = []
    del faces[ids[4]]
    write_faces(tmp_path, faces, undecodable=[ids[3]])
    chosen = {"min_confidence": 2.0, "min_area_fraction": 0.01, "max_faces": 2}
    report = labels.run(context(tmp_path, "labels", faces=chosen))
    assert dict(report.skipped) == {
        "no face": 1,
        "no face above the cut": 1,
        "too many faces": 1,
        "photo not downloaded": 1,
    }
    assert dict(report.failed) == {"undecodable": 1}
    assert report.rows_out == 55
    assert not set(ids[:5]) & set(Workspace(tmp_path).read("labels").column("post_id").to_pylist())


def test_a_face_at_the_cut_counts(tmp_path: Path) -> None:
    ids = write_cohort(tmp_path, np.random.default_rng(0).exponential(size=60).tolist())
    write_faces(tmp_path, {post: [(2.0, 0.25), (1.5, 0.5)] for post in ids})
    exact = context(tmp_path, "labels", faces={"min_confidence": 2.0, "min_area_fraction": 0.25})
    assert labels.run(exact).rows_out == 60
    two = context(tmp_path, "labels", faces={"min_confidence": 2.0, "min_faces": 2})
    with pytest.raises(StageError, match="no photo is left: too few faces 60"):
        labels.run(two)


def test_the_studys_protocol_lets_accounts_straddle_and_warns(tmp_path: Path) -> None:
    ids = write_cohort(tmp_path, np.random.default_rng(0).exponential(size=80).tolist())
    write_faces(tmp_path, dict.fromkeys(ids, FACE))
    report = labels.run(context(tmp_path, "labels", labels={"protocol": "study"}))
    table = Workspace(tmp_path).read("labels").to_pandas()
    assert (table.groupby("user_id").split.nunique() > 1).any()
    assert "flatter" in report.notes[-1]


def test_equal_ratios_are_refused(tmp_path: Path) -> None:
    write_faces(tmp_path, dict.fromkeys(write_cohort(tmp_path, [0.1] * 40), FACE))
    with pytest.raises(StageError, match="all 40 photos get the same label"):
        labels.run(context(tmp_path, "labels"))


def test_too_few_accounts_are_refused(tmp_path: Path) -> None:
    write_faces(tmp_path, dict.fromkeys(write_cohort(tmp_path, [0.1, 0.2, 0.3]), FACE))
    with pytest.raises(StageError, match="2 accounts are too few for 5 folds"):
        labels.run(context(tmp_path, "labels"))
