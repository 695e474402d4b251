"""The tables that classify writes: every model scored twice, reproducibly, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raylike.errors import StageError
from raylike.learning import linear_model
from raylike.stages import classify
from raylike.stages.classify import reading
from raylike.tables import TABLES
from raylike.workspace import Workspace
from tests.unit.stages.learning_workspace import NOW, context, write, write_features, write_posts

N = 120
QUICK = {"classify": {"trees": 20, "resamples": 100, "c_values": [0.01, 1.0], "sgd_iterations": 30}}


def prepare(path: Path, *, without_features: int = 0, seed: int = 0) -> np.ndarray:
    """A workspace of N photos with 8 informative numbers each; returns the features."""
    rng = np.random.default_rng(seed)
    appeal = rng.normal(size=N)
    features = np.abs(rng.normal(size=(2, N, 8)) * 0.3 + np.outer(appeal, rng.normal(size=8))).astype(
        np.float32
    )
    labels = (appeal + 0.3 * rng.normal(size=N) > 0).astype(int)
    features[:, :, 0] += np.maximum(appeal, 0)
    users = [f"user{i // 2}" for i in range(N)]
    ids = write_posts(path, users, likes=[5] * N)
    folds = [(i // 2) % 6 - 1 for i in range(N)]
    write(
        path,
        "labels",
        {
            "post_id": ids,
            "user_id": users,
            "ratio": appeal,
            "label": labels,
            "threshold": [0.0] * N,
            "fold": folds,
            "split": ["test" if fold < 0 else "train" for fold in folds],
        },
    )
    designs = {"ratio_median": labels, "same_user_pairs": np.arange(N) % 2}
    write(
        path,
        "label_designs",
        {
            "post_id": ids * 2,
            "design": [design for design in designs for _ in ids],
            "label": np.concatenate(list(designs.values())),
        },
    )
    write(
        path,
        "cohort",
        {
            "post_id": ids,
            "user_id": users,
            "followers": rng.integers(10, 1000, size=N),
            "likes": [5] * N,
            "ratio": appeal,
            "kept": [True] * N,
            "reason": [""] * N,
        },
    )
    write(
        path,
        "images",
        {"post_id": ids, "byte_size": [9] * N, "fetched_at": [NOW] * N, "status": ["ok"] * N},
    )
    kept = N - without_features
    write_features(path, ids[:kept], features[:, :kept])
    return features


def test_every_model_is_scored_on_both_parts_with_intervals(tmp_path: Path) -> None:
    prepare(tmp_path)
    report = classify.run(context(tmp_path, "classify", **QUICK))
    workspace = Workspace(tmp_path)
    results = workspace.read("results").to_pandas()
    assert set(zip(results.model, results.features, results.evaluation, strict=True)) == {
        (model, features, evaluation)
        for evaluation in ("cross-validation", "test")
        for model, features in [
            *(
                (m, layer)
                for m in ("LinearSVC", "SVM by SGD", "RandomForest", "logistic regression")
                for layer in ("fc6", "fc7")
            ),
            ("logistic regression", "metadata"),
        ]
    }
    for name in ("ap", "roc_auc", "accuracy", "spearman", "pair_accuracy"):
        assert (results[f"{name}_low"] <= results[name]).all()
        assert (results[name] <= results[f"{name}_high"]).all()
    pixels = results[results.features != "metadata"]
    assert (pixels.ap > pixels.positive_rate + 0.15).all()
    assert set(pixels.weights) == {"random"}
    assert set(results[results.features == "metadata"].weights) == {"none"}
    assert set(results.groupby("evaluation").n.first()) == {100, 20}
    assert (report.rows_in, report.rows_out, dict(report.failed)) == (N, N, {})
    assert workspace.last_commit("results").complete  # type: ignore[union-attr]


def test_a_simulated_run_is_judged_against_the_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    truth = dict(
        zip(*Workspace(tmp_path).read("labels", ["post_id", "ratio"]).to_pydict().values(), strict=True)
    )

    def oracle(seed: int, users: int, post_ids: list[str]) -> np.ndarray:
        assert (seed, users) == (0, 2000)
        return np.array([truth[post] for post in post_ids])

    monkeypatch.setattr("raylike.simulator.truth.oracle", oracle)
    classify.run(context(tmp_path, "classify", source={"name": "simulator"}, **QUICK))
    results = Workspace(tmp_path).read("results").to_pandas()
    judge = results[results.model == "oracle"]
    assert set(zip(judge.features, judge.evaluation, strict=True)) == {
        ("truth", "cross-validation"),
        ("truth", "test"),
    }
    assert (judge.ap > 0.9).all()
    assert (judge.accuracy > 0.75).all()


def test_the_sweep_holds_the_c_that_the_results_chose(tmp_path: Path) -> None:
    prepare(tmp_path)
    classify.run(context(tmp_path, "classify", **QUICK))
    sweep = Workspace(tmp_path).read("sweep").to_pandas()
    results = Workspace(tmp_path).read("results").to_pandas().set_index(["model", "features", "evaluation"])
    assert sorted(zip(sweep.features, sweep.c, strict=True)) == [
        (layer, c) for layer in ("fc6", "fc7") for c in (0.01, 1.0)
    ]
    for layer in ("fc6", "fc7"):
        row = results.loc[("LinearSVC", layer, "cross-validation")]
        curve = sweep[sweep.features == layer].set_index("c").ap
        assert curve.idxmax() == json.loads(row.parameters)["C"]
        assert curve.max() == pytest.approx(row.ap)


def test_predictions_cover_every_photo_once_for_each_model(tmp_path: Path) -> None:
    prepare(tmp_path)
    classify.run(context(tmp_path, "classify", **QUICK))
    predictions = Workspace(tmp_path).read("predictions").to_pandas()
    assert not predictions.duplicated(["model", "features", "post_id"]).any()
    assert len(predictions) == 9 * N
    assert predictions.probability.between(0, 1).all()
    assert (predictions.evaluation == "test").sum() == 9 * 20


def test_twice_the_same_input_gives_the_same_tables_whatever_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whether there is memory for the features or not."""
    tables = []
    for run in range(2):
        path = tmp_path / str(run)
        features = prepare(path)
        if run:
            monkeypatch.setattr(reading, "MEMORY_SHARE", 0)
            ids = Workspace(path).read("posts").column("post_id").to_pylist()
            order = np.random.default_rng(1).permutation(N)
            write_features(path, [ids[i] for i in order], features[:, order])
        classify.run(context(path, "classify", **QUICK))
        tables.append([in_order(path, name) for name in ("results", "differences", "sweep", "predictions")])
    assert all(first.equals(second) for first, second in zip(*tables, strict=True))


