"""Stage report: one page that people look at, and every figure on it as JSON, SVG, PNG and CSV.

Reads all tables, features and photos of those that are shown or sampled; writes `report/index.html`,
`report/results.json`, `report/figures/` and, last, the report table. The same tables give the same
bytes. What a partial workspace lacks, the page says; an empty one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from raylike.report import figure_data, gather, page, pictured, plots
from raylike.report.facts import Facts
from raylike.report.svg import Drawn, png, standalone
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
    found = pictured.picture(workspace, gather.gather(workspace, context.settings), context.settings)
    facts = found.facts
    drawn = plots.draw_all(facts)
    figures_written = context.settings.report.figures
    html = page.render(facts, drawn, found.thumbnails, found.sheet, figures_written=figures_written)
    figures = _figure_files(facts, drawn) if figures_written else {}
    files = {**figures, FIGURES: facts.to_json().encode(), PAGE: html.encode()}
    before = set(workspace.read("report", ["file"]).column("file").to_pylist())
    rows = [_write(workspace, name, data) for name, data in files.items()]
    for name in sorted(before - files.keys()):
        _remove(workspace, name)
    workspace.write("report", pa.Table.from_pylist(rows, schema=REPORT.schema), context.commit)
    size = len(html.encode()) / 1e6
    n_photos = facts.gallery.n_photos if facts.gallery else 0
    return StageReport(
        rows_in=n_photos,
        rows_out=len(rows),
        notes=(f"{workspace.artifact(FOLDER, PAGE)}: {size:.1f} MB, {len(found.thumbnails)} photos",),
    )


def _figure_files(facts: Facts, drawn: Mapping[str, Drawn]) -> dict[str, bytes]:
    """Each figure as SVG, PNG and CSV, by path below the report's folder."""
    data = figure_data.rows(facts)
    files: dict[str, bytes] = {}
    for name, svg in drawn.items():
        files[f"figures/{name}.svg"] = standalone(svg).encode()
        files[f"figures/{name}.png"] = png(svg.figure)
        files[f"figures/{name}.csv"] = figure_data.to_csv(data[name]).encode()
    return files


def _write(workspace: Workspace, name: str, data: bytes) -> dict[str, object]:
    """Put a file in its place, whole or not at all; returns its row of the report table."""
    workspace.write_file(f"{FOLDER}/{name}", data)
    return {"file": name, "byte_size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _remove(workspace: Workspace, name: str) -> None:
    """Take away a figure of an earlier report that this one does not have, if it is still there."""
    if workspace.is_local:
        Path(workspace.artifact(FOLDER, name)).unlink(missing_ok=True)
        return
    filesystem, root = workspace.filesystem()
    with suppress(FileNotFoundError):
        filesystem.delete_file(f"{root}/{FOLDER}/{name}")
