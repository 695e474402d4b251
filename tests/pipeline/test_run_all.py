"""The main job on a tiny world: the tables it leaves, the report, the second run, what stays behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import psutil
import pytest

from raylike import Workspace, resolve
from raylike.learning import linear_model
from raylike.scoring import running
from raylike.scoring.results import Wanted
from raylike.stage_names import STAGE_NAMES
from tests.pipeline.conftest import TINY, Outcome, raylike

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

Finished = tuple[Path, Outcome]


def test_it_ends_well_and_says_where_the_report_is(finished: Finished) -> None:
    workspace, outcome = finished
    assert outcome.exit_code == 0, outcome.stderr
    done = outcome.events[-1]
    assert done["event"] == "done"
    assert Path(done["report"]) == workspace / "report" / "index.html"
    assert Path(done["report"]).stat().st_size > 50_000


def test_nothing_but_events_reaches_the_user(finished: Finished) -> None:
    _, outcome = finished
    assert outcome.stderr == ""


def test_every_stage_ran_in_order(finished: Finished) -> None:
    _, outcome = finished
    assert [e["stage"] for e in outcome.of("stage_finished")] == list(STAGE_NAMES)
    assert not any(e["up_to_date"] for e in outcome.of("stage_finished"))


def test_the_tables_follow_from_each_other(finished: Finished) -> None:
    workspace = Workspace(finished[0])
    posts = workspace.table("posts").to_pandas()
    users = workspace.table("users").to_pandas()
    cohort = workspace.table("cohort").to_pandas()
    labels = workspace.table("labels").to_pandas()
    features = workspace.table("features/alexnet").to_pandas()
    assert posts["post_id"].is_unique
    assert set(users["user_id"]) == set(posts["user_id"])
    assert set(cohort["post_id"]) == set(posts["post_id"])
    kept = set(cohort.loc[cohort["kept"], "post_id"])
    assert set(workspace.table("images").to_pandas(["post_id"])["post_id"]) == kept
    assert set(workspace.table("faces").to_pandas(["post_id"])["post_id"]) == kept
    assert set(labels["post_id"]) < kept
    assert len(features) == 2 * len(labels)
    assert set(features["post_id"]) == set(labels["post_id"])
    assert features["fc6"].map(len).eq(4096).all()
    assert (np.stack(features["fc7"]) >= 0).all()


def test_no_user_is_in_train_and_test(finished: Finished) -> None:
    labels = Workspace(finished[0]).table("labels").to_pandas()
    assert labels.groupby("user_id")["split"].nunique().max() == 1
    assert labels[labels["split"] == "train"].groupby("user_id")["fold"].nunique().max() == 1
    train = labels[labels["split"] == "train"]
    assert labels["threshold"].nunique() == 1
    assert labels["threshold"].iloc[0] == pytest.approx(train["ratio"].median())


def test_every_test_photo_is_ranked_once_by_each_model(finished: Finished) -> None:
    workspace = Workspace(finished[0])
    test = workspace.table("labels").to_pandas().query("split == 'test'")
    for _, scores in workspace.table("scores").to_pandas().groupby("model"):
        assert sorted(scores["rank"]) == list(range(1, len(test) + 1))
        by_rank = scores.sort_values("rank")
        assert by_rank["probability"].is_monotonic_decreasing


def test_the_report_shows_what_the_tables_hold(finished: Finished) -> None:
    folder = finished[0] / "report"
    facts = json.loads((folder / "results.json").read_text())
    workspace = Workspace(finished[0])
    page = (folder / "index.html").read_text()
    assert f"{workspace.table('labels').rows:,}" in page
    assert "random" in page, "random features are shown as what they are"
    for ap in workspace.table("results").to_pandas()["ap"]:
        assert str(round(ap, 3))[:5] in json.dumps(facts) or str(ap) in json.dumps(facts)
    assert not re.search(r'(src|href)="https?://', page), "the page needs no network"


def test_a_second_run_finds_everything_up_to_date_without_ray(finished: Finished, ray_tmpdir: Path) -> None:
    before = set((ray_tmpdir / "ray").glob("session_2*"))
    outcome = raylike(["run-all", "--workspace", str(finished[0]), *TINY], ray_tmpdir)
    assert outcome.exit_code == 0
    assert all(e["up_to_date"] for e in outcome.of("stage_finished"))
    assert set((ray_tmpdir / "ray").glob("session_2*")) == before


def test_moving_the_cut_detects_no_face_again(finished: Finished, ray_tmpdir: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(finished[0], moved)
    cut = ["--set", "faces.min_area_fraction=0.03", "--until", "labels"]
    outcome = raylike(["run-all", "--workspace", str(moved), *TINY, *cut], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    redone = [e["stage"] for e in outcome.of("stage_finished") if not e["up_to_date"]]
    assert redone == ["labels"]


def test_no_process_of_the_run_is_left(finished: Finished, ray_tmpdir: Path) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if any(str(ray_tmpdir) in part for part in process.info["cmdline"] or [])
        or (process.info["environ"] or {}).get("RAY_TMPDIR") == str(ray_tmpdir)
    ]
    assert left == []


def test_another_network_goes_through_to_the_results(
    finished: Finished, ray_tmpdir: Path, tmp_path: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(finished[0], other)
    choice = ["--set", "features.backbone=resnet18", "--set", "features.layers=embedding,layer2"]
    to_the_results = ["run-all", "--workspace", str(other), "--until", "classify"]
    outcome = raylike([*to_the_results, *TINY, *choice], ray_tmpdir)
    assert outcome.exit_code == 0, outcome.stderr
    workspace = Workspace(other)
    features = workspace.table("features/resnet18-embedding-layer2").to_pandas()
    assert features["embedding"].map(len).eq(512).all()
    assert len(features) == 2 * workspace.rows("labels")
    results = workspace.table("results").to_pandas()
    assert {"embedding", "layer2"} < set(results["features"])
    assert not {"fc6", "fc7"} & set(results["features"])
    redone = [e["stage"] for e in outcome.of("stage_finished") if not e["up_to_date"]]
    assert redone[:2] == ["features", "classify"]


def test_the_kept_model_scores_a_test_photo_as_the_run_did(finished: Finished) -> None:
    workspace = Workspace(finished[0])
    kept = linear_model.load(workspace)
    assert kept is not None
    table = workspace.table("predictions").to_pandas()
    ours = table[(table.model == kept.name) & (table.features == kept.source.layer)]
    some = ours[ours.evaluation == "test"].head(3)
    images = workspace.table("images").to_pandas(["post_id", "bytes"]).set_index("post_id").bytes
    scorer = running.scorer(workspace, resolve({}, environ={}).settings, "linear")
    plain = Wanted(explanation=False, crop=False)
    results = scorer.score([(post, images[post]) for post in some.post_id], plain)
    assert [result.score for result in results] == pytest.approx(some.score.tolist(), rel=1e-4, abs=1e-5)
    assert [result.probability for result in results] == pytest.approx(some.probability.tolist(), rel=1e-4)
