"""The page and its figures, as the stage writes them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
import pytest

from raylike.config import resolve
from raylike.report import page, pictured, plots
from raylike.report.gather import gather
from raylike.report.page import count, seconds, share, significant
from raylike.stages import report
from raylike.workspace import Workspace

Rows = list[dict[str, Any]]
Fill = Callable[[Path, dict[str, Rows], set[str] | None], Workspace]
SECTIONS = {
    "asked",
    "funnel",
    "followers",
    "likes",
    "faces",
    "models",
    "curves",
    "training",
    "galleries",
    "map",
    "looks",
    "fairness",
    "time",
    "reading",
}
FIGURES = (
    "followers", "likes", "ratios", "hours", "ages", "faces", "models", "sweep", "training-0", "trials",
    "roc", "precision-recall", "calibration", "differences", "effects", "groups", "times",
)  # fmt: skip
HOSTILE = "<script>alert('liked')</script>"


class Outline(HTMLParser):
    """What a page is made of: elements, ids, links, whatever it would fetch."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.headings: list[int] = []
        self.tables_without_scope = 0
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        self.sources += [found[k] or "" for k in ("src", "srcset", "data", "xlink:href") if k in found]
        self.alts += [found.get("alt") or ""] if tag == "img" else []
        self.tables_without_scope += tag == "th" and "scope" not in found
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def compose(workspace: Workspace, **flags: Any) -> tuple[str, dict[str, Any]]:
    """The same without writing anything, and with blank figures, which take most of the time."""
    settings = resolve(flags, environ={}).settings
    found = pictured.picture(workspace, gather(workspace, settings), settings)
    blank = dict.fromkeys(FIGURES, "<svg></svg>")
    return page.render(found.facts, blank, found.thumbnails, found.sheet), json.loads(found.facts.to_json())


def test_the_page_is_whole_and_fetches_nothing(written: tuple[str, dict[str, Any]]) -> None:
    outline = Outline(written[0])
    assert outline.open == []
    assert set(outline.ids) >= SECTIONS
    assert {link.removeprefix("#") for link in outline.links} == SECTIONS | {"main"}
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in outline.sources)
    assert not {"link", "iframe", "object"} & set(outline.tags)
    assert "default-src 'none'" in written[0]
    assert "@import" not in written[0]
    assert not re.search(r"url\((?!#)", written[0])


def test_the_page_can_be_read_without_seeing_it(written: tuple[str, dict[str, Any]]) -> None:
    outline = Outline(written[0])
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.headings.count(1) == 1
    assert all(
        below - above <= 1 for above, below in zip(outline.headings, outline.headings[1:], strict=False)
    )
    assert outline.tables_without_scope == 0
    assert all(outline.alts)
    ranked = [alt for alt in outline.alts if alt.startswith("Rank ")]
    wrong = len(written[1]["gallery"]["overrated"] + written[1]["gallery"]["underrated"])
    assert len(ranked) == 18 * 4 + wrong  # both ends, the top 100 and the continuum hold all 18 test photos
    assert outline.tags.count("svg") == written[0].count('role="img" aria-label=') - 1  # and the ruler


def test_figures_on_the_page_are_those_of_the_json(written: tuple[str, dict[str, Any]]) -> None:
    html, figures = written
    for step in figures["funnel"]:
        assert f'<td class="number strong">{count(step["count"])}</td>' in html
        assert share(step["of_first"]) in html
    for model in figures["models"]:
        for evaluation in ("cross_validation", "test"):
            for figure in ("ap", "accuracy"):
                if model[evaluation]:
                    bounds = model[evaluation][figure]
                    text = '{value:.3f} <span class="interval">{low:.3f}–{high:.3f}'
                    assert text.format(**bounds) in html
    for time in figures["times"]:
        assert seconds(time["seconds"]) in html
    for reason in figures["reasons"]:
        assert reason["reason"] in html
    for trial in figures["trials"]:
        assert f"{trial['best_validation_ap']:.3f}" in html


def test_what_people_wrote_is_text_and_never_markup(written: tuple[str, dict[str, Any]]) -> None:
    html, figures = written
    assert any(photo["caption"] == HOSTILE for photo in figures["gallery"]["best"])
    assert re.findall("<script[^>]*>", html) == ['<script type="application/json" id="map-data">', "<script>"]
    assert "&lt;script&gt;alert(" in html


def test_random_weights_are_said_in_the_banner_in_captions_and_in_plots(
    written: tuple[str, dict[str, Any]],
) -> None:
    html, figures = written
    assert figures["random_weights"]
    assert "<strong>Random weights.</strong> The network" in html
    assert html.count(">random features: the network was not trained</text>") == 10
    assert html.count('<span class="tag">random features</span>') >= 6


