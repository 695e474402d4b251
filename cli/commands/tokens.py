"""`raylike tokens ...`: keep the tokens that people lend, see whether they are good, ask friends for more.

A token is never an argument: it is typed unseen, read from stdin or a file, or handed out by a network.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli import options as o
from cli.errors import Command

if TYPE_CHECKING:
    from pydantic import SecretStr

    from raylike.signing_in.exchange import App, Grant
    from raylike.signing_in.networks import SignIn
    from raylike.signing_in.server import Opened
    from raylike.tokens.checking import Checked
    from raylike.tokens.keeping import Kept
    from raylike.tokens.store import TokenStore
    from raylike.tokens.text import Scope, TokenText

SECRET_VARIABLE = "RAYLIKE_CLIENT_SECRET"

app = typer.Typer(
    help="Keep tokens that people lend you, check them, or ask friends for theirs.\n\n"
    "They are kept in ~/.config/raylike/tokens, which only you can read. A run takes them from there "
    "unless --token-store or RAYLIKE_TOKENS names others.",
    no_args_is_help=True,
)

Provider = Literal["instagram_v1", "instagram_graph", "mastodon", "pixelfed", "bluesky"]
ProviderOption = Annotated[Provider, typer.Option(help="Network that gave out the token.")]
AnyProviderOption = Annotated[Provider | None, typer.Option(help="Only tokens of this network.")]
StoreOption = Annotated[
    Path | None, typer.Option("--token-store", metavar="FILE", help="Instead of ~/.config/raylike/tokens.")
]
ServerOption = Annotated[
    str,
    typer.Option("--base-url", metavar="URL", help="Server that gave it out; no other one will see it."),
]


@app.command(cls=Command, context_settings={"allow_extra_args": True})
def add(
    ctx: typer.Context,
    provider: ProviderOption,
    alias: Annotated[str | None, typer.Option(help="What it goes by. [default: friend-N]")] = None,
    base_url: ServerOption = "",
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Keep one token: type it at the prompt, where it is not shown, or pipe it in.

    Prints its alias. For Bluesky the token is handle:app-password.

    Example: raylike tokens add --provider mastodon --alias anna < token.txt
    """
    from raylike.errors import ConfigError
    from raylike.tokens import keeping

    if ctx.args:  # not repeated: it may be a token
        raise ConfigError(
            "takes no token on the command line, where others can see it",
            "",
            "type it at the prompt, or pipe it in",
        )
    place, scope = _place(store), keeping.scope_of(provider, base_url)
    kept = keeping.add(place, _read_secret("Token (not shown): ", "a token"), scope, alias)
    _note(f"{kept.credential.label} {_HOW[kept.how]}: {place.path}")
    typer.echo(json.dumps(_kept_row(kept, scope)) if as_json else kept.credential.alias)


