"""Run stages from a command: settings from its options, progress to the user, the report's path at the end.

Knows the command line and `raylike.run_all`. Knows nothing of what stages do.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.journal import journal
from cli.native_output import native_stderr_in, stdout_for_data
from cli.options import resolved
from cli.progress import duration, speaking
from raylike.errors import INTERRUPTED_EXIT_CODE

if TYPE_CHECKING:
    from raylike.workspace import Workspace


ELSEWHERE = Path(tempfile.gettempdir()) / "raylike" / "logs" / "native.log"
"""For native libraries' lines where there is no folder of a workspace."""


def launch(
    params: Mapping[str, Any], *, from_stage: str | None, until: str | None, needed: bool = False
) -> None:
    """Run the stages between two, as a command's parameters say.

    Raises
    ------
    RaylikeError : whatever `raylike.run_all` raises
    KeyboardInterrupt : on Ctrl-C or SIGTERM, after the run's processes were ended
    """
    from raylike.processes import interruptible, kill_descendants

    with interruptible(INTERRUPTED_EXIT_CODE, last_words="raylike: interrupted"):
        from raylike.headline import headline
        from raylike.pipeline import refresh, run_all
        from raylike.workspace import Workspace

        set_up_logging(verbose=params["verbose"])
        settings = resolved(params).settings
        workspace = Workspace(params["workspace"])
        log = log_file(workspace)
        quiet = nullcontext() if params["verbose"] else native_stderr_in(log)
        with (
            quiet,
            stdout_for_data() as out,
            speaking(as_json=params["as_json"], out=out) as shown,
            journal(log.parent, shown) as speaker,
        ):
            try:
                if params.get("refresh"):
                    summary = refresh(workspace, settings, speaker)
                else:
                    summary = run_all(
                        workspace,
                        settings,
                        speaker,
                        from_stage=from_stage,
                        until=until,
                        force=params["force"],
                        retry_failed=params.get("retry_failed"),
                        needed=needed,
                    )
            except KeyboardInterrupt:
                kill_descendants()  # whatever the run's own clean-up has not reached
                raise
            whole = from_stage is None and until is None
            figure = headline(workspace) if whole else None
            speaker.run_finished(
                {
                    "report": summary.report,
                    "run": summary.run,
                    "seconds": round(summary.seconds, 3),
                    "stages": {stage.stage: round(stage.seconds, 3) for stage in summary.stages},
                    "headline": figure,
                }
            )
    if not params["as_json"]:
        if figure:
            typer.echo(figure, err=True)
        if whole:
            typer.echo(f"done in {duration(summary.seconds)}; the report:", err=True)
            typer.echo(summary.report)  # stdout is data only, so that it can be piped


def log_file(workspace: Workspace) -> Path:
    """Where native libraries' own lines go: the workspace's logs, or the temporary folder's for s3://."""
    return Path(workspace.uri) / "logs" / "native.log" if workspace.is_local else ELSEWHERE


def set_up_logging(*, verbose: bool) -> None:
    """Send log lines and warnings to stderr with --verbose, and nowhere without."""
    if verbose:
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
        )
    else:
        logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()])
        warnings.simplefilter("ignore")
