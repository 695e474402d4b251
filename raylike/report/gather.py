"""Tables -> `Facts`: reads what the workspace holds, counts and summarises it.

Of the big tables only scalar columns are read (and the face boxes, for the cut). A table that is not
there yet leaves its part of the facts None or empty. Knows tables and settings. Knows nothing of plots
and HTML.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.config import FeaturesSettings, Settings
from raylike.errors import InputDataError
from raylike.learning import face_curve, face_cut
from raylike.learning.duplicates import EXACT, NEAR
from raylike.learning.label_designs import NO_PARTNER
from raylike.learning.splits import BOTH_SIDES, OVER_THE_CAP
from raylike.report import distributions, judging, learned, ranking, scored_photos
from raylike.report.facts import (
    Asked,
    CutQuality,
    Estimate,
    FaceCut,
    Facts,
    Headline,
    Model,
    Reason,
    StageTime,
    Step,
)
from raylike.report.photo_facts import Judgement
from raylike.stage_names import STAGE_NAMES
from raylike.tables import features_name
from raylike.vision import detectors
from raylike.workspace import Workspace

RANDOM = "random"

SAID_BY_LABELS = (EXACT, NEAR, OVER_THE_CAP, BOTH_SIDES, NO_PARTNER)
"""Reasons that no earlier stage has given."""

STUDY_FUNNEL = {"collect": 200_000, "cohort": 120_000, "faces": 60_000, "cut": 35_000}
"""Photos of the 2015 study after each of its steps."""
HITS = re.compile(r"(\d+) (?:hits|pages)")
"""How stages note their requests to a network's API."""
REFERENCES = ("metadata", learned.ORACLE_FEATURES)
"""Features of models whose curves stand beside the headline's."""


def gather(workspace: Workspace, settings: Settings) -> Facts:
    """Read all figures of the report.

    Raises
    ------
    InputDataError : if the workspace holds no posts
    """
    posts = workspace.read("posts", ["post_id", "created_at", "collected_at"])
    if not posts.num_rows:
        raise InputDataError("holds no posts, so there is nothing to report", workspace.uri,
                             "first: raylike run-all, or raylike import FILE")  # fmt: skip
    cohort = workspace.read("cohort").sort_by("post_id")
    kept = cohort.filter(cohort.column("kept")).column("post_id").combine_chunks()
    images = _within(workspace.read("images", ["post_id", "status"]), kept)
    faces = _within(
        workspace.read("faces", ["post_id", "detector", "n_faces", "confidence", "faces", "status"]), kept
    )
    labels = workspace.read("labels").sort_by("post_id")
    runs = _last_runs(workspace.read("runs"))
    models = learned.models(workspace)
    headline = _with_accounts(learned.headline(models), labels)
    cut = face_cut.cut(faces, settings.faces)
    return Facts(
        asked=_asked(posts, runs, settings),
        random_weights=_any_random(workspace, models, settings.features),
        headline=headline,
        funnel=_funnel(workspace, posts, cohort, images, faces, cut, labels),
        reasons=tuple(_reasons(workspace, runs, cohort, images, cut)),
        followers=distributions.followers(cohort, settings.cohort) if cohort.num_rows else None,
        likes=distributions.likes_by_followers(cohort),
        ratios=distributions.ratios(labels) if labels.num_rows else None,
        faces=_face_cut(workspace, faces, cut, settings) if faces.num_rows else None,
        published=learned.published(models, labels.num_rows),
        models=models,
        designs=learned.designs(workspace, settings.labels.design),
        sweeps=learned.sweeps(workspace),
        trainings=learned.trainings(workspace),
        trials=learned.trials(workspace),
        gallery=ranking.gallery(workspace, models, cohort, labels, settings),
        times=tuple(_time(row, _bytes(workspace, row["stage"])) for row in runs),
        hours=distributions.hours(posts, cohort),
        ages=distributions.ages(posts, cohort),
        judgement=_judgement(workspace, labels, models, headline, settings.seed),
        differences=learned.differences(workspace, headline),
    )