def in_order(path: Path, name: str) -> pa.Table:
    """A table's rows by key, without the wall clock: Delta keeps rows, not their order."""
    table = Workspace(path).read(name).sort_by([(key, "ascending") for key in TABLES[name].key])
    return table.drop_columns("seconds") if "seconds" in table.column_names else table


def test_photos_without_features_are_counted_and_left_out(tmp_path: Path) -> None:
    prepare(tmp_path, without_features=3)
    report = classify.run(context(tmp_path, "classify", **QUICK))
    assert (report.rows_out, dict(report.failed)) == (N - 3, {"no features": 3})


@pytest.mark.parametrize(("value", "message"), [(0.5, "the same for every photo"), (np.nan, "not finite")])
def test_features_that_say_nothing_are_refused(tmp_path: Path, value: float, message: str) -> None:
    features = prepare(tmp_path)
    ids = Workspace(tmp_path).read("posts").column("post_id").to_pylist()
    write_features(tmp_path, ids, np.full_like(features, value))
    with pytest.raises(StageError, match=message):
        classify.run(context(tmp_path, "classify", **QUICK))


def test_no_features_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no labelled photo has features"):
        classify.run(context(tmp_path, "classify", **QUICK))


def test_models_are_compared_pair_by_pair_on_the_same_photos(tmp_path: Path) -> None:
    prepare(tmp_path)
    classify.run(context(tmp_path, "classify", **QUICK))
    workspace = Workspace(tmp_path)
    differences = workspace.read("differences").to_pandas()
    ap = workspace.read("results").to_pandas().set_index(["model", "features", "evaluation"]).ap
    assert len(differences) == 2 * 9 * 8 / 2
    for row in differences.itertuples():
        gap = (
            ap[row.model, row.features, row.evaluation]
            - ap[row.other_model, row.other_features, row.evaluation]
        )
        assert row.difference == pytest.approx(gap)
        assert row.low <= row.high
    pixels = differences[
        (differences.other_features == "metadata") & (differences.evaluation == "cross-validation")
    ]
    assert (pixels.low > 0).all()


