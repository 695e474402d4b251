"""One settings tree, filled from five layers: defaults < preset < raylike.toml < RAYLIKE_* < flags.

`resolve` builds it once, in the command line or in a notebook; everything else receives the frozen
result. Knows names, ranges and reasons of settings. Knows nothing of the stages that use them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from raylike.errors import ConfigError

ENV_PREFIX = "RAYLIKE_"
CONFIG_FILE = "raylike.toml"

Layer = dict[str, Any]
"""Settings by section and field, as far as one source names them."""

PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]

RUNTIME_ONLY: JsonDict = {"fingerprint": False}
"""Marks a field that changes how a stage runs but not what it writes."""

SourceName = Literal[
    "simulator", "files", "instagram_v1", "instagram_graph", "mastodon", "pixelfed", "bluesky"
]

DETECTORS = ("haar", "yunet", "person")
"""Face detectors that come with raylike."""
DETECTOR_GROUP = "raylike.face_detectors"
"""Entry points by which other packages bring more."""

RESERVED_VARIABLES = frozenset({"RAYLIKE_TOKENS", "RAYLIKE_CLIENT_SECRET"})
"""Variables that are no settings: secrets, read by the token store alone."""


class Section(BaseModel):
    """A group of settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class SourceSettings(Section):
    """Where posts come from."""

    name: SourceName = Field("simulator", description="the offline simulator, imported files, or a network")
    base_url: str = Field("", description="address of the network's API; empty: the source's own")
    tag: str = Field("me", min_length=1, description="hashtag to collect, without #")
    accounts: tuple[str, ...] = Field(
        (), description="names of accounts to read, for networks that are read account by account"
    )
    token_store: Path | None = Field(
        None,
        description="file of tokens, mode 0600; empty: RAYLIKE_TOKENS, else ~/.config/raylike/tokens",
        json_schema_extra=RUNTIME_ONLY,
    )
    tokens: tuple[SecretStr, ...] = Field(
        (), description="tokens handed over in memory; never in a file", json_schema_extra=RUNTIME_ONLY
    )
    allow_private_addresses: bool = Field(
        False, description="accept loopback and private addresses for API and photos"
    )
    resolve: dict[str, str] = Field(
        default_factory=dict,
        description="host name -> IP:PORT, as curl's --resolve; such a host may be private",
        json_schema_extra=RUNTIME_ONLY,
    )


class SimulatorSettings(Section):
    """The offline network. What it holds follows from `seed` and `users` alone."""

    users: PositiveInt = Field(2000, description="accounts; about two posts each")
    tokens: PositiveInt = Field(3, description="OAuth tokens it hands out", json_schema_extra=RUNTIME_ONLY)
    rate_limit: str | None = Field(
        None,
        pattern=r"^\d+/\d+(\.\d+)?$",
        description="hits/window in s, for each token; empty: the network's own",
        json_schema_extra=RUNTIME_ONLY,
    )
    latency_s: Seconds = Field(0.0, description="added to every answer", json_schema_extra=RUNTIME_ONLY)
    faults: dict[str, float] = Field(
        default_factory=dict,
        description="fault -> share of answers, e.g. {error_500 = 0.02, reset = 0.01}",
        json_schema_extra=RUNTIME_ONLY,
    )


class CollectSettings(Section):
    """Which posts are taken, and how hits are spent."""

    min_age_days: float = Field(30.0, ge=0, description="likes of younger posts still grow")
    as_of: datetime | None = Field(None, description="the moment ages are counted from; empty: now")
    max_posts: PositiveInt | None = Field(None, description="stop after this many posts; empty: all")
    page_size: PositiveInt | None = Field(
        None,
        description="posts asked for in one hit; empty: as many as the network gives",
        json_schema_extra=RUNTIME_ONLY,
    )
    also_honour: tuple[Literal["not_discoverable", "locked"], ...] = Field(
        (), description="objections to being collected that are not taken for one by default"
    )
    look_up: bool = Field(
        False, description="ask for followers although posts came with them: they were right at that time"
    )
    tokens_per_actor: PositiveInt = Field(
        1, description="tokens that share one process", json_schema_extra=RUNTIME_ONLY
    )
    in_flight: PositiveInt = Field(
        16, description="requests under way for one token", json_schema_extra=RUNTIME_ONLY
    )
    wait: bool = Field(
        True,
        description="wait when every token is used up; no: stop with code 75",
        json_schema_extra=RUNTIME_ONLY,
    )
    timeout_s: Seconds = Field(30.0, description="for one API request", json_schema_extra=RUNTIME_ONLY)
    rate_limit: str | None = Field(
        None,
        pattern=r"^[1-9]\d*/\d+(\.\d+)?$",
        description="hits/window in s, for each token; empty: the network's own",
        json_schema_extra=RUNTIME_ONLY,
    )