def _with_accounts(headline: Headline | None, labels: pa.Table) -> Headline | None:
    """The headline with the number of accounts that posted its test photos."""
    if headline is None or not labels.num_rows:
        return headline
    tested = labels.filter(pc.equal(labels.column("split"), "test"))
    return replace(headline, n_accounts=pc.count_distinct(tested.column("user_id")).as_py())


def _judgement(
    workspace: Workspace, labels: pa.Table, models: tuple[Model, ...], headline: Headline | None, seed: int
) -> Judgement | None:
    """Curves of the headline's model and of the references, where their scores are kept."""
    if headline is None:
        return None
    chosen = scored_photos.read(workspace, labels, headline.model, headline.features)
    beside = [
        scored_photos.read(workspace, labels, model.model, model.features)
        for model in models
        if model.features in REFERENCES
    ]
    others = [photos for photos in beside if photos is not None]
    return None if chosen is None else judging.judge(chosen, others, seed)


def _within(table: pa.Table, post_ids: pa.Array) -> pa.Table:
    """Rows of posts that the cohort keeps; a table may hold those of an earlier, wider cohort."""
    wanted = pc.is_in(table.column("post_id"), value_set=post_ids)
    return table.filter(wanted).sort_by("post_id").combine_chunks()


def _asked(posts: pa.Table, runs: list[dict[str, Any]], settings: Settings) -> Asked:
    first_last = pc.min_max(posts.column("created_at")).as_py()
    return Asked(
        source=settings.source.name,
        tag=settings.source.tag,
        seed=settings.seed,
        preset=settings.preset,
        protocol=settings.labels.protocol,
        min_age_days=settings.collect.min_age_days,
        first_post=first_last["min"].date().isoformat(),
        last_post=first_last["max"].date().isoformat(),
        collected=pc.max(posts.column("collected_at")).as_py().date().isoformat(),
        versions=json.loads(runs[-1]["versions"]) if runs else {},
    )


def _any_random(workspace: Workspace, models: Iterable[Model], settings: FeaturesSettings) -> bool:
    table = features_name(settings.backbone, settings.layers)
    rows = workspace.read(table, ["weights"], where=feature_rows.in_force(workspace, table))
    computed = rows.column("weights").unique().to_pylist()
    return RANDOM in computed or any(model.weights == RANDOM for model in models)


def _funnel(
    workspace: Workspace,
    posts: pa.Table,
    cohort: pa.Table,
    images: pa.Table,
    faces: pa.Table,
    cut: NDArray[np.str_],
    labels: pa.Table,
) -> tuple[Step, ...]:
    counts: list[tuple[str, str, str, int]] = [
        ("posts", "Posts collected", "collect", posts.num_rows),
        ("cohort", "Kept by the filter on followers", "cohort", _count(cohort.column("kept"))),
        ("images", "Photos downloaded", "download", _count(pc.equal(images.column("status"), "ok"))),
        ("faces", "With a face, however faint", "faces", _count(pc.greater(faces.column("n_faces"), 0))),
        ("faces", "With a face above the cut", "cut", int((cut == face_cut.KEPT).sum())),
        ("labels", "Labelled good or bad", "labels", labels.num_rows),
    ]
    steps: list[Step] = []
    previous: int | None = None
    for table, name, stage, found in counts:
        count = found if workspace.exists(table) else None
        steps.append(
            Step(
                name=name,
                stage=stage,
                count=count,
                of_first=_share(count, posts.num_rows),
                of_previous=_share(count, previous),
                study=STUDY_FUNNEL.get(stage),
                study_of_first=_share(STUDY_FUNNEL.get(stage), STUDY_FUNNEL["collect"]),
            )
        )
        previous = count
    return tuple(steps)


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _reasons(
    workspace: Workspace,
    runs: list[dict[str, Any]],
    cohort: pa.Table,
    images: pa.Table,
    cut: NDArray[np.str_],
) -> Iterable[Reason]:
    """Why items were left out, by stage: from the tables, or from the run's record where they do not say."""
    recorded = {row["stage"]: json.loads(row["skipped"]) | json.loads(row["failed"]) for row in runs}
    statuses = workspace.read("users", ["status"]).column("status").to_pylist()
    counted: dict[str, Iterable[str]] = {
        "followers": (f"account {status}" for status in statuses if status != "ok"),
        "cohort": (reason for reason in cohort.column("reason").to_pylist() if reason),
        "download": (status for status in images.column("status").to_pylist() if status != "ok"),
        "faces": (reason for reason in cut.tolist() if reason != face_cut.KEPT),
    }
    for stage in STAGE_NAMES:
        counts = Counter(counted[stage]) if stage in counted else Counter(recorded.get(stage, {}))
        if stage == "labels":  # its other reasons say again, for the whole cohort, what download and cut said
            counts = Counter({reason: counts[reason] for reason in SAID_BY_LABELS if counts[reason]})
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            yield Reason(stage, reason, count)


