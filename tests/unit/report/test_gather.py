"""Facts from tables whose figures are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raylike.config import resolve
from raylike.errors import InputDataError
from raylike.report import explaining, learned, plots
from raylike.report import gather as gathering
from raylike.report.facts import Facts
from raylike.report.gather import gather
from raylike.scoring import models
from raylike.vision.backbones import Framing
from raylike.vision.occlusion import STEPS
from raylike.workspace import Workspace

Rows = list[dict[str, Any]]
Fill = Callable[[Path, dict[str, Rows], set[str] | None], Workspace]
SETTINGS = resolve({"faces": {"min_confidence": 0.0}}, environ={}).settings


@pytest.fixture(scope="module")
def facts(finished: Workspace) -> Facts:
    return gather(finished, SETTINGS)


def test_the_funnel_counts_what_each_table_holds(facts: Facts) -> None:
    # 400 posts; 3 in 5 kept; 4 of 240 gone; of 236 photos 144 with a face, 72 above the cut.
    assert [step.count for step in facts.funnel] == [400, 240, 236, 144, 72, 72]
    assert [step.study for step in facts.funnel] == [200_000, 120_000, None, 60_000, 35_000, None]
    assert facts.funnel[1].of_first == pytest.approx(0.6)
    assert facts.funnel[4].of_previous == pytest.approx(0.5)


def test_every_photo_left_out_has_a_reason(facts: Facts) -> None:
    counts = {(r.stage, r.reason): r.count for r in facts.reasons}
    assert counts["collect", "too young"] == 12
    assert counts["cohort", "too many followers"] + counts["cohort", "too few followers"] == 400 - 240
    assert counts["download", "gone"] == 240 - 236
    assert counts["faces", "no face"] + counts["faces", "no face above the cut"] == 236 - 72
    labels = {reason: count for (stage, reason), count in counts.items() if stage == "labels"}
    assert labels == {"duplicate": 4, "near duplicate": 3, "over the cap per user": 2}


def test_the_headline_is_chosen_by_cross_validation_not_by_its_test_score(facts: Facts) -> None:
    assert facts.headline is not None
    assert (facts.headline.model, facts.headline.features) == ("LinearSVC", "fc6")
    assert facts.headline.ap.value == pytest.approx(0.58)
    assert (facts.headline.ap.low, facts.headline.ap.high) == pytest.approx((0.53, 0.63))
    assert facts.headline.chance == pytest.approx(0.5)
    assert facts.headline.oracle == pytest.approx(0.71)
    assert facts.headline.beats_chance


def test_distributions_count_every_post_once(facts: Facts, rows: dict[str, Rows]) -> None:
    assert facts.followers is not None
    assert facts.likes is not None
    assert facts.ratios is not None
    assert (sum(facts.followers.before), sum(facts.followers.after)) == (400, 240)
    assert sum(map(sum, facts.likes.kept)) == 240
    assert sum(map(sum, facts.likes.dropped)) == 160
    assert sum(facts.ratios.train) + sum(facts.ratios.test) + facts.ratios.zero == 72
    assert facts.ratios.threshold in facts.ratios.edges
    mean = sum(row["followers"] for row in rows["cohort"]) / 400
    assert facts.followers.summary_before.mean == pytest.approx(mean)


def test_the_face_curve_falls_from_all_faces_to_the_best(facts: Facts) -> None:
    assert facts.faces is not None
    assert facts.faces.photos[0] == facts.faces.n_with_face == 144
    assert list(facts.faces.photos) == sorted(facts.faces.photos, reverse=True)
    assert facts.faces.n_above_cut == 72


def test_photos_labelled_by_eye_judge_each_cut(
    finished: Workspace, rows: dict[str, Any], tmp_path: Path
) -> None:
    """Labelled as people are all photos above the cut at 0, and as many without a face."""
    above = [row["post_id"] for row in rows["faces"] if row["confidence"] >= 0]
    without = [row["post_id"] for row in rows["faces"] if not row["n_faces"]][: len(above)]
    labels = tmp_path / "labels.csv"
    labels.write_text("post_id,label\n" + "".join(f"{post},1\n" for post in above + without))
    settings = resolve({"faces": {"min_confidence": 0.0, "truth": str(labels)}}, environ={}).settings
    facts = gather(finished, settings)
    assert facts.faces is not None
    assert facts.faces.n_labelled == 2 * len(above)
    at = next(at for at in facts.faces.judged if at.min_confidence == 0)
    assert at.precision is not None
    assert (at.precision.value, at.recall.value) == (1.0, 0.5)
    assert at.recall.low < 0.5 < at.recall.high
    assert facts.faces.judged[-1].recall.value < 0.5
    assert f"{2 * len(above)} labelled photos" in plots.face_quality(facts.faces)


def test_without_labels_no_cut_is_judged(facts: Facts) -> None:
    assert facts.faces is not None
    assert facts.faces.judged == ()


def test_moving_the_cut_moves_the_funnel(finished: Workspace) -> None:
    settings = resolve({"faces": {"min_confidence": 99.0}}, environ={}).settings
    assert gather(finished, settings).funnel[4].count == 0


def test_the_chosen_label_design_stands_first(facts: Facts) -> None:
    assert [result.design for result in facts.designs] == ["ratio_median", "residual", "same_user_pairs"]
    assert [result.chosen for result in facts.designs] == [True, False, False]
    assert facts.designs[1].test is not None
    assert facts.designs[1].test.ap.value == 0.57
    assert "tags" in facts.designs[1].rule


def test_references_stand_last_and_fine_tuning_is_among_the_models(facts: Facts) -> None:
    assert [m.features for m in facts.models if m.reference] == ["metadata", "truth"]
    assert [m.reference for m in facts.models] == [False] * 7 + [True] * 2
    tuned = next(m for m in facts.models if m.features == "pixels")
    assert tuned.cross_validation is None
    assert tuned.test is not None


def test_figures_that_are_not_defined_or_not_there_are_none(finished: Workspace) -> None:
    rows = finished.read("results").to_pandas()
    score = learned._score({**rows.iloc[0].to_dict(), "pair_accuracy": math.nan})
    assert score is not None
    assert (score.pair_accuracy, score.spearman is None) == (None, False)
    earlier = learned._score(rows.iloc[0].drop(["spearman", "spearman_low", "spearman_high"]).to_dict())
    assert earlier is not None
    assert earlier.spearman is None


def test_the_headlines_model_is_compared_from_its_own_side(facts: Facts) -> None:
    found = {one.other: one.difference.value for one in facts.differences}
    assert found == {"SVM by SGD on fc6": 0.06, "RandomForest on fc6": 0.01}  # kept as the others less it
    assert {one.model for one in facts.differences} == {"LinearSVC on fc6"}
    assert all(one.difference.low < one.difference.value < one.difference.high for one in facts.differences)


def test_the_headlines_model_is_judged_beside_the_references(facts: Facts) -> None:
    assert facts.judgement is not None
    assert [curve.model for curve in facts.judgement.roc] == [
        "LinearSVC on fc6", "logistic regression on metadata", "oracle on truth",
    ]  # fmt: skip
    assert (facts.judgement.n, facts.judgement.n_accounts) == (18, 18)
    assert min(facts.judgement.precision_recall[2].y) == 1.0  # the oracle knows every label


@pytest.mark.parametrize(
    ("n", "n_accounts", "too_few"), [(18, 18, True), (500, 12, True), (500, 400, False), (500, None, False)]
)
def test_a_handful_of_photos_or_accounts_is_too_few(
    facts: Facts, n: int, n_accounts: int | None, too_few: bool
) -> None:
    assert facts.headline is not None
    assert replace(facts.headline, n=n, n_accounts=n_accounts).too_few is too_few


def test_the_galleries_between_go_from_worst_to_best_and_tell_what_was_wrong(facts: Facts) -> None:
    gallery = facts.gallery
    assert gallery is not None
    assert [photo.rank for photo in gallery.continuum] == list(range(18, 0, -1))
    assert all(photo.good is False and photo.rank <= 9 for photo in gallery.overrated)
    assert all(photo.good is True and photo.rank > 9 for photo in gallery.underrated)
    assert len(gallery.overrated) + len(gallery.underrated) > 0


def test_hits_and_bytes_are_told_where_they_are_known(finished: Workspace) -> None:
    rows = finished.read("runs").to_pylist()
    row = next(row for row in rows if row["stage"] == "followers")
    assert gathering._time({**row, "notes": '["2000 hits for 2000 users"]'}, None).hits == 2000
    assert gathering._time({**row, "notes": '["as always"]'}, None).hits is None
    assert gathering._bytes(finished, "download") == 240 * 90_000
    assert gathering._bytes(finished, "faces") is None


def test_galleries_are_the_two_ends_of_the_headlines_ranking(facts: Facts) -> None:
    gallery = facts.gallery
    assert gallery is not None
    assert (gallery.model, gallery.n_photos) == ("LinearSVC on fc6", 18)
    assert [photo.rank for photo in gallery.best] == list(range(1, 19))
    assert gallery.worst[0].rank == 18


def test_the_last_run_of_a_stage_counts_and_the_report_does_not(facts: Facts) -> None:
    assert facts.times[0].stage == "collect"
    assert facts.times[0].seconds == 4.0
    assert facts.times[0].rows_per_s == pytest.approx(200)
    assert "report" not in [time.stage for time in facts.times]


def test_a_real_networks_photos_are_not_named_unless_asked_for(finished: Workspace) -> None:
    hidden = gather(finished, resolve({"source": {"name": "instagram_v1"}}, environ={}).settings)
    assert hidden.gallery is not None
    assert hidden.gallery.anonymised
    assert all(p.post_id is None and p.caption is None for p in hidden.gallery.best + hidden.gallery.worst)
    assert '"p000' not in hidden.to_json()
    asked = resolve(
        {"source": {"name": "instagram_v1"}, "report": {"show_photos": True}}, environ={}
    ).settings
    shown = gather(finished, asked).gallery
    assert shown is not None
    assert shown.best[0].post_id is not None


def test_both_ends_are_covered_patch_by_patch_in_sds_of_all_scores(
    finished: Workspace, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a model that sees brightness alone, whose scores have an SD of 2."""
    model = SimpleNamespace(
        name="brightness",
        framing=Framing(),
        standard=SimpleNamespace(held_out=np.array([-2.0, 2.0])),
        score=lambda pictures: 1.0 * pictures.mean(axis=(1, 2, 3)),
    )
    monkeypatch.setattr(models, "opened", lambda _: model)
    found = explaining.explain(
        finished, resolve({"report": {"explained": 2}}, environ={}).settings, facts.gallery
    )
    assert found is not None
    assert (found.model, [photo.rank for photo in found.photos]) == ("brightness", [1, 2, 17, 18])
    assert found.margin == 1 / 16
    assert np.shape(found.photos[0].change) == (STEPS, STEPS)
    assert np.abs(found.photos[0].change).max() > 0.05
    off = resolve({"report": {"explained": 0}}, environ={}).settings
    assert explaining.explain(finished, off, facts.gallery) is None


