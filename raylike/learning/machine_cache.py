"""Files that one process of a machine computes and all others of that machine map or read.

Their names tell what they depend on: a digest of the photos and their table's version, which is the same for
all that is computed of one learning set, and one of what was computed. Files of another learning set are
removed when a new one is begun.

Knows files. Knows nothing of photos or networks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from raylike.workspace import Workspace

DIGITS = 12


def digest(*told: str) -> str:
    """A short name for what a file depends on."""
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:DIGITS]


def once(workspace: Workspace, source: str, name: str, suffix: str, write: Callable[[Path], None]) -> Path:
    """The file of this name on this machine; `write` makes it where no process has yet.

    Parameters
    ----------
    source, name : digests of the learning set, and of what is computed of it
    suffix : of the file
    write : writes under the path it is given, which is moved into place when it returns
    """
    folder = _folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}-{name}{suffix}"
    with open(folder / f"{path.stem}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _remove_others(folder, source)
            part = folder / f"{path.stem}.{os.getpid()}.part"
            try:
                write(part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
    return path


def _folder(workspace: Workspace) -> Path:
    if workspace.is_local:
        return Path(workspace.artifact("cache", "inputs"))
    return Path(tempfile.gettempdir()) / f"raylike-{digest(workspace.uri)}"


def _remove_others(folder: Path, source: str) -> None:
    for old in folder.iterdir():
        if not old.name.startswith(source) and old.suffix not in (".lock", ".part"):
            old.unlink(missing_ok=True)