@pytest.mark.parametrize(
    ("fold", "label", "message"),
    [
        (0, 1, "fold 0 holds only good photos"),
        (2, 0, "fold 2 holds only bad photos"),
        (-1, 1, "the test set"),
    ],
)
def test_a_part_with_one_class_is_refused(tmp_path: Path, fold: int, label: int, message: str) -> None:
    prepare(tmp_path)
    labels = Workspace(tmp_path).read("labels").to_pandas()
    labels.loc[labels.fold == fold, "label"] = label
    write(tmp_path, "labels", {name: labels[name].tolist() for name in labels})
    with pytest.raises(StageError, match=message):
        classify.run(context(tmp_path, "classify", **QUICK))


def test_one_photo_that_is_not_finite_is_refused_even_in_the_test_set(tmp_path: Path) -> None:
    features = prepare(tmp_path)
    ids = Workspace(tmp_path).read("posts").column("post_id").to_pylist()
    features[0, 0, 0] = np.inf  # post 0 is a test photo
    write_features(tmp_path, ids, features)
    with pytest.raises(StageError, match=r"1 of 240 rows hold values that are not finite"):
        classify.run(context(tmp_path, "classify", **QUICK))


def test_label_designs_are_compared_on_the_same_photos(tmp_path: Path) -> None:
    prepare(tmp_path)
    classify.run(context(tmp_path, "classify", **QUICK))
    found = Workspace(tmp_path).read("design_results").to_pandas()
    assert set(zip(found.design, found.evaluation, strict=True)) == {
        (design, evaluation)
        for design in ("ratio_median", "same_user_pairs")
        for evaluation in ("cross-validation", "test")
    }
    results = Workspace(tmp_path).read("results").to_pandas()
    svc = results[(results.model == "LinearSVC") & (results.features == "fc7")].set_index("evaluation")
    chosen = found[found.design == "ratio_median"].set_index("evaluation")
    assert chosen.ap.to_dict() == pytest.approx(svc.ap.to_dict())
    learnable, arbitrary = (
        found[(found.design == design) & (found.evaluation == "test")].ap_low.item()
        for design in ("ratio_median", "same_user_pairs")
    )
    assert learnable > 0.6 > arbitrary


def test_a_design_that_cannot_be_judged_is_left_out_with_its_reason(tmp_path: Path) -> None:
    prepare(tmp_path)
    rows = Workspace(tmp_path).read("label_designs").to_pandas()
    few = rows[(rows.design == "ratio_median") | (rows.index < N + 4)]
    write(tmp_path, "label_designs", {name: few[name].tolist() for name in ("post_id", "design", "label")})
    report = classify.run(context(tmp_path, "classify", **QUICK))
    assert set(Workspace(tmp_path).read("design_results")["design"].to_pylist()) == {"ratio_median"}
    assert any("labels by same_user_pairs are not judged: " in note for note in report.notes)


def test_a_split_at_random_says_by_how_much_it_flatters(tmp_path: Path) -> None:
    prepare(tmp_path)
    report = classify.run(context(tmp_path, "classify", **QUICK, labels={"protocol": "study"}))
    assert any("the split moves it by" in note for note in report.notes)


def test_the_best_linear_model_is_kept_and_scores_as_it_did_in_the_run(tmp_path: Path) -> None:
    features = prepare(tmp_path)
    classify.run(context(tmp_path, "classify", **QUICK))
    workspace = Workspace(tmp_path)
    results = workspace.read("results").to_pandas()
    validated = results[results.evaluation == "cross-validation"].set_index(["model", "features"]).ap
    linear = validated[validated.index.get_level_values(0).isin(["LinearSVC", "logistic regression"])]
    kept = linear_model.load(workspace)
    assert kept is not None
    assert validated[kept.name, kept.source.layer] == linear.drop(("logistic regression", "metadata")).max()

    table = workspace.read("predictions").to_pandas().sort_values("post_id")
    ours = table[(table.model == kept.name) & (table.features == kept.source.layer)]
    test = (ours.evaluation == "test").to_numpy()
    half = 0.5 if kept.source.layer == "fc7" else 1.0
    rows = np.tile(features * np.float32(half), (1, 1, kept.weights.size // features.shape[2]))
    np.testing.assert_allclose(kept.score(rows)[test], ours.score[test], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept.held_out, np.sort(ours.score[test]))
    np.testing.assert_allclose(kept.platt.probability(ours.score[test].to_numpy()), ours.probability[test])
    assert kept.source.mirrored
    assert kept.n_accounts == 10