def test_without_a_kept_model_nothing_is_explained(finished: Workspace, facts: Facts) -> None:
    assert explaining.explain(finished, SETTINGS, facts.gallery) is None


@pytest.mark.parametrize(
    "tables",
    [
        {"posts"},
        {"posts", "users", "cohort"},
        {"posts", "users", "cohort", "images", "faces"},
        {"posts", "users", "cohort", "images", "faces", "labels", "results", "sweep"},
    ],
)
def test_what_is_not_there_yet_is_none(
    tmp_path: Path, rows: dict[str, Rows], fill_workspace: Fill, tables: set[str]
) -> None:
    facts = gather(fill_workspace(tmp_path / "w", rows, tables), SETTINGS)
    assert (facts.followers is None) == ("cohort" not in tables)
    assert (facts.faces is None) == ("faces" not in tables)
    assert (facts.ratios is None) == ("labels" not in tables)
    assert (facts.headline is None) == ("results" not in tables)
    assert facts.gallery is None
    assert facts.funnel[5].count == (72 if "labels" in tables else None)
    json.loads(facts.to_json())


def test_an_empty_workspace_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="no posts") as caught:
        gather(Workspace(tmp_path / "nothing"), SETTINGS)
    assert caught.value.exit_code == 65
    assert "raylike run-all" in caught.value.hint
