"""`raylike submit`: the same run, as a job on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options as o


def submit(
    ctx: typer.Context,
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Where all machines can reach it: s3://BUCKET/PREFIX.")
    ],
    jobs: Annotated[
        str, typer.Option("--address", metavar="URL", help="The cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    preset: o.PresetOption = None,
    from_stage: o.FromOption = None,
    until: o.UntilOption = None,
    force: o.ForceOption = [],  # noqa: B006  # typer hands over a new list
    source: o.SourceOption = None,
    tag: o.TagOption = None,
    base_url: o.BaseUrlOption = None,
    token_store: o.TokenStoreOption = None,
    seed: o.SeedOption = None,
    device: o.DeviceOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # as above
    install: Annotated[
        bool, typer.Option("--install", help="Have this machine's package versions installed there.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's id and leave it to itself.")
    ] = False,
    debug: o.DebugOption = False,
) -> None:
    """Run all stages on a cluster, follow the job's log, and end with its exit code.

    This raylike's code and settings are sent; tokens are not: the job finds them where it runs, in
    RAYLIKE_TOKENS or in a file there, which --token-store names. Ctrl-C leaves the job running.
    """
    from raylike.submission import Jobs

    arguments: list[str] = []
    for option, value in (("--from", from_stage), ("--until", until)):
        arguments += [option, value] if value else []
    for stage in force:
        arguments += ["--force", stage]
    server = Jobs(jobs)
    job = server.submit(workspace, arguments, o.resolved(ctx.params), install=install)
    typer.echo(f"job {job}; to end it: ray job stop {job} --address {jobs}", err=True)
    if detach:
        typer.echo(job)
        return
    raise typer.Exit(server.follow(job, lambda text: typer.echo(text, nl=False)))
