"""`raylike doctor`: what would let a run end badly, before it begins."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cli import options as o
from cli.launch import ELSEWHERE
from cli.native_output import native_stderr_in

if TYPE_CHECKING:
    from raylike.doctor import Finding

MARKS = {"ok": "ok", "warning": "warn", "bad": "BAD"}


def doctor(
    ctx: typer.Context,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    preset: o.PresetOption = None,
    source: o.SourceOption = None,
    base_url: o.BaseUrlOption = None,
    token_store: o.TokenStoreOption = None,
    device: o.DeviceOption = None,
    address: o.AddressOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Check this machine, or with --address every machine of a cluster, for what a run needs.

    Versions, clocks, disks, limits, GPUs, weights, tokens, the workspace, the network, who can reach Ray.
    Ends with the code that the run would end with, or 0.
    """
    from raylike.doctor import examine
    from raylike.workspace import Workspace

    settings = o.resolved(ctx.params).settings
    with native_stderr_in(ELSEWHERE):
        findings = examine(Workspace(workspace), settings)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(_line(finding))
    raise typer.Exit(next((finding.exit_code for finding in findings if finding.exit_code), 0))


def _line(finding: Finding) -> str:
    about = f"{finding.about} on {finding.machine}" if finding.machine else finding.about
    line = f"{MARKS[finding.verdict]:<5} {about}: {finding.says}"
    return f"{line}\n      hint: {finding.hint}" if finding.hint else line
