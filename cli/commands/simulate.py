"""`raylike simulate`: the simulated network alone, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated

import typer

from cli import options as o


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    users: Annotated[int, typer.Option(min=1, help="Accounts; about two posts each.")] = 2000,
    tokens: Annotated[int, typer.Option(min=1, help="OAuth tokens that it hands out.")] = 3,
    rate_limit: Annotated[
        str | None,
        typer.Option(metavar="HITS/SECONDS", help="Limit of each token. [default: each network's own]"),
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds added to every answer.")] = 0.0,
    faults: Annotated[
        list[str],
        typer.Option(metavar="NAME=SHARE", help="Share of answers that go wrong so; may be repeated."),
    ] = [],  # noqa: B006  # typer hands over a new list
    seed: Annotated[int, typer.Option(min=0, help="Fixes what the network holds.")] = 0,
    debug: o.DebugOption = False,
) -> None:
    """Serve the simulated network until Ctrl-C.

    Prints one line of JSON: the address for each network, and the tokens.

    Example: raylike simulate --port 8800 --rate-limit 500/60 --faults error_500=0.02
    """
    from raylike.simulator.process import SimulatorOptions, start

    options = SimulatorOptions(
        seed=seed,
        users=users,
        tokens=tokens,
        rate_limit=rate_limit,
        latency_s=latency,
        faults=dict(share_of(fault) for fault in faults),
        port=port,
    )
    with start(options) as simulator:
        ready = {
            "event": "ready",
            "networks": simulator.networks,
            "tokens": [token.get_secret_value() for token in simulator.tokens],
            "logins": {
                name: [login.get_secret_value() for login in given]
                for name, given in simulator.logins.items()
            },
        }
        typer.echo(json.dumps(ready))
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it, and no failure
            simulator.process.wait()


def share_of(fault: str) -> tuple[str, float]:
    """Read `NAME=SHARE`. What names and shares there are, the simulator knows."""
    name, _, share = fault.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise typer.BadParameter(f"{fault!r} is not of the form name=share", param_hint="--faults") from None
