"""The five layers that fill the settings: defaults < preset < raylike.toml < RAYLIKE_* < flags.

Knows where values come from, and refuses what is no setting. Knows nothing of what a setting means.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from raylike.config.base import Layer
from raylike.config.tree import PRESETS, Settings, known_paths, sections
from raylike.errors import ConfigError

ENV_PREFIX = "RAYLIKE_"
CONFIG_FILE = "raylike.toml"


RESERVED_VARIABLES = frozenset({"RAYLIKE_TOKENS", "RAYLIKE_CLIENT_SECRET"})
"""Variables that are no settings: secrets, read by the token store alone."""


class Environment(BaseSettings, Settings):
    """Reads `RAYLIKE_SECTION__FIELD`; only its source is used, never an instance."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )


class Resolved(BaseModel):
    """Settings, and for each field the layer that it came from."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    origins: dict[str, str]


def resolve(
    flags: Layer | None = None, *, config_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Resolved:
    """Build the settings from all layers and say where each value came from.

    Parameters
    ----------
    flags : values from the command line or from code, by section; the strongest layer
    config_file : a TOML file that must exist; without it `raylike.toml` of this folder, if it is there
    environ : environment variables; without it the process's own

    Raises
    ------
    ConfigError : for an unknown key (naming the nearest known one), a value out of range, a file that
        cannot be read
    """
    flags = flags or {}
    environment = os.environ if environ is None else environ
    toml_path, from_toml = _read_toml(config_file)
    from_environ = _read_environ(environment)
    chosen = [layer["preset"] for layer in (flags, from_environ, from_toml) if "preset" in layer]
    preset = str(chosen[0]) if chosen else "laptop"
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}", "preset", f"one of: {', '.join(PRESETS)}")
    layers = [
        (f"preset {preset}", PRESETS[preset]),
        (str(toml_path or CONFIG_FILE), from_toml),
        ("environment", from_environ),
        ("flag", flags),
    ]
    values: Layer = {}
    origins = {path: "default" for path in known_paths()}
    for name, layer in layers:
        _refuse_unknown(name, layer)
        for path, value in _leaves(layer):
            _put(values, path, value)
            origins[path] = name
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"][:2])
        given = first.get("input")
        raise ConfigError(
            f"{path} = {given!r} is not allowed: {first['msg'][:1].lower()}{first['msg'][1:]}",
            origins.get(path, ""),
            "`raylike config show` prints every setting with its meaning",
        ) from None
    return Resolved(settings=settings, origins=origins)


def parse_assignments(assignments: Sequence[str]) -> Layer:
    """Turn `section.field=value` texts into a layer. A value is read as TOML, else as plain text."""
    layer: Layer = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r} is not of the form section.field=value", "--set")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        _put(layer, path.strip(), parsed)
    return layer


def _read_toml(config_file: Path | None) -> tuple[Path | None, Layer]:
    path = config_file or Path(CONFIG_FILE)
    if config_file is None and not path.is_file():
        return None, {}
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid TOML: {error}", str(path)) from None


def _read_environ(environ: Mapping[str, str]) -> Layer:
    """What `RAYLIKE_SECTION__FIELD` variables say. A misspelt one is an error, not silence."""
    paths = set(known_paths())
    layer: Layer = {}
    for name in environ:
        if not name.startswith(ENV_PREFIX) or name in RESERVED_VARIABLES:
            continue
        path = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if path not in paths:
            raise ConfigError("is no setting", name, nearest(path, paths))
    source = EnvSettingsSource(Environment)
    source.env_vars = {k.lower(): v for k, v in environ.items() if k not in RESERVED_VARIABLES}
    layer = source()
    return layer


def _refuse_unknown(where: str, layer: Layer) -> None:
    paths = known_paths()
    for path, _ in _leaves(layer):
        if path not in paths:
            raise ConfigError(f"{path!r} is no setting", where, nearest(path, paths))


def nearest(word: str, known: Iterator[str] | Sequence[str] | set[str]) -> str:
    """A hint that names the known word most like `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "`raylike config show` lists them all"


def _leaves(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Any]]:
    grouped = sections()
    for name, value in layer.items():
        if not prefix and name in grouped and isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        else:
            yield f"{prefix}{name}", value


def _put(layer: Layer, path: str, value: Any) -> None:
    *parents, field = path.split(".")
    for parent in parents:
        layer = layer.setdefault(parent, {})
    layer[field] = value
