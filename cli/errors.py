"""How a command ends badly: the text for the user, the exit code, and where a traceback goes.

Nothing else in the project turns an error into an exit code. Knows `RaylikeError` and typer's own
exceptions. Knows nothing of what was being done.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from cli.progress import utc_now
from raylike.errors import INTERRUPTED_EXIT_CODE, CannotWrite, RaylikeError

INTERNAL_EXIT_CODE = 1
BROKEN_PIPE_EXIT_CODE = 141
"""What a shell shows of a program that wrote to a closed pipe (128 + SIGPIPE)."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_TYPERS_OWN = (typer.Exit, typer.Abort, typer.BadParameter)


class Command(TyperCommand):
    """A command whose errors end as one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `ending`."""
        with ending(ctx.params):
            return super().invoke(ctx)


@contextmanager
def ending(params: Mapping[str, Any]) -> Iterator[None]:
    """Turn any error of the block into stderr text and `typer.Exit`.

    Parameters
    ----------
    params : the command's parameters; `as_json`, `debug` and `workspace` matter here, where it has them
    """
    try:
        yield
    except _TYPERS_OWN:
        raise
    except KeyboardInterrupt:
        hint = "the same command goes on where this one stopped" if "force" in params else ""
        _show(RaylikeError("interrupted", "", hint), INTERRUPTED_EXIT_CODE, params)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE_EXIT_CODE) from None
    except RaylikeError as error:
        if params.get("debug"):
            traceback.print_exc()
        _show(error, error.exit_code, params)
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        known = _as_known(error, params)
        _show(known, known.exit_code, params)
        raise typer.Exit(known.exit_code) from None


def _as_known(error: Exception, params: Mapping[str, Any]) -> RaylikeError:
    """A full disk is the user's to mend; anything else that nobody foresaw is a bug of ours."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return CannotWrite(f"cannot be written: {error.strerror}", str(error.filename or ""), "make room")
    first_line = (str(error).strip() or "no message").splitlines()[0]
    what = f"internal error: {type(error).__name__}: {first_line}"
    if params.get("debug"):
        traceback.print_exc()
        return RaylikeError(what)
    return RaylikeError(what, "", f"the traceback is in {_keep_traceback(params.get('workspace'))}")


def _show(error: RaylikeError, exit_code: int, params: Mapping[str, Any]) -> None:
    typer.echo(f"raylike: {error}", err=True)
    if params.get("as_json"):
        event = {"event": "error", "time": utc_now(), "what": error.what, "where": error.where}
        typer.echo(json.dumps({**event, "hint": error.hint, "exit_code": exit_code}))


def _keep_traceback(workspace: str | None) -> Path:
    """Write the traceback being handled to the workspace's logs, or else to the temporary folder."""
    name = f"error-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    folders = [Path(tempfile.gettempdir())]
    if workspace and "://" not in workspace:
        folders.insert(0, Path(workspace) / "logs")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(traceback.format_exc(), encoding="utf-8")
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)
