"""`raylike run-all`, and a command for each stage alone with the same options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer

from cli import options as o
from cli.commands.faces import check_options, show_curve
from cli.errors import Command
from cli.launch import launch
from raylike.causes import ALL

RETRY = "--retry-failed"
WITH_NEEDED = ("finetune", "tune")
"""Stages whose command runs first what they need and is not up to date."""


class DownloadCommand(Command):
    """A command whose option `--retry-failed` may stand alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; see `with_cause`."""
        return super().parse_args(ctx, with_cause(args))


def with_cause(arguments: Sequence[str]) -> list[str]:
    """The arguments with `all` after a `--retry-failed` that no value follows."""
    followers = [*arguments[1:], "-"]
    return [
        f"{RETRY}={ALL}" if argument == RETRY and follower.startswith("-") else argument
        for argument, follower in zip(arguments, followers, strict=True)
    ]


def run_all(
    ctx: typer.Context,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    preset: o.PresetOption = None,
    source: o.SourceOption = None,
    seed: o.SeedOption = None,
    from_stage: o.FromOption = None,
    until: o.UntilOption = None,
    force: o.ForceOption = [],  # noqa: B006  # typer hands over a new list; None is no list to it
    tag: o.TagOption = None,
    accounts: o.AccountsOption = None,
    base_url: o.BaseUrlOption = None,
    token_store: o.TokenStoreOption = None,
    allow_private_addresses: o.PrivateAddressesOption = None,
    wait: o.WaitOption = None,
    device: o.DeviceOption = None,
    address: o.AddressOption = None,
    dashboard: o.DashboardOption = None,
    show_photos: o.ShowPhotosOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # as above
    as_json: o.JsonOption = False,
    verbose: o.VerboseOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Run every stage that is not up to date.

    From posts to the report. Without options it runs offline against the simulator and needs no token.
    """
    launch(ctx.params, from_stage=from_stage, until=until)


def stage_command(stage: str, does: str) -> Callable[..., None]:
    """A command that runs one stage, alone or after what it needs: `run_all` without a range of stages."""

    @functools.wraps(run_all)
    def command(ctx: typer.Context, **_: Any) -> None:
        if stage == "faces":
            check_options(ctx.params)
            if ctx.params["curve"]:
                show_curve(ctx.params)
                return
        if stage in WITH_NEEDED:
            launch(ctx.params, from_stage=None, until=stage, needed=True)
        else:
            launch(ctx.params, from_stage=stage, until=stage)

    signature = inspect.signature(run_all, eval_str=True)
    others = {"from_stage", "until"} | ({"show_photos"} if stage != "report" else set())
    kept = [p for name, p in signature.parameters.items() if name not in others]
    keyword = inspect.Parameter.KEYWORD_ONLY
    if stage == "collect":
        kept.append(inspect.Parameter("refresh", keyword, default=False, annotation=o.RefreshOption))
    if stage == "download":
        kept.append(inspect.Parameter("retry_failed", keyword, default=None, annotation=o.RetryOption))
    if stage == "faces":
        for name, default, option in (
            ("detector", None, o.DetectorOption), ("model", None, o.ModelOption),
            ("curve", False, o.CurveOption), ("truth", None, o.TruthOption),
        ):  # fmt: skip
            kept.append(inspect.Parameter(name, keyword, default=default, annotation=option))
    if stage in ("features", "classify"):
        for name, annotation in (("backbone", o.BackboneOption), ("layers", o.LayersOption)):
            kept.append(inspect.Parameter(name, keyword, default=None, annotation=annotation))
    if stage == "features":
        kept.append(inspect.Parameter("weights_file", keyword, default=None, annotation=o.WeightsFileOption))
    if stage == "finetune":
        for name, annotation in (("from_tune", o.FromTuneOption), ("name", o.NameOption)):
            kept.append(inspect.Parameter(name, keyword, default=None, annotation=annotation))
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    before = " What it needs and is not up to date runs first." if stage in WITH_NEEDED else ""
    command.__doc__ = f"{does}.{before}"
    return command