class CohortSettings(Section):
    """The filter on followers, by median absolute deviation (MAD)."""

    scale: Literal["raw", "log"] = Field("log", description="filter followers, or their logarithm")
    factor: float = Field(1.0, gt=0, description="kept: within factor x 1.4826 x MAD of the median")


class DownloadSettings(Section):
    """How photos are fetched, and what is refused."""

    actors: PositiveInt | None = Field(
        None,
        description="downloader processes; empty: one a CPU, fewer for few photos",
        json_schema_extra=RUNTIME_ONLY,
    )
    in_flight: PositiveInt = Field(
        32, description="requests under way per actor", json_schema_extra=RUNTIME_ONLY
    )
    per_host: PositiveInt = Field(32, description="of which to one host", json_schema_extra=RUNTIME_ONLY)
    attempts: PositiveInt = Field(4, description="tries for a transient failure")
    timeout_s: Seconds = Field(30.0, description="for one photo, all of it")
    max_bytes: PositiveInt = Field(20_000_000, description="larger answers are cut off and refused")
    max_pixels: PositiveInt = Field(50_000_000, description="larger photos are refused undecoded")
    min_side_px: PositiveInt = Field(64, description="smaller photos are refused")
    max_redirects: int = Field(3, ge=0, description="each address on the way is checked")
    honour_robots: bool = Field(
        True, description="leave alone what robots.txt or X-Robots-Tag forbids to robots"
    )
    commit_every: PositiveInt = Field(
        500, description="photos per commit: what a killed run repeats", json_schema_extra=RUNTIME_ONLY
    )


class FacesSettings(Section):
    """The face filter. The cut is applied to stored detections, so moving it detects nothing again."""

    detector: str = Field("haar", description="which looks for faces: haar, yunet, person, or a package's")
    model_path: Path | None = Field(
        None, description="the detector's model file; empty: the published one, fetched once"
    )
    size_px: PositiveInt | None = Field(
        None, description="longest side of the picture the detector sees; empty: the detector's own"
    )
    scale_factor: float = Field(1.2, gt=1, description="haar: step of the image pyramid")
    min_face_px: PositiveInt = Field(56, description="haar: smallest face looked for, in px of size_px")
    profile: bool = Field(False, description="haar: also look for faces from the side")
    second_look: bool = Field(True, description="yunet: look again, larger and mirrored, where in doubt")
    min_confidence: float | None = Field(
        None,
        description="the cut: faces below do not count; empty: the detector's own",
        json_schema_extra={"fingerprint": "labels"},
    )
    min_area_fraction: Share = Field(
        0.0, description="the cut: smaller faces do not count", json_schema_extra={"fingerprint": "labels"}
    )
    min_faces: PositiveInt = Field(
        1, description="photos with fewer faces are left out", json_schema_extra={"fingerprint": "labels"}
    )
    max_faces: PositiveInt | None = Field(
        None, description="photos with more are left out", json_schema_extra={"fingerprint": "labels"}
    )
    truth: Path | None = Field(
        None,
        description="CSV of photos labelled by eye: the report then shows precision and recall of the cut",
        json_schema_extra={"fingerprint": "report"},
    )
    processes: PositiveInt | None = Field(
        None,
        description="photos are looked at in this many at once; empty: one a CPU",
        json_schema_extra=RUNTIME_ONLY,
    )

    @field_validator("detector")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DETECTORS and not entry_points(group=DETECTOR_GROUP, name=name):
            brought = sorted(entry.name for entry in entry_points(group=DETECTOR_GROUP))
            raise ValueError(f"there are {', '.join((*DETECTORS, *brought))}")
        return name


