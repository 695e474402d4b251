"""What a fine-tuning job is, for its workers and for the tasks that make their photos ready.

Knows the workspace. Knows nothing of Ray or of torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pyarrow.fs

from raylike.config import Settings
from raylike.learning.photos import Photos
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace

CHECKPOINT_EVERY_S = 30.0
"""Between two saved states. AlexNet's classifier and its momentum are 430 MB: a shorter run is sooner
repeated than saved."""

MODEL = "model"
"""The folder of the trained network within the job's, until it is put in its place."""
SAVED = re.compile(r"iteration-(\d{9})")


@dataclass(frozen=True)
class Job:
    """What a worker is told. Small: weights and photos are read where the worker runs."""

    workspace: Workspace
    settings: Settings
    weights: str
    photos: Photos
    folder: str
    framing: Framing = field(default_factory=Framing)
    streams: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


def saved_name(iteration: int) -> str:
    """The name of a saved state, in the job's folder."""
    return f"iteration-{iteration:09d}"


def saved_iteration(filesystem: pyarrow.fs.FileSystem, folder: str) -> int:
    """The iteration of the newest saved state in a folder; 0 where there is none."""
    below = pyarrow.fs.FileSelector(folder, allow_not_found=True)
    names = (SAVED.fullmatch(info.base_name) for info in filesystem.get_file_info(below))
    return max((int(name[1]) for name in names if name), default=0)
