"""Write what the documentation takes from the code: tables, settings, and the help in the README.

    uv run python docs/generate.py

A test fails while a page says something else than the code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from typer.testing import CliRunner

from cli.main import app
from raylike.config import PRESETS, RUNTIME_ONLY, Settings, describe, known_paths, sections, value_of
from raylike.pipeline import STAGES
from raylike.tables import TABLES, TableSpec

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by docs/generate.py from the code: change it there. -->\n"
HELP_BEGIN, HELP_END = "<!-- help: written by docs/generate.py -->\n```text\n", "```\n<!-- end of help -->"


def pages() -> dict[Path, str]:
    """Every generated page by its path, as it should be."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "tables.md": tables_page(),
        ROOT / "docs" / "settings.md": settings_page(),
        readme: with_help(readme.read_text(encoding="utf-8")),
    }


def tables_page() -> str:
    """All tables with their keys, columns and units."""
    writers = {stage.writes: stage.name for stage in STAGES}
    lines = [
        NOTE,
        "# Tables\n",
        "A workspace is a folder (or an `s3://` address) of [Delta Lake](https://delta.io) tables, plain",
        "Parquet files beneath: `TABLE` lies in `tables/TABLE`. From Python, `workspace.table(TABLE)` opens",
        "one in Arrow, pandas or Ray; `raylike export TABLE -o FILE` makes it Parquet, CSV or JSON Lines.\n",
    ]
    for table in TABLES.values():
        written = f" Sealed by the stage `{writers[table.name]}`." if table.name in writers else ""
        lines += [
            f"## {table.name}\n",
            f"One row: {table.row}. Key: {', '.join(f'`{name}`' for name in table.key)}.{written}\n",
            *grid(
                ("column", "type", "may be empty", "meaning"),
                [_column(table, field) for field in table.schema],
            ),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def settings_page() -> str:
    """All settings with defaults and meanings, and what the presets change."""
    lines = [
        NOTE,
        "# Settings\n",
        "Five layers, from weak to strong: defaults, preset, `raylike.toml`, environment, options of the",
        "command. `faces.size_px` is `size_px` under `[faces]` in the file, `RAYLIKE_FACES__SIZE_PX` in the",
        "environment, and `--set faces.size_px=400` on the command line. `raylike config show` prints the",
        "value of each and the layer it came from; `raylike config init` writes a file to start from. An",
        "unknown name is an error that names the nearest known one.\n",
        "A change to a setting makes the stages stale that depend on it, and those after them; settings",
        "marked *how* change how a stage runs, not what it writes, and make nothing stale.\n",
    ]
    models = {"": Settings, **sections()}
    for name, model in models.items():
        title = f"## {name}" if name else "## Top level"
        meaning = (model.__doc__ or "").strip().splitlines()[0] if name else ""
        lines += [f"{title}\n", *([f"{meaning}\n"] if meaning else [])]
        paths = [path for path in known_paths() if path.rpartition(".")[0] == name]
        lines += [*grid(("setting", "default", "", "meaning"), [_setting(path) for path in paths]), ""]
    lines += ["## Presets\n", "What a preset sets instead of the default:\n"]
    rows = [
        (preset, f"`{section}.{field}`", f"`{json.dumps(value)}`")
        for preset, layer in PRESETS.items()
        for section, fields in layer.items()
        for field, value in fields.items()
    ]
    return "\n".join([*lines, *grid(("preset", "setting", "value"), rows)]) + "\n"


def with_help(readme: str) -> str:
    """The README with the output of `raylike --help` between its marks."""
    before, _, rest = readme.partition(HELP_BEGIN)
    _, _, after = rest.partition(HELP_END)
    return f"{before}{HELP_BEGIN}{help_text()}{HELP_END}{after}"


def help_text() -> str:
    """What `raylike --help` prints in a terminal of 90 columns."""
    return (
        CliRunner()
        .invoke(app, ["--help"], prog_name="raylike", terminal_width=90, max_content_width=90)
        .stdout
    )


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *escaped)]


def _column(table: TableSpec, field: pa.Field) -> tuple[str, str, str, str]:
    meaning = (field.metadata or {}).get(b"meaning", b"").decode()
    return f"`{field.name}`", _type(field.type), "yes" if field.nullable else "", meaning


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"struct of {', '.join(f'{field.name} {field.type}' for field in kind)}"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} x {kind.value_type}"
    return f"list of {_type(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def _setting(path: str) -> tuple[str, str, str, str]:
    section, _, field = path.rpartition(".")
    info = (sections()[section] if section else Settings).model_fields[field]
    value = value_of(Settings(), path)
    default = "" if value is None else f"`{json.dumps(value, default=str)}`"
    how = "how" if info.json_schema_extra == RUNTIME_ONLY else ""
    return f"`{path}`", default, how, describe(path)


def main() -> None:
    """Write every page that is not yet as it should be."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
