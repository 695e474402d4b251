"""The one figure of a run: how well the best model ranks test photos, between chance and the oracle.

Knows the results tables. Knows nothing of how models were fitted.
"""

from __future__ import annotations

from typing import Any

from raylike.workspace import Workspace

REFERENCES = frozenset({"truth", "metadata"})
"""Features that are not learned from photos: they bound or question a result, and are not one."""

Row = dict[str, Any]
Key = tuple[str, str]
"""A model and its features."""


def headline(workspace: Workspace) -> str | None:
    """One line on the best model's average precision on the test photos; None before there is one.

    The best is the best in cross-validation: to pick among test scores would flatter the pick.
    """
    validated, tested = _read(workspace)
    key = _best(validated, tested)
    if key is None:
        return None
    best = tested[key]
    text = (
        f"best on {best['n']:,} test photos: {best['model']} on {best['features']}, average precision "
        f"{best['ap']:.3f} (95 % {best['ap_low']:.3f} to {best['ap_high']:.3f}); "
        f"chance {best['positive_rate']:.3f}"
    )
    oracle = next((row["ap"] for row in tested.values() if row["features"] == "truth"), None)
    return text if oracle is None else f"{text}, oracle {oracle:.3f}"


def best_model(workspace: Workspace) -> Key | None:
    """The model that the headline is about; None before there is one."""
    return _best(*_read(workspace))


def _read(workspace: Workspace) -> tuple[dict[Key, Row], dict[Key, Row]]:
    """The rows of both results tables: in cross-validation, and on the test photos."""
    validated: dict[Key, Row] = {}
    tested: dict[Key, Row] = {}
    for table in ("results", "finetune_results"):
        for row in workspace.read(table).to_pylist():
            scores = tested if row["evaluation"] == "test" else validated
            scores[row["model"], row["features"]] = row
    return validated, tested


def _best(validated: dict[Key, Row], tested: dict[Key, Row]) -> Key | None:
    judged = [key for key in validated.keys() & tested.keys() if key[1] not in REFERENCES]
    return max(sorted(judged), key=lambda key: validated[key]["ap"]) if judged else None
