"""The Grafana dashboard and docs/monitoring.md show the metrics that the code defines, all and no others."""

from __future__ import annotations

import ast
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from actors.metrics import METRICS

ROOT = Path(__file__).parents[2]
GENERATE: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "grafana" / "generate.py"))
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/raylike.json").read_text(encoding="utf-8"))
EXPORTED = {f"ray_{metric.name}" for metric in METRICS}


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


@pytest.mark.parametrize("path", ["deploy/grafana/raylike.json", "docs/monitoring.md"])
def test_what_is_generated_is_up_to_date(path: str) -> None:
    """If not: uv run python deploy/grafana/generate.py"""
    assert (ROOT / path).read_text(encoding="utf-8") == GENERATE["pages"]()[ROOT / path]


def test_every_metric_is_shown_and_every_one_shown_exists() -> None:
    shown = {name for text in queries() for name in re.findall(r"\bray_raylike_\w+", text)}
    assert shown == EXPORTED


def test_every_metric_is_in_the_list() -> None:
    page = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(ray_raylike_\w+)`", page)) == EXPORTED


def test_counters_are_shown_as_rates_and_labels_are_those_of_the_metric() -> None:
    for text, metric in zip(queries(), sorted(METRICS, key=lambda m: m.of), strict=True):
        assert f"ray_{metric.name}{{" in text
        assert ("rate(" in text) == metric.counts
        assert f"by ({', '.join(metric.tags)})" in text


def test_no_metric_is_made_anywhere_but_from_its_definition() -> None:
    """A name written a second time could differ, and would be missing in the dashboard."""
    for folder in ("actors", "raylike", "cli"):
        for file in (ROOT / folder).rglob("*.py"):
            if file == ROOT / "actors" / "metrics.py":
                continue
            tree = ast.parse(file.read_text(encoding="utf-8"))
            imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            assert "ray.util.metrics" not in imported, file


def test_names_are_unique_and_labels_never_hold_a_secret() -> None:
    assert len(EXPORTED) == len(METRICS)
    assert all(re.fullmatch(r"raylike_[a-z_]+", metric.name) for metric in METRICS)
    assert {tag for metric in METRICS for tag in metric.tags} == {"stage", "cause", "alias"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_has_the_variables_of_rays_own() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "SessionName"]
