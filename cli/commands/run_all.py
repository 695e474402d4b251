"""`raylike run-all`, and a command for each stage alone with the same options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from cli import options as o
from cli.launch import launch


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
    """A command that runs one stage alone: `run_all` without a range of stages."""

    @functools.wraps(run_all)
    def command(ctx: typer.Context, **_: Any) -> None:
        launch(ctx.params, from_stage=stage, until=stage)

    signature = inspect.signature(run_all, eval_str=True)
    kept = [p for name, p in signature.parameters.items() if name not in ("from_stage", "until")]
    if stage == "collect":
        keyword = inspect.Parameter.KEYWORD_ONLY
        kept.append(inspect.Parameter("refresh", keyword, default=False, annotation=o.RefreshOption))
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    command.__doc__ = f"{does}."
    return command
