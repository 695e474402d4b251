"""`raylike config show` and `raylike config init`: what the settings are, and a file to change them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import options as o
from cli.errors import Command

if TYPE_CHECKING:
    from raylike.config import Resolved

app = typer.Typer(help="Show the settings, or write a file to change them in.", no_args_is_help=True)


@app.command(cls=Command)
def show(
    ctx: typer.Context,
    preset: o.PresetOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Print every setting: its value, which layer it came from, what it means.

    Layers from weak to strong: default, preset, raylike.toml, environment, flag.
    """
    rows = setting_rows(o.resolved(ctx.params))
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    width = max(len(row["setting"]) for row in rows)
    for row in rows:
        value = json.dumps(row["value"], default=str)
        typer.echo(f"{row['setting']:<{width}} = {value}  [{row['origin']}] {row['meaning']}")


@app.command(cls=Command)
def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="File to write.")] = Path("raylike.toml"),
    debug: o.DebugOption = False,
) -> None:
    """Write a settings file with everything in it, commented out. Never overwrites one."""
    from cli.toml_text import toml_text
    from raylike.config import Settings
    from raylike.errors import CannotWrite

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(toml_text(Settings()))
    except FileExistsError:
        raise CannotWrite("is already there", str(path), "name another file, or remove it") from None
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", str(path)) from None
    typer.echo(path)


def setting_rows(resolved: Resolved) -> list[dict[str, Any]]:
    """One row a setting, ready for JSON; of tokens, only how many there are."""
    from raylike.config import describe, known_paths, value_of

    shown = json.loads(resolved.settings.model_dump_json(exclude={"source": {"tokens"}}))
    rows: list[dict[str, Any]] = []
    for path in known_paths():
        value: Any = shown
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else value
        if path == "source.tokens":
            value = f"{len(value_of(resolved.settings, path))} tokens"
        meaning = describe(path)
        rows.append({"setting": path, "value": value, "origin": resolved.origins[path], "meaning": meaning})
    return rows
