"""Options that several commands share, and how they become settings.

Knows option names and the settings they stand for. Knows nothing of what the settings do.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from raylike.stage_names import STAGE_NAMES

if TYPE_CHECKING:
    from raylike.config import Layer, Resolved

DEFAULT_WORKSPACE = "raylike-workspace"

SETTING_OF_OPTION = {
    "preset": "preset",
    "seed": "seed",
    "device": "device",
    "source": "source.name",
    "tag": "source.tag",
    "base_url": "source.base_url",
    "token_store": "source.token_store",
    "allow_private_addresses": "source.allow_private_addresses",
    "wait": "collect.wait",
    "detector": "faces.detector",
    "model": "faces.model_path",
    "truth": "faces.truth",
    "backbone": "features.backbone",
    "layers": "features.layers",
    "weights_file": "features.weights_file",
    "from_tune": "finetune.from_tune",
    "name": "finetune.name",
    "address": "ray.address",
    "dashboard": "ray.dashboard",
    "show_photos": "report.show_photos",
}
"""Parameter of a command -> the setting that it sets when it is given."""


def stage_name(given: str | None) -> str | None:
    """Check the name of a stage; a misspelt one is a usage error that names the nearest."""
    if given is not None and given not in STAGE_NAMES:
        close = difflib.get_close_matches(given, STAGE_NAMES, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]!r}?" if close else f"One of: {', '.join(STAGE_NAMES)}."
        raise typer.BadParameter(f"{given!r} is not a stage. {hint}")
    return given


def stage_list(given: list[str]) -> list[str]:
    """Check the names of several stages."""
    for name in given:
        stage_name(name)
    return given


WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Folder or s3:// address of tables, models and report.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for programs.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show log lines, Ray's included.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file instead of raylike.toml.")
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Any other setting; may be repeated."),
]
PresetOption = Annotated[
    Literal["laptop", "study"] | None,
    typer.Option(help="A set of defaults: small and quick, or the study's own. [default: laptop]"),
]
SourceOption = Annotated[
    Literal["simulator", "files", "instagram_v1", "instagram_graph", "mastodon", "pixelfed", "bluesky"]
    | None,
    typer.Option(help="Where posts come from. [default: simulator]"),
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Fixes simulator, splits and models. [default: 0]")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="STAGE", callback=stage_name, help="First stage to run.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="STAGE", callback=stage_name, help="Last stage to run.")
]
RefreshOption = Annotated[
    bool,
    typer.Option("--refresh", help="Read the likes of known posts again instead; earlier ones are kept."),
]
RetryOption = Annotated[
    str | None,
    typer.Option(
        "--retry-failed",
        metavar="[CAUSE]",
        help="Try again the photos that failed, or those that failed by CAUSE.",
    ),
]
DetectorOption = Annotated[
    str | None, typer.Option(help="Which looks for faces: haar, yunet, person. [default: haar]")
]
ModelOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The detector's model, instead of the published one.")
]
ScoringModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="linear or finetune. [default: the run's best that is kept]"
    ),
]
CurveOption = Annotated[
    bool, typer.Option("--curve", help="Print what each cut would keep instead; nothing is looked at.")
]
TruthOption = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="With --curve: photos labelled by eye, for precision and recall."),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The network: one of torchvision's, or timm:NAME. [default: alexnet]"),
]
LayersOption = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Its layers; of alexnet fc6,fc7, of others the last but one."),
]
WeightsFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its weights, .safetensors or torch's format.")
]
FromTuneOption = Annotated[
    bool | None,
    typer.Option("--from-tune", help="With the settings of the best trial of `raylike tune`."),
]
NameOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the model: it goes to models/NAME. [default: finetune]")
]
ForceOption = Annotated[
    list[str],
    typer.Option(
        "--force", metavar="STAGE", callback=stage_list, help="Run it even if up to date; may be repeated."
    ),
]
TagOption = Annotated[str | None, typer.Option(help="Hashtag to collect, without #. [default: me]")]
AccountsOption = Annotated[
    Path | None,
    typer.Option(
        "--accounts", metavar="FILE", help="Names of accounts to read, one a line (Instagram Graph)."
    ),
]
BaseUrlOption = Annotated[str | None, typer.Option(metavar="URL", help="Address of the network's API.")]
TokenStoreOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File of tokens, mode 0600; `raylike tokens` keeps one.")
]
PrivateAddressesOption = Annotated[
    bool | None,
    typer.Option(
        "--allow-private-addresses", help="Accept loopback and private addresses for API and photos."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(help="Where models run; auto takes a GPU if there is one. [default: auto]"),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="A Ray cluster's address; local starts Ray for this run. [default: local]"),
]
DashboardOption = Annotated[
    bool | None,
    typer.Option("--dashboard/--no-dashboard", help="Ray's dashboard, on loopback. [default: on]"),
]
ShowPhotosOption = Annotated[
    bool | None,
    typer.Option(
        "--show-photos/--anonymise",
        help="In the report: faces and names, or a mosaic and none. [default: by whose photos they are]",
    ),
]
WaitOption = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait", help="When every token is used up: wait, or stop with code 75. [default: wait]"
    ),
]


def flag_layer(params: Mapping[str, Any]) -> Layer:
    """The settings that a command's options name; what was not given is left to weaker layers.

    Raises `ConfigError` for a `--set` that is not of the form section.field=value.
    """
    from raylike.config import parse_assignments

    layer = parse_assignments(params.get("assignments", ()))
    if params.get("accounts") is not None:
        layer.setdefault("source", {})["accounts"] = account_names(params["accounts"])
    for option, path in SETTING_OF_OPTION.items():
        value = params.get(option)
        if value is not None:
            section, _, field = path.rpartition(".")
            (layer.setdefault(section, {}) if section else layer)[field] = value
    return layer


def account_names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line, each once, without @; blank lines and # lines are passed over."""
    from raylike.errors import ConfigError, InputDataError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot be read as text", str(path), str(error)) from None
    names = (line.strip().lstrip("@") for line in lines)
    found = tuple(dict.fromkeys(name for name in names if name and not name.startswith("#")))
    if not found:
        raise InputDataError("names no account", str(path), "write one name a line")
    return found


def resolved(params: Mapping[str, Any]) -> Resolved:
    """The settings from all layers, the command's options being the strongest."""
    from raylike.config import resolve

    return resolve(flag_layer(params), config_file=params.get("config"))