class LabelsSettings(Section):
    """What counts as liked, and who is tested on whom."""

    folds: int = Field(5, ge=2, description="user-disjoint cross-validation folds")
    test_share: float = Field(0.25, gt=0, lt=1, description="of users, held out: the study's 3:1 split")
    protocol: Literal["user", "time", "study"] = Field(
        "user",
        description="user: no account in train and test; time: nor any later photo in train; "
        "study: photos split at random",
    )
    design: Literal["ratio_median", "rank_in_follower_groups", "same_user_pairs", "residual"] = Field(
        "ratio_median", description="which photos are called good; see docs/evaluation.md"
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="of copies of a photo, drop all but the first posted; or keep them on one side"
    )
    near_duplicate_bits: int = Field(
        6, ge=0, le=12, description="photos are copies if their hashes differ in at most so many of 64 bits"
    )
    max_per_user: int = Field(
        20, ge=0, description="photos of one account; of more, so many are drawn by the seed; 0: all"
    )


def _names(value: object) -> object:
    """Names that an option gives as one text, separated by commas."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class FeaturesSettings(Section):
    """The backbone that turns photos into numbers."""

    backbone: str = Field(
        "alexnet",
        pattern=r"^(timm:)?[A-Za-z0-9_.]+$",
        description="torchvision's name of a network, such as alexnet, resnet50, vit_b_16; or timm:NAME",
    )
    weights: Literal["imagenet", "random"] = Field("imagenet", description="trained, or from the seed")
    weights_file: Path | None = Field(
        None, description="a file with the network's weights, .safetensors or torch's; instead of `weights`"
    )
    layers: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (),
        description="layers to keep; empty: fc6 and fc7 of alexnet, of others what the last layer is given",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32", description="of the computation; auto: bf16 where the processor or a GPU has it"
    )
    allow_random: bool = Field(
        False, description="where trained weights cannot be had, go on with random ones, and say so"
    )
    mirrored: bool = Field(True, description="also compute every photo flipped left to right")
    batch_size: PositiveInt = Field(32, description="photos per forward pass", json_schema_extra=RUNTIME_ONLY)
    actors: PositiveInt | None = Field(
        None, description="model processes; empty: from CPUs and GPUs", json_schema_extra=RUNTIME_ONLY
    )


class ClassifySettings(Section):
    """The study's three classifiers, and logistic regression."""

    c_values: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        tuple(10.0**k for k in range(-6, 6)),
        min_length=1,
        description="C of LinearSVC and of logistic regression, from 1e-6 to 1e5",
    )
    trees: PositiveInt = Field(500, description="of the random forest")
    sgd_iterations: PositiveInt = Field(100, description="of the SVM by SGD")
    sgd_steps: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="its first step, the best of these; step t is this / sqrt(t)"
    )
    sgd_regs: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1e-4,), min_length=1, description="its L2 regularisation, the best of these"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples over users, for 95 % intervals")


class FinetuneSettings(Section):
    """Fine-tuning with Ray Train: Caffe's schedule, scaled to the machine by the preset."""

    iterations: PositiveInt = Field(60, description="training steps; the study: 35,000")
    batch_size: PositiveInt = Field(32, description="photos per step, over all workers")
    lr: float = Field(1e-3, gt=0, description="learning rate of the pretrained layers")
    head_lr_factor: float = Field(10.0, gt=0, description="the new layer learns this much faster")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    step_every: PositiveInt = Field(5000, description="iterations between two cuts of the learning rate")
    step_factor: float = Field(0.1, gt=0, le=1)
    trainable: Literal["all", "classifier", "fc7", "head"] = Field(
        "all", description="which layers move: all, fc6 and up, fc7 and up, or the new layer alone"
    )
    evaluate_every: PositiveInt = Field(20, description="iterations between two looks at validation AP")
    workers: PositiveInt = Field(1, description="Ray Train workers", json_schema_extra=RUNTIME_ONLY)


class TuneSettings(Section):
    """Ray Tune's search over learning rate and weight decay."""

    trials: PositiveInt = Field(6)
    iterations: PositiveInt = Field(30, description="training steps of a trial that is not stopped early")
    lr_low: float = Field(1e-4, gt=0)
    lr_high: float = Field(1e-1, gt=0)
    weight_decay_low: float = Field(1e-6, gt=0)
    weight_decay_high: float = Field(1e-2, gt=0)
    concurrent: PositiveInt | None = Field(
        None, description="trials at once; empty: from the CPUs", json_schema_extra=RUNTIME_ONLY
    )


