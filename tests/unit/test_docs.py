"""The documentation says what the code does; `uv run python docs/generate.py` brings it up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from raylike import errors
from raylike.errors import RaylikeError

ROOT = Path(__file__).parents[2]
GENERATE: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generate.py"))
MARKDOWN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", ["docs/tables.md", "docs/settings.md", "README.md"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    """Word for word; line breaks of the help are the terminal's own."""
    path = ROOT / page
    assert path.read_text(encoding="utf-8").split() == GENERATE["pages"]()[path].split()


def test_the_readme_names_every_exit_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaylikeError)
    ]
    for code in {0, 130, *(kind.exit_code for kind in kinds)}:
        assert f"| {code} |" in readme


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
