"""The page and its figures, as the stage writes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from raylike.config import resolve
from raylike.progress import Silence
from raylike.report import galleries
from raylike.report.page import count, seconds, share, significant
from raylike.stage import StageContext
from raylike.stages import report
from raylike.workspace import Commit, Workspace

Rows = list[dict[str, Any]]
Fill = Callable[[Path, dict[str, Rows], set[str] | None], Workspace]
SECTIONS = {
    "asked",
    "funnel",
    "followers",
    "likes",
    "faces",
    "models",
    "training",
    "galleries",
    "time",
    "reading",
}
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


def write(workspace: Workspace, **flags: Any) -> tuple[str, dict[str, Any]]:
    """Run the stage; the page, and its figures."""
    context = StageContext(workspace, resolve(flags, environ={}).settings, Silence(), Commit("report", "f"))
    report.run(context)
    page = Path(workspace.artifact("report", "index.html")).read_text(encoding="utf-8")
    return page, json.loads(Path(workspace.artifact("report", "results.json")).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(finished: Workspace) -> tuple[str, dict[str, Any]]:
    return write(finished)


def test_the_page_is_whole_and_fetches_nothing(written: tuple[str, dict[str, Any]]) -> None:
    outline = Outline(written[0])
    assert outline.open == []
    assert set(outline.ids) >= SECTIONS
    assert {link.removeprefix("#") for link in outline.links} == SECTIONS | {"main"}
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in outline.sources)
    assert not {"script", "link", "iframe", "object"} & set(outline.tags)
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
    assert len(outline.alts) == 18 * 3  # best ends, worst ends and the top 100 each hold all 18 test photos
    assert all(alt.startswith("Rank ") for alt in outline.alts)
    assert outline.tags.count("svg") == written[0].count('role="img" aria-label=') - 1  # and the ruler


def test_figures_on_the_page_are_those_of_the_json(written: tuple[str, dict[str, Any]]) -> None:
    page, figures = written
    for step in figures["funnel"]:
        assert f'<td class="number strong">{count(step["count"])}</td>' in page
        assert share(step["of_first"]) in page
    for model in figures["models"]:
        for evaluation in ("cross_validation", "test"):
            for figure in ("ap", "accuracy"):
                if model[evaluation]:
                    bounds = model[evaluation][figure]
                    text = '{value:.3f} <span class="interval">{low:.3f}–{high:.3f}'
                    assert text.format(**bounds) in page
    for time in figures["times"]:
        assert seconds(time["seconds"]) in page
    for reason in figures["reasons"]:
        assert reason["reason"] in page
    for trial in figures["trials"]:
        assert f"{trial['best_validation_ap']:.3f}" in page


def test_what_people_wrote_is_text_and_never_markup(written: tuple[str, dict[str, Any]]) -> None:
    page, figures = written
    assert any(photo["caption"] == HOSTILE for photo in figures["gallery"]["best"])
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page


def test_random_weights_are_said_in_the_banner_in_captions_and_in_plots(
    written: tuple[str, dict[str, Any]],
) -> None:
    page, figures = written
    assert figures["random_weights"]
    assert 'class="banner"' in page
    assert page.count(">random features: the network was not trained</text>") == 4
    assert page.count('<span class="tag">random features</span>') >= 6


def test_trained_weights_raise_no_warning(
    tmp_path: Path, rows: dict[str, Rows], fill_workspace: Fill
) -> None:
    trained = {
        name: [row | {"weights": "pretrained"} if row.get("weights") == "random" else row for row in found]
        for name, found in rows.items()
    }
    page, figures = write(fill_workspace(tmp_path / "w", trained, None))
    assert not figures["random_weights"]
    assert "random features" not in page
    assert 'class="banner"' not in page


def test_the_same_tables_give_the_same_bytes(
    finished: Workspace, written: tuple[str, dict[str, Any]]
) -> None:
    again, _ = write(finished)
    assert again == written[0]


def test_the_report_table_names_each_file_with_its_hash(finished: Workspace, written: object) -> None:
    rows = {row["file"]: row for row in finished.read("report").to_pylist()}
    assert set(rows) == {"index.html", "results.json"}
    for name, row in rows.items():
        data = Path(finished.artifact("report", name)).read_bytes()
        assert (row["byte_size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    left = sorted(path.name for path in Path(finished.artifact("report")).iterdir())
    assert left == ["index.html", "results.json"]


def test_a_partial_workspace_says_what_has_not_run(
    tmp_path: Path, rows: dict[str, Rows], fill_workspace: Fill
) -> None:
    page, figures = write(fill_workspace(tmp_path / "w", rows, {"posts"}))
    assert set(Outline(page).ids) >= SECTIONS
    for stage in ("cohort", "labels", "faces", "classify", "finetune", "tune", "rank", "run-all"):
        assert f"<code>raylike {stage}</code>" in page
    assert figures["headline"] is None


def test_photos_of_a_real_network_are_hidden(finished: Workspace, tmp_path: Path) -> None:
    page, _ = write(finished, source={"name": "instagram_v1"})
    outline = Outline(page)
    assert "img" not in outline.tags
    assert "Photos and names are hidden" in page
    assert "Sunday" not in page
    assert "&lt;script" not in page
    write(finished)


def test_only_the_wanted_photos_become_thumbnails_and_broken_ones_do_not(finished: Workspace) -> None:
    found = galleries.thumbnails(finished, ["p00000", "p00001", "nowhere"], 32)
    assert set(found) == {"p00000", "p00001"}
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in found.values())
    assert galleries.make_thumbnail(b"\xff\xd8\xff not a photo", 32) is None


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
