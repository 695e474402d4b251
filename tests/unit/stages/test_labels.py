"""Which photos get a label, which label, and where they lie in the split."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raylike import pipeline
from raylike.commits import Commit
from raylike.errors import StageError
from raylike.stage import StageReport
from raylike.stages import labels
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import NOW, context, write, write_faces

FACE = [(5.0, 0.2)]
FOLLOWERS = 10**6


def write_cohort(path: Path, ratios: list[float]) -> list[str]:
    ids = [f"post{i:03d}" for i in range(len(ratios))]
    likes = [round(ratio * FOLLOWERS) for ratio in ratios]
    columns: dict[str, Sequence[Any]] = {
        "post_id": [*ids, "dropped"],
        "user_id": [f"user{i // 2}" for i in range(len(ids))] + ["userx"],
        "followers": [FOLLOWERS] * len(ids) + [0],
        "likes": [*likes, 10],
        "ratio": [*(n_likes / FOLLOWERS for n_likes in likes), None],
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


FIRST, NEAR, FAR = "3c5a0ff19d26b4e8", "3c5a0ff19d26b4eb", "3c5a0ff19d26bb17"
"""Hashes; the second differs from the first in 2 bits, the third in 12."""


def write_copies(
    path: Path, hashes: dict[int, tuple[str, str]], hours: dict[int, int] | None = None
) -> list[str]:
    """80 photos of 40 accounts with faces; `hashes` gives sha256 and phash of some, `hours` when posted."""
    ids = write_cohort(path, np.random.default_rng(0).exponential(size=80).tolist())
    generator = np.random.default_rng(1)
    own = [(f"bytes {i}", f"{generator.integers(2**63):016x}") for i in range(len(ids))]
    both = [hashes.get(i, own[i]) for i in range(len(ids))]
    write_faces(path, dict.fromkeys(ids, FACE), phash=[phash for _, phash in both])
    write_images(path, ids, [sha256 for sha256, _ in both])
    write(
        path,
        "posts",
        {
            "post_id": ids, "provider": ["files"] * 80, "user_id": ["any"] * 80, "collected_at": [NOW] * 80,
            "created_at": [NOW + timedelta(hours=(hours or {}).get(i, 0)) for i in range(80)],
            "image_url": ["a.jpg"] * 80, "likes": [1] * 80, "tags": [[]] * 80,
        },
    )  # fmt: skip
    return ids


def write_images(path: Path, ids: list[str], sha256: Sequence[str]) -> None:
    columns: dict[str, Sequence[Any]] = {
        "post_id": ids,
        "byte_size": [9] * len(ids),
        "sha256": sha256,
        "fetched_at": [NOW] * len(ids),
        "status": ["ok"] * len(ids),
    }
    write(path, "images", columns)


def marked(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Workspace(path).read("duplicates").sort_by("post_id").to_pylist()
    return rows


def test_of_copies_the_first_posted_stays_and_the_others_are_marked(tmp_path: Path) -> None:
    ids = write_copies(
        tmp_path,
        {3: ("same", FIRST), 10: ("same", FIRST), 20: ("other", NEAR), 30: ("far", FAR)},
        hours={3: 5, 10: 2, 20: 4},
    )
    report = labels.run(context(tmp_path, "labels"))
    assert dict(report.skipped) == {"duplicate": 1, "near duplicate": 1}
    assert (report.rows_in, report.rows_out) == (80, 78)
    assert marked(tmp_path) == [
        {"post_id": ids[3], "duplicate_of": ids[10], "kind": "duplicate", "bits": 0},
        {"post_id": ids[20], "duplicate_of": ids[10], "kind": "near duplicate", "bits": 2},
    ]
    left = set(Workspace(tmp_path).read("labels").column("post_id").to_pylist())
    assert left == set(ids) - {ids[3], ids[20]}
    assert "2 copies of 1 photo, 2 of one, left out" in report.notes[1]


def test_without_a_time_of_posting_the_smallest_post_id_stays(tmp_path: Path) -> None:
    ids = write_copies(tmp_path, {7: ("same", FIRST), 5: ("same", FIRST)})
    labels.run(context(tmp_path, "labels"))
    assert [(row["post_id"], row["duplicate_of"]) for row in marked(tmp_path)] == [(ids[7], ids[5])]


def test_a_photo_without_a_face_stands_for_no_other(tmp_path: Path) -> None:
    ids = write_copies(tmp_path, {0: ("same", FIRST), 1: ("same", FIRST), 2: ("same", FIRST)})
    write_faces(tmp_path, {post: [] if post == ids[0] else FACE for post in ids})
    labels.run(context(tmp_path, "labels"))
    assert [(row["post_id"], row["duplicate_of"]) for row in marked(tmp_path)] == [(ids[2], ids[1])]


@pytest.mark.parametrize("protocol", ["user", "study"])
def test_copies_that_are_kept_lie_on_one_side_with_their_accounts(tmp_path: Path, protocol: str) -> None:
    ring = {i: (f"bytes {i}", FIRST) for i in range(0, 80, 8)}
    ids = write_copies(tmp_path, ring)
    report = labels.run(context(tmp_path, "labels", labels={"duplicates": "keep", "protocol": protocol}))
    table = Workspace(tmp_path).read("labels").to_pandas().set_index("post_id")
    assert (report.rows_out, len(marked(tmp_path))) == (80, 9)
    assert table.loc[[ids[i] for i in ring]].fold.nunique() == 1
    assert (table.groupby("user_id").fold.nunique() == 1).all() == (protocol == "user")


@pytest.mark.parametrize(("bits", "copies"), [(0, 0), (1, 0), (2, 1), (12, 2)])
def test_the_setting_says_how_near_is_near(tmp_path: Path, bits: int, copies: int) -> None:
    write_copies(tmp_path, {1: ("a", FIRST), 2: ("b", NEAR), 3: ("c", FAR)})
    labels.run(context(tmp_path, "labels", labels={"near_duplicate_bits": bits}))
    assert len(marked(tmp_path)) == copies


def test_the_cap_counts_after_the_copies_are_gone(tmp_path: Path) -> None:
    ids = write_copies(tmp_path, {0: ("same", FIRST), 2: ("same", FIRST)})
    cohort = Workspace(tmp_path).read("cohort").to_pandas()
    cohort["user_id"] = ["hated" if post in ids[:12] else post for post in cohort.post_id]
    write(tmp_path, "cohort", cohort.to_dict("list"))
    report = labels.run(context(tmp_path, "labels", labels={"max_per_user": 5}))
    assert dict(report.skipped) == {"over the cap per user": 6, "duplicate": 1}
    users = Workspace(tmp_path).read("labels").column("user_id").to_pylist()
    assert (users.count("hated"), len(users)) == (5, 73)
    assert labels.run(context(tmp_path, "labels", labels={"max_per_user": 0})).rows_out == 79


def test_the_order_of_rows_in_the_tables_changes_nothing(tmp_path: Path) -> None:
    write_copies(tmp_path, {i: (f"bytes {i}", FIRST) for i in range(0, 80, 8)}, hours={16: -1})
    settings = {"max_per_user": 1}
    labels.run(context(tmp_path, "labels", labels=settings))
    workspace = Workspace(tmp_path)
    before = [workspace.read(name) for name in ("labels", "duplicates")]
    for name in ("cohort", "faces", "images", "posts"):
        rows = workspace.read(name)
        order = np.random.default_rng(2).permutation(rows.num_rows)
        workspace.write(name, rows.take(pa.array(order)), Commit("test", ""))
    labels.run(context(tmp_path, "labels", labels=settings))
    assert [workspace.read(name) for name in ("labels", "duplicates")] == before


def run_labels(path: Path, **chosen: object) -> StageReport | None:
    """The stage as the pipeline runs it; None if it was up to date."""
    settings = context(path, "labels", labels=chosen).settings
    return pipeline.run_all(Workspace(path), settings, from_stage="labels", until="labels").stages[0].report


def test_the_stage_is_stale_when_hashes_or_a_setting_of_copies_change(tmp_path: Path) -> None:
    ids = write_copies(tmp_path, {1: ("same", FIRST), 2: ("same", FIRST)})
    Workspace(tmp_path).write("posts", Workspace(tmp_path).read("posts"), Commit("import", ""))
    assert run_labels(tmp_path) is not None
    assert run_labels(tmp_path) is None
    for chosen in ({"duplicates": "keep"}, {"near_duplicate_bits": 3}, {"max_per_user": 3}):
        assert run_labels(tmp_path, **chosen) is not None
    assert run_labels(tmp_path) is not None
    write_images(tmp_path, ids, ["one"] * 40 + [f"other {i}" for i in range(40)])
    redone = run_labels(tmp_path)
    assert redone is not None
    assert redone.skipped["duplicate"] == 39


DESIGNS = {"ratio_median", "rank_in_follower_groups", "same_user_pairs", "residual"}


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_every_design_is_written_and_one_is_chosen(tmp_path: Path, design: str) -> None:
    write_faces(tmp_path, dict.fromkeys(write_copies(tmp_path, {}, hours={i: i for i in range(80)}), FACE))
    report = labels.run(context(tmp_path, "labels", labels={"design": design}))
    table = Workspace(tmp_path).read("labels").to_pandas().set_index("post_id")
    designs = Workspace(tmp_path).read("label_designs").to_pandas()
    assert set(designs.design) == DESIGNS
    chosen = designs[designs.design == design].set_index("post_id")
    assert (chosen.label.loc[table.index] == table.label).all()
    assert report.rows_out == len(table) == len(chosen)
    pairs = designs[designs.design == "same_user_pairs"].dropna(subset="pair")
    assert (pairs.groupby("pair").label.sum() == 1).all()
    if design == "same_user_pairs":
        assert report.skipped["no photo to pair it with"] == 80 - len(table) > 0


def test_forward_in_time_the_test_photos_are_the_latest(tmp_path: Path) -> None:
    random = np.random.default_rng(0).permutation(80)
    write_copies(tmp_path, {}, hours={i: int(random[i]) for i in range(80)})
    report = labels.run(context(tmp_path, "labels", labels={"protocol": "time"}))
    posts = Workspace(tmp_path).read("posts").to_pandas().set_index("post_id")
    table = Workspace(tmp_path).read("labels").to_pandas()
    posted = posts.created_at.loc[table.post_id].to_numpy()
    is_test = (table.split == "test").to_numpy()
    assert posted[~is_test].max() < posted[is_test].min()
    assert is_test.sum() == 20
    assert not set(table.user_id[is_test]) & set(table.user_id[~is_test])
    assert report.skipped["account is in the test set"] == 80 - len(table) > 0
