"""A `raylike.toml` with every setting, its meaning and its default, all commented out.

Commented out, because a value that stands in the file is stronger than the preset: only what the user
means to change should be there. Knows the settings tree. Knows nothing of files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from raylike.config import Settings, describe, known_paths, sections, value_of

SECRET = frozenset({"source.tokens"})
"""Settings that never stand in a file."""

HEAD = """\
# Settings of raylike, with their defaults. Remove the "# " before a line to change it.
# Stronger than this file: RAYLIKE_SECTION__FIELD variables, and options of the command.
"""


def toml_text(settings: Settings) -> str:
    """The text of a settings file whose commented values are those of `settings`."""
    lines = [HEAD]
    section = ""
    for path in known_paths():
        if path in SECRET:
            continue
        parent, _, field = path.rpartition(".")
        if parent != section:
            section = parent
            meaning = (sections()[parent].__doc__ or "").strip().splitlines()[0]
            lines += [f"[{parent}]", f"# {meaning}", ""]
        lines += [f"# {describe(path)}", f"# {field} = {toml_value(value_of(settings, path))}", ""]
    return "\n".join(lines).rstrip() + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML writes it; nothing where there is no value, since TOML has none."""
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case Mapping():
            pairs = ", ".join(f"{json.dumps(name)} = {toml_value(item)}" for name, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case Path():
            return json.dumps(str(value))
    return json.dumps(value)