class ReportSettings(Section):
    """What the page shows."""

    top: PositiveInt = Field(100, description="photos in the main gallery")
    ends: PositiveInt = Field(25, description="photos in the best and in the worst gallery")
    thumbnail_px: PositiveInt = Field(160, description="side of a thumbnail")
    show_photos: bool | None = Field(
        None, description="show faces and names; empty: only for the simulator and own files"
    )


class RaySettings(Section):
    """The Ray session of a run."""

    address: str = Field("local", description="local: start one for this run; or a cluster's address")
    num_cpus: PositiveInt | None = Field(None, description="CPUs of a local session; empty: all")
    dashboard: bool = Field(True, description="Ray's dashboard on loopback while the run lasts")


class Settings(Section):
    """Everything a run can be told. Frozen; built by `resolve`."""

    preset: Literal["laptop", "study"] = Field(
        "laptop", description="a set of defaults: small and quick, or the study's own"
    )
    seed: int = Field(0, ge=0, description="fixes the simulator, the splits and the models")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where models run; auto: a GPU if there is one"
    )
    source: SourceSettings = SourceSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    collect: CollectSettings = CollectSettings()
    cohort: CohortSettings = CohortSettings()
    download: DownloadSettings = DownloadSettings()
    faces: FacesSettings = FacesSettings()
    labels: LabelsSettings = LabelsSettings()
    features: FeaturesSettings = FeaturesSettings()
    classify: ClassifySettings = ClassifySettings()
    finetune: FinetuneSettings = FinetuneSettings()
    tune: TuneSettings = TuneSettings()
    report: ReportSettings = ReportSettings()
    ray: RaySettings = RaySettings()


PRESETS: dict[str, Layer] = {
    # Everything offline, in two to three minutes on two cores: the simulator's photos need no
    # licence and no token, random features are allowed where ImageNet's weights cannot be had, and
    # fine-tuning starts from the fc6 that the features stage has computed anyway.
    "laptop": {
        "features": {"allow_random": True},
        "finetune": {"trainable": "fc7", "iterations": 40, "evaluate_every": 10},
        "tune": {"trials": 4, "iterations": 24},
    },
    # The study's own sizes and schedule.
    "study": {
        "simulator": {"users": 100_000, "tokens": 20},
        "cohort": {"scale": "raw"},
        "labels": {"protocol": "study"},
        "download": {"actors": 4},
        "finetune": {"iterations": 35_000, "batch_size": 256, "evaluate_every": 1000},
        "tune": {"trials": 16, "iterations": 2000},
    },
}


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


def sections() -> dict[str, type[Section]]:
    """The sections of the settings tree by name, in order."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def known_paths() -> list[str]:
    """Every setting's name, as `field` or `section.field`, in order."""
    grouped = sections()
    paths: list[str] = []
    for name in Settings.model_fields:
        paths += [f"{name}.{field}" for field in grouped[name].model_fields] if name in grouped else [name]
    return paths


def describe(path: str) -> str:
    """What a setting means, with its choices where it has some."""
    section, _, field = path.rpartition(".")
    model = sections()[section] if section else Settings
    info = model.model_fields[field]
    choices = get_args(info.annotation) if str(info.annotation).startswith("typing.Literal") else ()
    listed = f" ({', '.join(map(str, choices))})" if len(choices) > 1 else ""
    return f"{info.description or field.replace('_', ' ')}{listed}"


def value_of(settings: Settings, path: str) -> Any:
    """The value of `field` or `section.field`."""
    value: Any = settings
    for part in path.split("."):
        value = getattr(value, part)
    return value


def fingerprint(settings: Settings, stage: str, names: Sequence[str], origin: str = "") -> str:
    """A short hash of the settings that matter to what `stage` writes.

    Parameters
    ----------
    stage : a field marked with another stage's name belongs to that stage alone
    names : sections, or single fields such as `seed` and `source.name`
    origin : what else must be the same for rows to mean the same
    """
    relevant: Layer = {"origin": origin}
    grouped = sections()
    for name in names:
        if name not in grouped:
            relevant[name] = value_of(settings, name)
            continue
        values = getattr(settings, name).model_dump(mode="json")
        for field, info in grouped[name].model_fields.items():
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            if extra.get("fingerprint", True) in (True, stage):
                relevant[f"{name}.{field}"] = values[field]
    text = json.dumps(relevant, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
