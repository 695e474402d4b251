"""What the models reached: results, the curve over C, training and trials, as facts.

Knows the tables that models leave. Knows nothing of photos.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from raylike.headline import REFERENCES
from raylike.learning.label_designs import IN_WORDS
from raylike.report.facts import (
    DesignResult,
    Estimate,
    Headline,
    Model,
    Published,
    Score,
    Sweep,
    SweepPoint,
    Training,
    TrainingPoint,
    Trial,
)
from raylike.report.photo_facts import Difference
from raylike.workspace import Workspace

CROSS_VALIDATION, TEST = "cross-validation", "test"
ORACLE_FEATURES = "truth"


def models(workspace: Workspace) -> tuple[Model, ...]:
    """Every model of the results tables by features and name; references last, the oracle after all."""
    rows = workspace.read("results").to_pylist() + workspace.read("finetune_results").to_pylist()
    by_name: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault((row["features"], row["model"]), {})[row["evaluation"]] = row
    found = [_model(by_name[name]) for name in sorted(by_name)]
    return tuple(sorted(found, key=lambda model: (model.reference, model.features == ORACLE_FEATURES)))


def designs(workspace: Workspace, chosen: str) -> tuple[DesignResult, ...]:
    """What LinearSVC reaches under each label design, the chosen one first."""
    by_design: dict[str, dict[str, dict[str, Any]]] = {}
    for row in workspace.read("design_results").to_pylist():
        by_design.setdefault(row["design"], {})[row["evaluation"]] = row
    found = [
        DesignResult(
            design=design,
            rule=IN_WORDS.get(design, ""),
            features=next(iter(rows.values()))["features"],
            chosen=design == chosen,
            cross_validation=_score(rows.get(CROSS_VALIDATION)),
            test=_score(rows.get(TEST)),
        )
        for design, rows in sorted(by_design.items())
    ]
    return tuple(sorted(found, key=lambda result: not result.chosen))


def _model(rows: dict[str, dict[str, Any]]) -> Model:
    any_row = next(iter(rows.values()))
    return Model(
        model=any_row["model"],
        features=any_row["features"],
        weights=any_row["weights"],
        reference=any_row["features"] in REFERENCES,
        parameters=json.loads(any_row["parameters"] or "{}"),
        seconds=any_row["seconds"],
        cross_validation=_score(rows.get(CROSS_VALIDATION)),
        test=_score(rows.get(TEST)),
    )


def _score(row: dict[str, Any] | None) -> Score | None:
    if row is None:
        return None
    return Score(
        n=row["n"],
        positive_rate=row["positive_rate"],
        ap=_estimate(row, "ap"),
        roc_auc=_estimate(row, "roc_auc"),
        accuracy=_estimate(row, "accuracy"),
        spearman=_if_defined(row, "spearman"),
        pair_accuracy=_if_defined(row, "pair_accuracy"),
    )


def _if_defined(row: dict[str, Any], figure: str) -> Estimate | None:
    """A figure that an earlier version did not write, and that some photos do not give."""
    bounds = [row.get(name) for name in (figure, f"{figure}_low", f"{figure}_high")]
    return _estimate(row, figure) if all(b is not None and math.isfinite(b) for b in bounds) else None


def _estimate(row: dict[str, Any], figure: str) -> Estimate:
    return Estimate(row[figure], row[f"{figure}_low"], row[f"{figure}_high"])


def published(models: tuple[Model, ...], n_labelled: int) -> tuple[Published, ...]:
    """What the study published of its models, beside our best one by cross-validation."""
    best = best_by_cross_validation(models)
    cross_validated = best.cross_validation if best else None
    test = best.test if best else None
    name = best.name if best else ""
    return (
        Published("Photos of people", "35,000", None, n_labelled or None, "after the face filter"),
        Published("Average precision of the classifiers", "about 0.60", _ap(cross_validated), None, name),
        Published("Accuracy, cross-validated", "60 %", _accuracy(cross_validated), None, name),
        Published("Accuracy on the test photos", "57 %", _accuracy(test), None, name),
    )


def _ap(score: Score | None) -> Estimate | None:
    return score.ap if score else None


def _accuracy(score: Score | None) -> Estimate | None:
    return score.accuracy if score else None


def sweeps(workspace: Workspace) -> tuple[Sweep, ...]:
    """LinearSVC over C, by layer."""
    rows = workspace.read("sweep").sort_by([("features", "ascending"), ("c", "ascending")]).to_pylist()
    return tuple(
        Sweep(
            layer,
            tuple(
                SweepPoint(row["c"], _estimate(row, "ap"), row["accuracy"])
                for row in rows
                if row["features"] == layer
            ),
        )
        for layer in dict.fromkeys(row["features"] for row in rows)
    )


def trainings(workspace: Workspace) -> tuple[Training, ...]:
    """The looks at each network in training, in order."""
    rows = workspace.read("curves").sort_by([("run", "ascending"), ("iteration", "ascending")]).to_pylist()
    return tuple(
        Training(run, tuple(TrainingPoint(**{k: v for k, v in row.items() if k != "run"})
                            for row in rows if row["run"] == run))
        for run in dict.fromkeys(row["run"] for row in rows)
    )  # fmt: skip


def trials(workspace: Workspace) -> tuple[Trial, ...]:
    """The trials of the search, in order of start."""
    return tuple(Trial(**row) for row in workspace.read("trials").sort_by("trial").to_pylist())


def best_by_cross_validation(models: Iterable[Model]) -> Model | None:
    """The photo model with the best cross-validated AP, the first of equals; None without any.

    Never chosen by the test photos: the best of several test scores would flatter it.
    """
    judged = [(m.cross_validation.ap.value, m) for m in models if m.cross_validation and not m.reference]
    return max(judged, key=lambda pair: pair[0])[1] if judged else None


def differences(workspace: Workspace, headline: Headline | None) -> tuple[Difference, ...]:
    """The headline's model against every other one on the test photos, the greatest lead first."""
    if headline is None:
        return ()
    chosen = (headline.model, headline.features)
    found = []
    for row in workspace.read("differences").to_pylist():
        pair = (row["model"], row["features"]), (row["other_model"], row["other_features"])
        if row["evaluation"] != TEST or chosen not in pair:
            continue
        bounds = (row["difference"], row["low"], row["high"])
        if pair[1] == chosen:
            pair, bounds = pair[::-1], (-row["difference"], -row["high"], -row["low"])
        first, other = (f"{model} on {features}" for model, features in pair)
        found.append(Difference(first, other, Estimate(*bounds)))
    return tuple(sorted(found, key=lambda one: -one.difference.value))


def headline(models: tuple[Model, ...]) -> Headline | None:
    """The test figures of the model that is best by cross-validation; None before there are any."""
    best = best_by_cross_validation(models)
    if best is None or best.test is None:
        return None
    oracle = next((m.test.ap.value for m in models if m.features == ORACLE_FEATURES and m.test), None)
    return Headline(
        model=best.model,
        features=best.features,
        weights=best.weights,
        n=best.test.n,
        ap=best.test.ap,
        chance=best.test.positive_rate,
        oracle=oracle,
        roc_auc=best.test.roc_auc,
    )
