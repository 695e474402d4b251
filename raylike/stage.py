"""What a stage receives and what it gives back.

Knows the workspace, the settings and progress. Knows nothing of the order of stages
(`pipeline.py`) or of what any of them does (`stages/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raylike.commits import Commit
from raylike.config import Settings
from raylike.progress import Progress
from raylike.workspace import Workspace


@dataclass(frozen=True)
class StageContext:
    """Everything that a stage works with.

    Attributes
    ----------
    commit : provenance for the stage's commits; `commit.partial()` for a batch, `commit` itself last
    resume : True if the rows already in the stage's table were written with the same settings, so that
        only what is missing is to be done; False if the first batch must replace them
    forced : the stage was told to start afresh: nothing that was computed before is used again
    retry : rows that failed by this cause are to be done again, too; `all` for any cause, None for none
    """

    workspace: Workspace
    settings: Settings
    progress: Progress
    commit: Commit
    resume: bool = False
    retry: str | None = None
    forced: bool = False


@dataclass(frozen=True)
class StageReport:
    """What became of the items of a stage; counts describe the stage's table as it now stands.

    Attributes
    ----------
    rows_in, rows_out : items considered, and rows written for them
    skipped : reason -> items left out on purpose
    failed : reason -> items that could not be done
    notes : lines for the user, such as choices made for them and the figures that matter
    """

    rows_in: int
    rows_out: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
