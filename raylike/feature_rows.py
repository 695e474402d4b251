"""Which rows of a features table count: a table keeps what other recipes gave, for when they come back.

A recipe is everything that features depend on but the photo itself. The table's last commit names the one
in force. Knows the workspace. Knows nothing of networks.
"""

from __future__ import annotations

import pyarrow.compute as pc

from raylike.workspace import Workspace

RECIPE, WEIGHTS = "recipe", "weights"
"""Of the state of a features table's commits."""


def in_force(workspace: Workspace, table: str) -> pc.Expression:
    """The condition on the rows of `table` that were computed by the recipe in force."""
    last = workspace.last_commit(table)
    recipe = None if last is None else last.state.get(RECIPE)
    return pc.scalar(True) if recipe is None else pc.field("recipe") == recipe
