"""`raylike status`: what a workspace holds, and what a run would still have to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from cli import options as o

if TYPE_CHECKING:
    from datetime import datetime


def status(
    ctx: typer.Context,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    preset: o.PresetOption = None,
    source: o.SourceOption = None,
    seed: o.SeedOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Show tables and stages: rows, versions, what is up to date.

    A stage is stale when the settings that matter to it, or the tables that it reads, have changed.
    """
    from raylike import pipeline
    from raylike.workspace import Workspace

    settings = o.resolved(ctx.params).settings
    place = Workspace(workspace)
    tables: list[dict[str, Any]] = []
    for name in place.names():
        commit = place.last_commit(name)
        if commit is not None:
            tables.append(
                {
                    "table": name,
                    "rows": place.rows(name),
                    "version": commit.version,
                    "committed_at": commit.committed_at,
                }
            )
    stages: list[dict[str, Any]] = [
        {"stage": s.stage, "state": s.state, "seconds": s.seconds, "finished_at": s.finished_at}
        for s in pipeline.status(place, settings)
    ]
    if as_json:
        found = {"workspace": place.uri, "tables": tables, "stages": stages}
        typer.echo(json.dumps(found, default=lambda moment: moment.isoformat()))
        return
    typer.echo(place.uri)
    typer.echo(f"\n{'table':<18} {'rows':>10} {'version':>8}  when (UTC)")
    for row in tables:
        when = _moment(row["committed_at"])
        typer.echo(f"{row['table']:<18} {row['rows']:>10,} {row['version']:>8}  {when}")
    typer.echo(f"\n{'stage':<18} {'state':<12} {'seconds':>8}  when (UTC)")
    for row in stages:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        when = _moment(row["finished_at"])
        typer.echo(f"{row['stage']:<18} {row['state']:<12} {seconds:>8}  {when}".rstrip())


def _moment(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S}"
