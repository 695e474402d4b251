"""Write the Grafana dashboard, and the list of metrics in docs/monitoring.md, from `actors.metrics.METRICS`.

    uv run python deploy/grafana/generate.py

A test fails while either says something else than the code. The dashboard has the same variables as Ray's
own, so that Grafana can be pointed at a folder that holds them all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from actors.metrics import METRICS, Metric

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "raylike.json"
PAGE = ROOT / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: written by deploy/grafana/generate.py -->\n", "<!-- end of metrics -->"

GRAFANA_UNITS = {"s": "s", "items/s": "short", "items": "short", "hits": "short", "": "none"}
RATE_WINDOW = "1m"
"""Ray's Prometheus reads every 10 s; a rate needs several readings."""
COLUMNS, WIDTH, HEIGHT = 2, 12, 8
ROWS = {"stages": "Stages", "tokens": "Tokens, by alias", "training": "Training"}


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports and provisions it."""
    return {
        "uid": "raylike",
        "title": "raylike",
        "description": "What raylike's stages have done, what is left, and what its tokens may still ask",
        "tags": ["raylike"],
        "editable": True,
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_datasource(), _session()]},
        "panels": panels(),
    }


def panels() -> list[dict[str, Any]]:
    """A row of panels for stages and one for tokens, each metric in a panel of its own."""
    made: list[dict[str, Any]] = []
    y = 0
    for kind, title in ROWS.items():
        made.append(_row(len(made) + 1, title, y))
        y += 1
        shown = [metric for metric in METRICS if metric.of == kind]
        for place, metric in enumerate(shown):
            x = place % COLUMNS * WIDTH
            made.append(_panel(len(made) + 1, metric, x, y + place // COLUMNS * HEIGHT))
        y += -(-len(shown) // COLUMNS) * HEIGHT
    return made


def query(metric: Metric) -> str:
    """What Prometheus is asked: counters as rates, processes of a stage together."""
    series = f'ray_{metric.name}{{SessionName=~"$SessionName"}}'
    if metric.counts:
        series = f"rate({series}[{RATE_WINDOW}])"
    return f"{metric.across} by ({', '.join(metric.tags)}) ({series})"


def metrics_list() -> str:
    """All metrics as a Markdown table."""
    rows = [
        f"| `ray_{metric.name}` | {'counter' if metric.counts else 'gauge'} | {', '.join(metric.tags)} "
        f"| {metric.unit} | {metric.meaning} |"
        for metric in METRICS
    ]
    return "\n".join(
        ["| metric | kind | labels | unit | meaning |", "| --- | --- | --- | --- | --- |", *rows]
    )


def pages() -> dict[Path, str]:
    """Every generated file by its path, as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        DASHBOARD: json.dumps(dashboard(), indent=2) + "\n",
        PAGE: f"{before}{BEGIN}\n{metrics_list()}\n\n{END}{after}",
    }


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": COLUMNS * WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, metric: Metric, x: int, y: int) -> dict[str, Any]:
    words = metric.name.removeprefix("raylike_").removesuffix("_total").replace("_", " ")
    unit = GRAFANA_UNITS[metric.unit]
    return {
        "id": number,
        "type": "timeseries",
        "title": f"{words.capitalize()}, a second" if metric.counts else words.capitalize(),
        "description": metric.meaning,
        "datasource": "${datasource}",
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": "none" if metric.counts else unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": "A",
                "expr": query(metric),
                "legendFormat": " ".join(f"{{{{{tag}}}}}" for tag in metric.tags),
            }
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "hide": 2}


def _session() -> dict[str, Any]:
    """Ray's session: one a run on a laptop, one a cluster."""
    return {
        "name": "SessionName",
        "type": "query",
        "datasource": "${datasource}",
        "query": f"label_values(ray_{METRICS[0].name}, SessionName)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def main() -> None:
    """Write every file that is not yet as it should be."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