@app.command("import", cls=Command)
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="List of tokens; - reads stdin.")],
    provider: ProviderOption,
    base_url: ServerOption = "",
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Keep all tokens of a list: one a line, alias=token or bare.

    Prints the aliases that are new. A line that is no token is named by its number and passed over.

    Example: raylike tokens import friends.txt --provider instagram_v1
    """
    from raylike.errors import InputDataError
    from raylike.tokens import keeping

    place, scope = _place(store), keeping.scope_of(provider, base_url)
    brought = keeping.bring(place, _lines(file), scope)
    for number, reason in brought.bad:
        _note(f"line {number} is no token: {reason}")
    new = [kept for kept in brought.kept if kept.how == "new"]
    n_known = len(brought.kept) - len(new)
    if as_json:
        bad = [{"line": number, "reason": reason} for number, reason in brought.bad]
        aliases = [kept.credential.alias for kept in new]
        typer.echo(json.dumps({"new": len(new), "known": n_known, "aliases": aliases, "bad_lines": bad}))
    if not brought.kept:
        raise InputDataError("holds no token", file, "one a line, as alias=token or bare")
    _note(f"{len(new)} new, {n_known} known, {len(brought.bad)} bad lines: {place.path}")
    if not as_json:
        for kept in new:
            typer.echo(kept.credential.alias)


@app.command("list", cls=Command)
def list_(
    provider: AnyProviderOption = None,
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Show what there is: alias, network, the token's last four characters.

    Example: raylike tokens list --provider mastodon
    """
    from raylike.tokens.text import shown_end

    text = _found(store)
    rows = [
        {
            "alias": lent.alias,
            "provider": lent.scope.provider,
            "server": lent.scope.server,
            "ends_with": shown_end(lent.credential),
        }
        for lent in text.lent
        if provider is None or lent.scope.provider in ("", provider)
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    shown = [
        (row["alias"], row["provider"] or "any", f"...{row['ends_with']}", row["server"]) for row in rows
    ]
    _table(("alias", "provider", "token", "server"), shown)


@app.command(cls=Command)
def check(
    provider: AnyProviderOption = None,
    base_url: Annotated[str, typer.Option(metavar="URL", help="Address of the network's API.")] = "",
    allow_private_addresses: o.PrivateAddressesOption = None,
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Ask the networks whether the tokens are good; spends one hit each.

    States: ok; limited, used up for now; refused, the network no longer takes it; unreachable. On
    instagram_graph it takes up to three hits, and counts as one of the 30 hashtags of seven days.

    Example: raylike tokens check --provider instagram_v1
    """
    import asyncio

    from raylike.tokens import checking

    asked, left_out = checking.choose(_found(store), provider, base_url)
    for reason in left_out:
        _note(reason)
    rows = asyncio.run(checking.check(asked, allow_private=bool(allow_private_addresses)))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows]))
    else:
        header = ("alias", "network", "limit", "remaining", "reset (s)", "state")
        _table(header, [_checked_cells(row) for row in rows])
    _conclude(rows)


@app.command(cls=Command)
def remove(
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="As `raylike tokens list` shows it.")],
    provider: AnyProviderOption = None,
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Forget a token, under all its aliases. At the network it stays good until its owner withdraws it.

    Example: raylike tokens remove anna
    """
    from raylike.tokens import keeping

    place = _place(store)
    gone = [lent.alias for lent in keeping.remove(place, alias, provider)]
    _note(f"forgotten, and still good at the network until its owner withdraws it: {place.path}")
    typer.echo(json.dumps({"removed": gone}) if as_json else "\n".join(gone))


@app.command(cls=Command)
def login(
    provider: ProviderOption,
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Of your application. Mastodon and Pixelfed make one if it is missing."
        ),
    ] = None,
    base_url: Annotated[str, typer.Option(metavar="URL", help="Address of the network's API.")] = "",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the page is served; port 0 takes a free one.")
    ] = "127.0.0.1:8787",
    public_url: Annotated[
        str,
        typer.Option(metavar="URL", help="The page as friends' browsers reach it. [default: as --listen]"),
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="End when so many people have signed in.")] = 1,
    timeout_s: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="End then at the latest. [default: never]")
    ] = None,
    allow_private_addresses: o.PrivateAddressesOption = None,
    store: StoreOption = None,
    as_json: o.JsonOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Serve a page where friends sign in at their network and so lend their token.

    Prints an alias for each. The client secret of your application is asked for, or comes from
    RAYLIKE_CLIENT_SECRET. What has come is kept, however it ends: Ctrl-C, the time is up.

    Example: raylike tokens login --provider mastodon --base-url https://mastodon.social --count 3
    """
    import asyncio

    from raylike.signing_in.networks import sign_in
    from raylike.signing_in.server import Invitation, receive

    network = sign_in(provider, base_url)
    host, port = _address(listen)
    place = _place(store)
    place.prepare()
    lending = _Lending(place, network, count, as_json)
    invitation = Invitation(
        network=network,
        app=_app(network, client_id),
        host=host,
        port=port,
        public_url=public_url,
        count=count,
        timeout_s=timeout_s,
        allow_private=bool(allow_private_addresses),
    )
    try:
        asyncio.run(receive(invitation, lending.keep, lending.opened, _note))
    finally:
        if lending.is_open:
            _note(f"{len(lending.aliases)} of {count} signed in: {place.path}")
    if as_json:
        typer.echo(json.dumps({"event": "done", "aliases": lending.aliases}))


_HOW = {"new": "is kept", "known": "was there already", "renewed": "has taken the place of the older one"}


class _Lending:
    """What the page reports: tokens are stored and told of as they come."""

    def __init__(self, place: TokenStore, network: SignIn, count: int, as_json: bool) -> None:
        self.is_open = False
        self.aliases: list[str] = []
        self._place = place
        self._network = network
        self._count = count
        self._as_json = as_json

    def opened(self, opened: Opened) -> None:
        """Tell where the page is."""
        self.is_open = True
        for warning in opened.warnings:
            _note(f"warning: {warning}")
        if self._network.register is None:
            _note(f"redirect URI that your application must name: {opened.redirect_uri}")
        _note(f"send your friends to {opened.page} (Ctrl-C ends it)")
        if self._as_json:
            ready = {"event": "ready", "page": opened.page, "redirect_uri": opened.redirect_uri}
            typer.echo(json.dumps(ready))

    def keep(self, grant: Grant) -> str:
        """Store a token; returns its alias."""
        from raylike.tokens import keeping
        from raylike.tokens.text import Scope

        scope = Scope(self._network.provider, self._network.server)
        kept = keeping.renew(self._place, grant.token, scope, grant.alias)
        alias = kept.credential.alias
        first = alias not in self.aliases
        if first:
            self.aliases.append(alias)
        _note(f"{len(self.aliases)} of {self._count}: {kept.credential.label} {_HOW[kept.how]}")
        if self._as_json:
            typer.echo(json.dumps({"event": "token", **_kept_row(kept, scope)}))
        elif first:
            typer.echo(alias)
        return alias


def _note(message: str) -> None:
    typer.echo(message, err=True)


def _place(store: Path | None) -> TokenStore:
    """The store to write to."""
    from raylike.tokens import VARIABLE
    from raylike.tokens.store import TokenStore, default_path

    if store is None and VARIABLE in os.environ:
        _note(f"note: {VARIABLE} is set; runs take the tokens in it, not those in the file")
    return TokenStore(store or default_path(os.environ))


def _found(store: Path | None) -> TokenText:
    """What a run would take its tokens from."""
    from raylike.tokens import VARIABLE, found

    text, where = found(store, os.environ)
    if where == VARIABLE:
        _note(f"note: these stand in {VARIABLE}, which goes before the file")
    return text


def _read_secret(prompt: str, what: str) -> SecretStr:
    """One line, unseen from a terminal or else from stdin."""
    from pydantic import SecretStr

    from raylike.errors import CredentialsError

    try:
        given = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except (EOFError, UnicodeDecodeError):
        given = ""
    if not given.strip():
        raise CredentialsError(f"{what} was expected, and nothing came", "stdin")
    return SecretStr(given.strip())


def _lines(file: str) -> list[str]:
    from raylike.errors import InputDataError

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InputDataError(f"cannot be read: {error.strerror}", file) from None
    except UnicodeDecodeError:
        raise InputDataError("is no text file", file) from None


def _kept_row(kept: Kept, scope: Scope) -> dict[str, Any]:
    from raylike.tokens.text import shown_end

    return {
        "alias": kept.credential.alias,
        "provider": scope.provider,
        "server": scope.server,
        "ends_with": shown_end(kept.credential),
        "state": kept.how,
    }


def _checked_cells(row: Checked) -> tuple[str, ...]:
    remaining = "-" if row.remaining is None else str(row.remaining)
    if row.remaining is None and row.used_share is not None:
        remaining = f"{1 - row.used_share:.0%}"
    limit = "-" if row.limit is None else str(row.limit)
    reset = "-" if row.reset_after_s is None else f"{row.reset_after_s:.0f}"
    return row.alias, row.network, limit, remaining, reset, f"{row.state}  {row.reason}".rstrip()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _conclude(rows: list[Checked]) -> None:
    """End as the worst of the tokens says."""
    from raylike.errors import CredentialsError, ServiceUnavailable, TryAgainLater

    def among(state: str) -> str:
        n_such = sum(row.state == state for row in rows)
        return f"{n_such} of {len(rows)}" if n_such else ""

    if refused := among("refused"):
        raise CredentialsError(
            f"{refused} tokens refused", "", "ask for new ones, or forget them with `raylike tokens remove`"
        )
    if unreachable := among("unreachable"):
        raise ServiceUnavailable(f"{unreachable} tokens not checked: the network is not to be reached")
    if limited := among("limited"):
        raise TryAgainLater(f"{limited} tokens used up for now")


def _address(listen: str) -> tuple[str, int]:
    """Read HOST:PORT."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise typer.BadParameter(f"{listen!r} is not of the form HOST:PORT", param_hint="--listen")
    return host.strip("[]"), int(port)


def _app(network: SignIn, client_id: str | None) -> App | None:
    """Your application at the network; None where the server makes one."""
    from pydantic import SecretStr

    from raylike.errors import ConfigError
    from raylike.signing_in.exchange import App

    if client_id is None:
        if network.register is not None:
            return None
        raise ConfigError(
            f"{network.title} signs people in to registered applications only",
            "--client-id",
            "register one with the network, and name its id",
        )
    if given := os.environ.get(SECRET_VARIABLE):
        return App(client_id, SecretStr(given))
    if not sys.stdin.isatty():
        raise ConfigError("the client secret is missing", SECRET_VARIABLE, "set it, or type it on a terminal")
    return App(client_id, _read_secret("Client secret (not shown): ", "the client secret"))
