"""`raylike import`: photos of your own, with their likes and followers, into a workspace."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import options as o

SHOWN = 20
"""Rows left out that are listed on a terminal; --json lists more."""


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSONL or Parquet: image, likes, followers.")
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that image paths are relative to.")
    ] = None,
    map_: Annotated[
        list[str],
        typer.Option("--map", metavar="NAME=COLUMN", help="What a column is called here; may be repeated."),
    ] = [],  # noqa: B006  # typer hands over a new list
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Bring your own photos, with their likes and followers.

    Then: raylike run-all --source files. Rows that cannot be used are listed with their line and left out.

    Example: raylike import photos.csv --images photos --map likes=like_count
    """
    from raylike.importing import import_table
    from raylike.workspace import Workspace

    report = import_table(Workspace(workspace), file, images, dict(pair(text) for text in map_))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    for problem in report.problems[:SHOWN]:
        typer.echo(f"{file}, {report.unit} {problem}", err=True)
    left_out = sum(report.rejected.values())
    if left_out > SHOWN:
        typer.echo(f"... and {left_out - SHOWN:,} more", err=True)
    for note in report.notes:
        typer.echo(note, err=True)
    counts = ", ".join(f"{reason} {count:,}" for reason, count in report.rejected.items())
    typer.echo(f"{report.posts:,} of {report.rows_in:,} photos imported, of {report.users:,} accounts")
    if left_out:
        typer.echo(f"{left_out:,} left out: {counts}")
    elsewhere = "" if workspace == o.DEFAULT_WORKSPACE else f" --workspace {workspace}"
    typer.echo(f"next: raylike run-all --source files{elsewhere}", err=True)


def pair(text: str) -> tuple[str, str]:
    """Read `NAME=COLUMN`."""
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise typer.BadParameter(f"{text!r} is not of the form name=column", param_hint="--map")
    return name, column
