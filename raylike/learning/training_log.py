"""Curves of a training as TensorBoard reads them: `tensorboard --logdir WORKSPACE/logs/tensorboard`.

They are written as training goes on, by the driver. In a bucket there are none: event files grow by a few
bytes at a time, which objects cannot. The table `curves` has the same figures, wherever the workspace lies.

Knows tensorboardX, which comes with Ray Tune, and event files. Knows nothing of Ray or of networks.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from raylike.workspace import Workspace

FOLDER = "logs/tensorboard"


class TrainingLog:
    """The curves of one run, such as `finetune`. Use as a context manager.

    Parameters
    ----------
    fresh : leave nothing of an earlier training of this name
    """

    def __init__(self, workspace: Workspace, run: str, *, fresh: bool) -> None:
        self._writer: Any = None
        self._last = 0
        if workspace.is_local:
            from tensorboardX import SummaryWriter

            folder = Path(workspace.artifact(FOLDER, run))
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)
            self._writer = SummaryWriter(str(folder), flush_secs=5)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def looked(self, look: Mapping[str, Any]) -> None:
        """Write a row of the `curves` table, if it is later than those before."""
        if self._writer is None or look["iteration"] <= self._last:
            return
        self._last = look["iteration"]
        for name, value in look.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, self._last)
