"""Causes of failure: all named, all explained, and readable as a table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from raylike.causes import ALL, CAUSES, OK, check_cause, failure_table
from raylike.errors import ConfigError

ROOT = Path(__file__).parents[2] / "raylike"
RAISED = {"Rejected", "PassingFault", "HostSilent", "_silent", "Findings", "_row"}
FILES = ["fetching.py", "robots.py", "stages/download.py", "vision/inspection.py"]


def statuses_in_code() -> set[str]:
    """Every status that the code names when it refuses or gives up a photo."""
    found = set()
    for name in FILES:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                found |= {a.value for a in node.args[:2] if isinstance(a, ast.Constant) and a.value}
    return {word for word in found if isinstance(word, str) and " " not in word} - {OK}


def test_every_status_has_its_words_and_every_word_its_status() -> None:
    assert statuses_in_code() == set(CAUSES)


def test_the_page_about_photos_lists_every_cause() -> None:
    page = (ROOT.parent / "docs" / "photos.md").read_text(encoding="utf-8")
    assert [cause for cause in CAUSES if f"| `{cause}` |" not in page] == []


def test_the_table_counts_and_explains_the_most_frequent_first() -> None:
    lines = failure_table({"timeout": 3, "gone": 1200})
    assert lines == (
        "not there, by cause (1,203):",
        "  gone     1,200  the server has it no longer, or the file is not there",
        "  timeout      3  not complete in time, or no connection in time",
        "  to try them again: raylike download --retry-failed [CAUSE]",
    )
    assert failure_table({}) == ()


@pytest.mark.parametrize("cause", [ALL, *CAUSES])
def test_known_causes_pass(cause: str) -> None:
    check_cause(cause)


@pytest.mark.parametrize("cause", ["", "ok", "GONE"])
def test_others_are_refused_with_the_known(cause: str) -> None:
    with pytest.raises(ConfigError, match="one of: all, gone, disallowed"):
        check_cause(cause)