def _face_cut(workspace: Workspace, faces: pa.Table, cut: NDArray[np.str_], settings: Settings) -> FaceCut:
    best = faces.column("confidence").to_numpy().astype(np.float64)
    confidences, photos = distributions.at_least(best[np.isfinite(best)])
    judged, n_labelled = _judged(workspace, faces, settings)
    return FaceCut(
        detector=", ".join(sorted(set(faces.column("detector").to_pylist()))),
        confidences=confidences,
        photos=photos,
        min_confidence=detectors.min_confidence(settings.faces),
        n_photos=faces.num_rows,
        n_with_face=_count(pc.greater(faces.column("n_faces"), 0)),
        n_above_cut=int((cut == face_cut.KEPT).sum()),
        judged=judged,
        n_labelled=n_labelled,
    )


def _judged(workspace: Workspace, faces: pa.Table, settings: Settings) -> tuple[tuple[CutQuality, ...], int]:
    """Precision and recall of each cut by the photos labelled by eye, and how many those are."""
    if settings.faces.truth is None:
        return (), 0
    truth = face_curve.read_truth(settings.faces.truth, workspace)
    found = face_curve.trace(faces, settings.faces, truth)
    judged = tuple(
        CutQuality(point.min_confidence, _estimate(point.precision), recall)
        for point in found.points
        if (recall := _estimate(point.recall)) is not None
    )
    return judged, found.n_labelled


def _estimate(share: face_curve.Share | None) -> Estimate | None:
    return None if share is None or share.value is None else Estimate(share.value, share.low, share.high)


def _last_runs(runs: pa.Table) -> list[dict[str, Any]]:
    """The last record of each stage, in the order of stages; not the report's, which is still at work."""
    last = {row["stage"]: row for row in runs.sort_by("started_at").to_pylist()}
    return [last[stage] for stage in STAGE_NAMES if stage in last and stage != "report"]


def _bytes(workspace: Workspace, stage: str) -> int | None:
    """Bytes of photos that the download read; nobody counts those of other stages."""
    if stage != "download":
        return None
    return int(pc.sum(workspace.read("images", ["byte_size"]).column("byte_size")).as_py() or 0)


def _time(row: dict[str, Any], byte_size: int | None) -> StageTime:
    seconds = row["seconds"]
    notes = tuple(json.loads(row["notes"]))
    hits = [int(found[1]) for note in notes if (found := HITS.search(note))]
    return StageTime(
        stage=row["stage"],
        seconds=seconds,
        rows_in=row["rows_in"],
        rows_out=row["rows_out"],
        rows_per_s=row["rows_out"] / seconds if seconds > 0 else None,
        memory_peak_mib=row["memory_peak_mib"],
        notes=notes,
        hits=sum(hits) if hits else None,
        bytes=byte_size,
    )