def test_trained_weights_raise_no_warning(
    tmp_path: Path, rows: dict[str, Rows], fill_workspace: Fill
) -> None:
    trained = {
        name: [row | {"weights": "pretrained"} if row.get("weights") == "random" else row for row in found]
        for name, found in rows.items()
    }
    html, figures = compose(fill_workspace(tmp_path / "w", trained, None))
    assert not figures["random_weights"]
    assert "random features" not in html
    assert "Random weights" not in html


def test_the_same_tables_give_the_same_bytes(
    finished: Workspace, written: tuple[str, dict[str, Any]]
) -> None:
    settings = resolve({"faces": {"min_confidence": 0.0}}, environ={}).settings
    found = pictured.picture(finished, gather(finished, settings), settings)
    drawn = plots.draw_all(found.facts)
    assert page.render(found.facts, drawn, found.thumbnails, found.sheet) == written[0]


def test_the_report_table_names_each_file_with_its_hash(finished: Workspace, written: object) -> None:
    rows = {row["file"]: row for row in finished.read("report").to_pylist()}
    assert {"index.html", "results.json"} < set(rows)
    for name, row in rows.items():
        data = Path(finished.artifact("report", name)).read_bytes()
        assert (row["byte_size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    folder = Path(finished.artifact("report"))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == set(rows)


def test_a_figure_that_is_no_longer_drawn_is_taken_away(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    for name in ("figures/old.svg", "figures/gone.svg"):
        report._write(workspace, name, b"<svg/>")
    report._remove(workspace, "figures/old.svg")
    report._remove(workspace, "figures/never.svg")
    assert not Path(workspace.artifact("report", "figures/old.svg")).exists()
    assert Path(workspace.artifact("report", "figures/gone.svg")).exists()


def test_each_figure_lies_beside_the_page_as_svg_png_and_csv(finished: Workspace, written: object) -> None:
    folder = Path(finished.artifact("report", "figures"))
    assert {path.stem for path in folder.iterdir()} == set(FIGURES)
    for name in FIGURES:
        drawing = ElementTree.parse(folder / f"{name}.svg").getroot()
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert len((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()) > 1
    pixels = cv2.imread(str(folder / "followers.png"))
    assert pixels is not None
    blue = (
        np.abs(pixels.astype(int) - (0xA8, 0x62, 0x2A)).max(axis=2) < 45
    )  # the page's blue, a little opaque
    assert blue.mean() > 0.05
    assert (pixels == 255).all(axis=2).mean() > 0.3  # on white
    models = pd.read_csv(folder / "models.csv")
    assert models.loc[models["model"] == "oracle", "test_ap"].item() == pytest.approx(0.71)


def test_a_partial_workspace_says_what_has_not_run(
    tmp_path: Path, rows: dict[str, Rows], fill_workspace: Fill
) -> None:
    html, figures = compose(fill_workspace(tmp_path / "w", rows, {"posts"}))
    assert set(Outline(html).ids) >= SECTIONS
    for stage in ("cohort", "labels", "faces", "classify", "finetune", "tune", "rank", "run-all"):
        assert f"<code>raylike {stage}</code>" in html
    assert figures["headline"] is None


def test_nobody_of_a_real_network_is_named(finished: Workspace, written: tuple[str, object]) -> None:
    html, figures = compose(finished, source={"name": "instagram_v1"})
    assert "Faces are a mosaic, and names are left out" in html
    assert "Sunday" not in html
    assert "&lt;script" not in html
    assert not re.search(r"\bp0\d{4}\b", html + json.dumps(figures))
    shown = set(Outline(written[0]).sources)
    assert not shown & {s for s in Outline(html).sources if s.startswith("data:")}  # every photo has a face


def test_the_pages_policy_names_its_own_script_and_no_other(written: tuple[str, object]) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", written[0], re.DOTALL)
    named = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{named}'" in written[0]
    assert not re.search(r"\son[a-z]+=", written[0].split("<script>")[0].split("<svg")[0])


def test_the_map_lies_in_the_page_as_numbers(written: tuple[str, dict[str, Any]]) -> None:
    html, figures = written
    (data,) = re.findall(r'id="map-data">(.*?)</script>', html, re.DOTALL)
    assert json.loads(data) == figures["photo_map"]
    assert len(figures["photo_map"]["x"]) == 72
    assert sorted(figures["photo_map"]["tile"]) == list(range(72))


def test_few_test_photos_make_the_interval_mean_nothing(written: tuple[str, object]) -> None:
    assert "the interval means nothing" in written[0]  # 18 test photos


@pytest.mark.parametrize(
    ("value", "text"), [(59.94, "59.9\u00a0s"), (75.3, "1\u00a0min 15\u00a0s"), (0.04, "0.0\u00a0s")]
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


def test_counts_that_are_no_numbers_are_a_dash() -> None:
    assert count(None) == count(float("nan")) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0843, "0.0843"), (8000.0, "8,000"), (1e5, "100,000"), (1e-6, "1e-06"), (None, "–")]
)
def test_significant_digits(value: float | None, text: str) -> None:
    assert significant(value) == text
