"""`raylike bot`: answers people who mention an account and show it a photo, until Ctrl-C.

Knows options, and how to show what becomes of a mention. Knows nothing of networks (`raylike/bot`).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import options as o
from cli.launch import ELSEWHERE, set_up_logging
from cli.native_output import native_stderr_in
from raylike.errors import INTERRUPTED_EXIT_CODE

if TYPE_CHECKING:
    from raylike.bot.manners import Manners
    from raylike.bot.rounds import Told
    from raylike.config import Settings
    from raylike.scoring.scorer import Scorer
    from raylike.workspace import Workspace


def bot(
    ctx: typer.Context,
    source: Annotated[Literal["mastodon", "bluesky"], typer.Option("--network", help="Where it answers.")],
    base_url: o.BaseUrlOption = None,
    token_store: o.TokenStoreOption = None,
    alias: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose token, where the store holds several for the network."),
    ] = None,
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    scoring_model: o.ScoringModelOption = None,
    post: Annotated[
        bool, typer.Option("--post", help="Send the answers; without it they are only shown.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Deal with the mentions that there are, and end.")] = (
        False
    ),
    every: Annotated[float, typer.Option(min=5, help="Seconds between two looks.")] = 30.0,
    per_hour: Annotated[int, typer.Option(min=1, help="Answers in an hour; other mentions wait.")] = 60,
    per_account: Annotated[
        int, typer.Option(min=1, help="Answers to one account in an hour; other mentions get none.")
    ] = 5,
    allow_private_addresses: o.PrivateAddressesOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    verbose: o.VerboseOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Answer people who mention an account and show it a photo.

    Shows what it would answer, and sends nothing, unless --post is given.

    Example: raylike bot --network mastodon --base-url https://mastodon.social --once
    """
    from raylike.bot.manners import Manners
    from raylike.processes import interruptible

    with interruptible(INTERRUPTED_EXIT_CODE, last_words="raylike: interrupted"):
        from raylike.scoring import running
        from raylike.workspace import Workspace

        set_up_logging(verbose=verbose)
        settings = o.resolved(ctx.params).settings
        place = Workspace(workspace)
        with ExitStack() as stack:
            if not verbose:
                stack.enter_context(native_stderr_in(ELSEWHERE))
            scorer, notes = running.open_scorer(place, settings, scoring_model)
            for note in notes:
                typer.echo(f"note: {note}", err=True)
            with nullcontext() if once else suppress(KeyboardInterrupt):  # the way to end it, and no failure
                asyncio.run(
                    _run(
                        place,
                        settings,
                        scorer,
                        Manners(per_hour, per_account),
                        alias=alias,
                        posts=post,
                        every_s=None if once else every,
                        as_json=as_json,
                    )
                )


async def _run(
    workspace: Workspace,
    settings: Settings,
    scorer: Scorer,
    manners: Manners,
    *,
    alias: str | None,
    posts: bool,
    every_s: float | None,
    as_json: bool,
) -> None:
    """Rounds until Ctrl-C; one round where `every_s` is None."""
    from raylike.bot import opening
    from raylike.bot.memory import Notebook
    from raylike.bot.rounds import Bot
    from raylike.scoring import sources

    with opening.explained(settings), ExitStack() as stack:
        async with opening.connected(settings, alias) as network:
            me = await network.me()
            place = None
            if posts:
                place = opening.memory_place(workspace, settings, me)
                stack.enter_context(place.lock())
            say = opening.speaker(scorer, sources.reader(settings), network.most_characters)
            tell = partial(_show, as_json=as_json)
            answering = Bot(network, me, say, manners, Notebook(place), posts=posts, tell=tell)
            does = "answers" if posts else "shows what it would answer; --post sends it"
            typer.echo(f"@{me.name} {does}", err=True)
            await (answering.round() if every_s is None else answering.run(every_s))


def _show(told: Told, *, as_json: bool) -> None:
    """Answers go to stdout, all else to stderr; as JSON, all to stdout."""
    if as_json:
        event = "answer" if told.text else "mention" if told.post_id else "pause"
        about = {"to": told.name, "post_id": told.post_id, "text": told.text}
        known = {name: value for name, value in about.items() if value}
        typer.echo(json.dumps({"event": event, "outcome": told.outcome, **known}))
    elif told.text:
        typer.echo(f"@{told.name}: {told.text}")
    else:
        whom = f"@{told.name}: " if told.name else ""
        typer.echo(f"{whom}{'no answer: ' if told.name else ''}{told.outcome}", err=True)
