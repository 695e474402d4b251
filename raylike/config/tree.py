"""The settings tree, its presets, and its fields by name.

Knows every section. Knows nothing of where values come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from raylike.config.base import Layer, PositiveInt, Section
from raylike.config.collecting import CohortSettings, CollectSettings, SimulatorSettings, SourceSettings
from raylike.config.learning import (
    ClassifySettings,
    FeaturesSettings,
    FinetuneSettings,
    LabelsSettings,
    TuneSettings,
)
from raylike.config.photos import DownloadSettings, FacesSettings


class ReportSettings(Section):
    """What the page shows."""

    top: PositiveInt = Field(100, description="photos in the main gallery")
    ends: PositiveInt = Field(25, description="photos in the best and in the worst gallery")
    thumbnail_px: PositiveInt = Field(160, description="side of a thumbnail")
    show_photos: bool | None = Field(
        None, description="faces and names; false: a mosaic and none; empty: by whose photos they are"
    )
    looked_at: PositiveInt = Field(
        4000, description="photos at most whose visible attributes are measured and that the map pictures"
    )
    figures: bool = Field(True, description="each plot as SVG, PNG and CSV beside the page, too")
    explained: int = Field(2, ge=0, description="photos of each end that are covered patch by patch")
    tile_px: PositiveInt = Field(40, description="side of a photo on the map")


class RaySettings(Section):
    """The Ray session of a run."""

    address: str = Field("local", description="local: start one for this run; or a cluster's address")
    num_cpus: PositiveInt | None = Field(None, description="CPUs of a local session; empty: all")
    dashboard: bool = Field(True, description="Ray's dashboard on loopback while the run lasts")
    may_grow: bool | None = Field(
        None, description="whether nodes may be added while a run waits for them; empty: as Ray tells"
    )


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
        "tune": {"trials": 4, "iterations": 24, "trainable": ("head", "fc7"), "batch_sizes": (16,)},
    },
    # The study's own sizes and schedule.
    "study": {
        "simulator": {"users": 100_000, "tokens": 20},
        "cohort": {"scale": "raw"},
        "labels": {"protocol": "study"},
        "download": {"actors": 4},
        "finetune": {"iterations": 35_000, "batch_size": 256, "evaluate_every": 1000},
        "tune": {"trials": 16, "iterations": 2000, "batch_sizes": (64, 256)},
    },
}


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
