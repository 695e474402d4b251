"""`raylike version`: of raylike and of what decides its figures."""

from __future__ import annotations

import json

import typer

from cli import options as o


def version(as_json: o.JsonOption = False, debug: o.DebugOption = False) -> None:
    """Print the versions of raylike and of what it stands on."""
    from raylike.pipeline import versions

    found = versions()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, number in found.items():
        typer.echo(f"{name} {number}")
