"""Stage report: one page that people look at, and every figure on it as JSON.

Reads all tables, and photo bytes of the galleries alone; writes `report/index.html`,
`report/results.json` and, last, the report table. The same tables give the same bytes. What a partial
workspace lacks, the page says; an empty one is refused.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pyarrow as pa

from raylike.errors import CannotWrite
from raylike.report import galleries, gather, page, plots
from raylike.report.facts import Facts
from raylike.stage import StageContext, StageReport
from raylike.tables import REPORT
from raylike.workspace import Workspace

FOLDER = "report"
PAGE, FIGURES = "index.html", "results.json"


def run(context: StageContext) -> StageReport:
    """Write the page and its figures.

    Raises
    ------
    InputDataError : if the workspace holds no posts
    CannotWrite : if the files cannot be written
    """
    workspace = context.workspace
    facts = gather.gather(workspace, context.settings)
    thumbnails = galleries.thumbnails(workspace, _shown(facts), context.settings.report.thumbnail_px)
    html = page.render(facts, plots.draw_all(facts), thumbnails)
    rows = [
        _write(workspace, name, text.encode()) for name, text in ((FIGURES, facts.to_json()), (PAGE, html))
    ]
    workspace.write("report", pa.Table.from_pylist(rows, schema=REPORT.schema), context.commit)
    size = len(html.encode()) / 1e6
    n_photos = facts.gallery.n_photos if facts.gallery else 0
    return StageReport(
        rows_in=n_photos,
        rows_out=len(rows),
        notes=(f"{workspace.artifact(FOLDER, PAGE)}: {size:.1f} MB, {len(thumbnails)} photos",),
    )


def _shown(facts: Facts) -> set[str]:
    """The photos that the page shows; none where they are to stay hidden."""
    if facts.gallery is None:
        return set()
    return {photo.post_id for photo in facts.gallery.best + facts.gallery.worst if photo.post_id is not None}


def _write(workspace: Workspace, name: str, data: bytes) -> dict[str, object]:
    """Put a file in its place, whole or not at all; returns its row of the report table."""
    target = workspace.artifact(FOLDER, name)
    try:
        if workspace.is_local:
            _replace(Path(target), data)
        else:
            filesystem, root = workspace.filesystem()
            with filesystem.open_output_stream(f"{root}/{FOLDER}/{name}") as stream:
                stream.write(data)  # an object appears when its upload is complete
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error}", target, "check space and permissions") from None
    return {"file": name, "byte_size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _replace(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise
