"""`raylike plan`: what a run would do, and whether there are machines for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli import options as o
from cli.launch import ELSEWHERE
from cli.native_output import native_stderr_in

if TYPE_CHECKING:
    from raylike.planning import Plan, StagePlan


def plan(
    ctx: typer.Context,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    preset: o.PresetOption = None,
    source: o.SourceOption = None,
    seed: o.SeedOption = None,
    base_url: o.BaseUrlOption = None,
    token_store: o.TokenStoreOption = None,
    device: o.DeviceOption = None,
    address: o.AddressOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Show what a run would do and ask of the machines, without doing it.

    Which stages are to be done, how many processes each has Ray start and with what, and how many hits the
    look-ups take. Ends as the run would if there is a stage that no machine has room for.
    """
    from raylike.planning import plan as look_ahead
    from raylike.workspace import Workspace

    settings = o.resolved(ctx.params).settings
    with native_stderr_in(ELSEWHERE):
        found = look_ahead(Workspace(workspace), settings)
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        typer.echo(found.machines)
        for node in found.machines.nodes if found.machines.address else ():
            memory = f", {node.memory_mib / 1024:.0f} GiB" if node.memory_mib else ""
            typer.echo(f"  {node.name}: {node}{memory}")
        typer.echo(f"\n{'stage':<12} {'state':<12} asks of Ray")
        for stage in found.stages:
            typer.echo(f"{stage.stage:<12} {stage.state:<12} {_asked(stage)}".rstrip())
        if found.hits:
            typer.echo(f"\nlook-ups: {found.hits}")
    if found.error:
        raise found.error


def _asked(stage: StagePlan) -> str:
    """What a stage asks for, with the memory that it was measured to take."""
    parts = []
    for ask in stage.asks:
        each = " each" if ask.count > 1 else ""
        parts.append(f"{ask}, about {ask.memory_mib:,} MiB{each}" if ask.memory_mib else str(ask))
    return "; ".join(parts) + (" -- no room for that" if stage.refusal else "")


def _as_json(found: Plan) -> dict[str, object]:
    return {
        "machines": asdict(found.machines),
        "stages": [
            {
                "stage": stage.stage,
                "state": stage.state,
                "asks": [asdict(ask) for ask in stage.asks],
                "refusal": stage.refusal and str(stage.refusal),
            }
            for stage in found.stages
        ],
        "hits": found.hits and found.hits.hits,
        "look_up_seconds": found.hits and found.hits.seconds,
    }
