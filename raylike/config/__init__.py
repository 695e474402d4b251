"""One settings tree, filled from five layers: defaults < preset < raylike.toml < RAYLIKE_* < flags.

`resolve` builds it once, in the command line or in a notebook; everything else receives the frozen
result. A module here holds the sections of one subject; `tree` puts them together, `layers` fills them.
"""

from raylike.config.base import RUNTIME_ONLY, Layer, Section
from raylike.config.collecting import (
    OWN_PHOTOS,
    CohortSettings,
    CollectSettings,
    SimulatorSettings,
    SourceName,
    SourceSettings,
)
from raylike.config.layers import CONFIG_FILE, Resolved, nearest, parse_assignments, resolve
from raylike.config.learning import (
    ClassifySettings,
    FeaturesSettings,
    FinetuneSettings,
    LabelsSettings,
    TuneSettings,
)
from raylike.config.photos import DETECTOR_GROUP, DETECTORS, DownloadSettings, FacesSettings
from raylike.config.tree import (
    PRESETS,
    RaySettings,
    ReportSettings,
    Settings,
    describe,
    fingerprint,
    known_paths,
    sections,
    value_of,
)

__all__ = [
    "CONFIG_FILE",
    "DETECTORS",
    "DETECTOR_GROUP",
    "OWN_PHOTOS",
    "PRESETS",
    "RUNTIME_ONLY",
    "ClassifySettings",
    "CohortSettings",
    "CollectSettings",
    "DownloadSettings",
    "FacesSettings",
    "FeaturesSettings",
    "FinetuneSettings",
    "LabelsSettings",
    "Layer",
    "RaySettings",
    "ReportSettings",
    "Resolved",
    "Section",
    "Settings",
    "SimulatorSettings",
    "SourceName",
    "SourceSettings",
    "TuneSettings",
    "describe",
    "fingerprint",
    "known_paths",
    "nearest",
    "parse_assignments",
    "resolve",
    "sections",
    "value_of",
]
