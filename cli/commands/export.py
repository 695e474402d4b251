"""`raylike export`: a table as one file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import options as o


def export(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Its name; `raylike status` lists them.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="File; - for stdout.")],
    format_: Annotated[
        Literal["parquet", "csv", "jsonl"] | None,
        typer.Option("--format", help="Format of the file. [default: by its name]"),
    ] = None,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    debug: o.DebugOption = False,
) -> None:
    """Write a table to a Parquet, CSV or JSON Lines file.

    Bytes become base64 in CSV and JSON Lines; lists become JSON in CSV.

    Example: raylike export scores -o scores.csv
    """
    from raylike.exporting import export_table
    from raylike.workspace import Workspace

    rows = export_table(Workspace(workspace), table, None if output == "-" else Path(output), format_)
    if output != "-":
        typer.echo(f"{rows:,} rows of {table}", err=True)
        typer.echo(output)
