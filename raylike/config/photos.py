"""Settings of photos: how they are fetched, and which show a face.

Knows names, ranges and reasons. Knows nothing of the stages that use them.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from pydantic import Field, field_validator

from raylike.config.base import RUNTIME_ONLY, PositiveInt, Seconds, Section, Share

DETECTORS = ("haar", "yunet", "person")
"""Face detectors that come with raylike."""
DETECTOR_GROUP = "raylike.face_detectors"
"""Entry points by which other packages bring more."""


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
        5000,
        description="photos of a downloader between two commits, at most; also after 128 MiB and after 10 s",
        json_schema_extra=RUNTIME_ONLY,
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
