"""Which rows of a features table count: a table keeps what other recipes gave, for when they come back.

A recipe is everything that features depend on but the photo itself. The table's last commit names the one
in force, and says whether mirrored photos are wanted. Knows the workspace. Knows nothing of networks.
"""

from __future__ import annotations

import pyarrow.compute as pc

from raylike.workspace import Workspace

RECIPE, WEIGHTS, MIRRORED = "recipe", "weights", "mirrored"
"""Of the state of a features table's commits."""


def recipe_in_force(workspace: Workspace, table: str) -> str | None:
    """The recipe whose rows of `table` count; None if all do."""
    last = workspace.last_commit(table)
    recipe: str | None = None if last is None else last.state.get(RECIPE)
    return recipe


def in_force(workspace: Workspace, table: str) -> pc.Expression:
    """The condition on the rows of `table` that count: of the recipe in force, and mirrored ones if wanted.

    It is one on the columns `recipe` and `flipped`.
    """
    last = workspace.last_commit(table)
    state = {} if last is None else last.state
    counts = pc.field("recipe") == state[RECIPE] if RECIPE in state else pc.scalar(True)
    return counts if state.get(MIRRORED, True) else counts & ~pc.field("flipped")
