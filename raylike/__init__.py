"""raylike learns which photos get liked.

From Python, what the commands do is this:

>>> import raylike
>>> workspace = raylike.Workspace("raylike-workspace")
>>> settings = raylike.resolve({"seed": 7}).settings  # doctest: +SKIP
>>> summary = raylike.run_all(workspace, settings)  # doctest: +SKIP
>>> workspace.table("faces").to_pandas()  # doctest: +SKIP

Names are imported when they are first used: `import raylike` itself waits for nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raylike.config import Settings as Settings
    from raylike.config import resolve as resolve
    from raylike.models.files import load_model as load_model
    from raylike.pipeline import run_all as run_all
    from raylike.workspace import Workspace as Workspace

    __version__: str

__all__ = ["Settings", "Workspace", "__version__", "load_model", "resolve", "run_all"]

_HOME = {
    "Settings": "raylike.config",
    "Workspace": "raylike.workspace",
    "load_model": "raylike.models.files",
    "resolve": "raylike.config",
    "run_all": "raylike.pipeline",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("raylike")
    if name not in _HOME:
        raise AttributeError(f"module 'raylike' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
