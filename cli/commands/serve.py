"""`raylike serve`: a page and an HTTP API that score photos, until Ctrl-C.

Knows how to start and to wait. Knows nothing of HTTP (`raylike/serving`).
"""

from __future__ import annotations

import signal
from contextlib import ExitStack, suppress
from functools import partial
from typing import Annotated

import typer

from cli import options as o
from cli.launch import ELSEWHERE, set_up_logging
from cli.native_output import native_stderr_in
from raylike.errors import INTERRUPTED_EXIT_CODE

EVERY_ADDRESS = ("0.0.0.0", "::")
GRACE_S = 20.0
"""Ray Serve takes about 6 s to end."""


def serve(
    ctx: typer.Context,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    host: Annotated[str, typer.Option(help="Address to listen at; others than loopback let others in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    scoring_model: o.ScoringModelOption = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Model processes. [default: one for every two CPUs]")
    ] = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    verbose: o.VerboseOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Serve a page and an HTTP API that score photos, until Ctrl-C.

    Photos that are sent to it are not kept.
    """
    import actors  # noqa: F401  # sets Ray's environment before Ray is imported
    from raylike.processes import interruptible
    from raylike.serving import require_extra

    require_extra()

    with interruptible(INTERRUPTED_EXIT_CODE, GRACE_S, last_words="raylike: interrupted"):
        from raylike.cluster import Session
        from raylike.scoring import models, running
        from raylike.serving import deployment
        from raylike.serving.app import LOOPBACK, About
        from raylike.serving.uploads import UploadLimits
        from raylike.workspace import Workspace

        set_up_logging(verbose=verbose)
        settings = o.resolved(ctx.params).settings
        place = Workspace(workspace)
        with ExitStack() as stack:
            if not verbose:
                stack.enter_context(native_stderr_in(ELSEWHERE))
            opened = models.opened(place, scoring_model)
            hosts = frozenset() if host in EVERY_ADDRESS else LOOPBACK | {host}
            about = About(opened.name, str(opened.standard), opened.notes, hosts)
            limits = UploadLimits(settings.download.max_bytes)
            for note in opened.notes:
                typer.echo(f"note: {note}", err=True)
            del opened
            session = Session(settings.ray.model_copy(update={"dashboard": False}))
            stack.callback(session.stop)
            session.wait()
            n, threads = deployment.plan(processes)
            stack.callback(deployment.stop)
            scorer = partial(running.scorer, place, settings, scoring_model)
            deployment.start(deployment.Service(scorer, about, limits, host, port, n, threads))
            typer.echo(f"http://{host}:{port}/  (Ctrl-C ends it)", err=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
