"""Stage faces: look for faces in every photo of the cohort, and keep all that the detector proposes.

Each photo is decoded once, for the detector and for the perceptual hash, by which copies are found later.
Photos stream through Ray Data past detectors; what they find is small and comes back to the driver,
which commits it in batches. No cut is made here, so that it can be moved later without
looking again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.metrics import StageMetrics
from raylike import photo_stream
from raylike.config import FacesSettings
from raylike.stage import StageContext, StageReport
from raylike.tables import FACES
from raylike.vision import decode, detectors
from raylike.vision.perceptual_hash import AT_LEAST_PX, perceptual_hash
from raylike.workspace import Workspace

COMMIT_EVERY = 500
"""Photos in a commit: what a killed run has to look at again."""

NO_FACE: dict[str, Any] = {"n_faces": 0, "faces": [], "confidence": float("-inf"), "area_fraction": 0.0}


def find_faces(
    units: pa.Table, workspace: Workspace, settings: FacesSettings, model: detectors.Model | None = None
) -> pa.Table:
    """Look at the photos of some units; runs in Ray's workers.

    A task and not an actor: no process has to be started for it. Each builds its detector once.
    """
    decode.use_threads(1)  # one process a core: OpenCV's own threads would fight over it
    detector = detectors.built(settings, model)
    told = {"detector": settings.detector, "model": None if model is None else model.sha256}
    rows = [
        {"post_id": post_id, **told, **_look(photo, detector)}
        for post_id, photo in photo_stream.read(workspace, units.to_pylist())
    ]
    metrics = StageMetrics("faces")
    metrics.done(len(rows))
    metrics.failed("undecodable", sum(row["status"] != "ok" for row in rows))
    return pa.Table.from_pylist(rows, schema=FACES.schema)


def _look(photo: bytes, detector: detectors.FaceDetector) -> dict[str, Any]:
    """What the detector proposes, as columns of `faces`, in px of the upright photo, and the photo's hash."""
    at_least_px = max(detector.at_least_px, AT_LEAST_PX)
    picture = decode.decode(photo, at_least_px=at_least_px, colour=detector.colour)
    if picture is None:
        return {**NO_FACE, "status": "undecodable"}
    known = {"status": "ok", "phash": perceptual_hash(picture.pixels)}
    height, width = picture.pixels.shape[:2]
    found = [
        _row(face.scaled(picture.scale), width * height * picture.scale**2)
        for face in detector.detect(picture.pixels)
    ]
    if not found:
        return {**NO_FACE, **known}
    return {
        **known,
        "n_faces": len(found),
        "faces": found,
        "confidence": found[0]["confidence"],
        "area_fraction": max(face["area_fraction"] for face in found),
    }


def _row(face: detectors.Face, photo_px: float) -> dict[str, Any]:
    """A face as the table keeps it; `photo_px` is the area of its photo."""
    return {
        "x": face.x,
        "y": face.y,
        "width": face.width,
        "height": face.height,
        "confidence": face.confidence,
        "area_fraction": face.width * face.height / photo_px,
        "landmarks": [{"x": x, "y": y} for x, y in face.landmarks] or None,
    }


def run(context: StageContext) -> StageReport:
    """Look at the photos of the cohort that were not looked at yet.

    Raises
    ------
    ConfigError, InputDataError, ServiceUnavailable : if the detector or its model cannot be had
    """
    workspace, settings = context.workspace, context.settings.faces
    model = detectors.kind(settings.detector).load(settings)
    kept = workspace.read("cohort", ["post_id"], where=pc.field("kept"))["post_id"].to_pylist()
    wanted = set(kept) & photo_stream.downloaded(workspace)
    resume = context.resume and workspace.has_all_columns("faces") and _same_model(workspace, model)
    done = workspace.keys("faces") if resume else set()
    todo = wanted - done
    if not resume:
        workspace.make(FACES, context.commit.partial())
        workspace.write("faces", FACES.empty(), context.commit.partial())
    context.progress.expect(len(todo), "photos")
    for rows in _batches(_detect(context, todo, model) if todo else iter(()), COMMIT_EVERY):
        workspace.append("faces", rows, context.commit.partial())
    workspace.seal("faces", context.commit)
    return _report(context, wanted, model)


def _same_model(workspace: Workspace, model: detectors.Model | None) -> bool:
    """Whether all rows so far come from this model file; settings only name its path."""
    seen = workspace.read("faces", ["model"]).column("model").unique().to_pylist()
    return not set(seen) - {None if model is None else model.sha256}


def _detect(context: StageContext, todo: set[str], model: detectors.Model | None) -> Iterator[pa.Table]:
    """Rows of `faces` as they are found, in no particular order."""
    from ray.data import TaskPoolStrategy

    settings = context.settings.faces
    found = photo_stream.units(context.workspace, todo, "photos -> faces").map_batches(
        find_faces,
        fn_kwargs={"workspace": context.workspace, "settings": settings, "model": model},
        batch_format="pyarrow",
        batch_size=None,
        compute=TaskPoolStrategy(size=settings.processes),
    )
    for rows in found.iter_batches(batch_format="pyarrow", batch_size=None):
        context.progress.advance(rows.num_rows)
        yield rows


def _batches(tables: Iterator[pa.Table], n_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of at least `n_rows`, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(t.num_rows for t in waiting) >= n_rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _report(context: StageContext, wanted: set[str], model: detectors.Model | None) -> StageReport:
    rows = context.workspace.read("faces", ["post_id", "status", "n_faces"])
    rows = rows.filter(pc.is_in(rows["post_id"], value_set=pa.array(sorted(wanted), pa.string())))
    statuses = Counter(rows["status"].to_pylist())
    statuses.pop("ok", None)
    with_face = pc.sum(pc.greater(rows["n_faces"], 0)).as_py() or 0
    notes = [f"{with_face} of {rows.num_rows} photos with a proposed face"]
    if model is not None:
        notes.append(f"model {model.source}, SHA-256 {model.sha256}")
    return StageReport(rows_in=len(wanted), rows_out=rows.num_rows, failed=dict(statuses), notes=tuple(notes))
