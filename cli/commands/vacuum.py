"""`raylike vacuum`: delete the files that no current table refers to."""

from __future__ import annotations

import typer

from cli import options as o


def vacuum(workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE, debug: o.DebugOption = False) -> None:
    """Delete files that no current table refers to.

    Killed runs and earlier versions of tables leave them behind.
    Tables keep their current rows; going back to an earlier version is no longer possible.
    """
    from raylike.errors import InputDataError
    from raylike.workspace import Workspace

    place = Workspace(workspace)
    if not any(place.exists(name) for name in place.names()):
        raise InputDataError("there is no workspace here", place.uri, "name another --workspace")
    typer.echo(f"{len(place.vacuum()):,} files deleted")
