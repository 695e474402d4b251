"""The program `raylike`: its commands, in the order in which its help lists them."""

from __future__ import annotations

import typer

from cli.commands import config, tokens
from cli.commands.bot import bot
from cli.commands.doctor import doctor
from cli.commands.export import export
from cli.commands.import_ import import_
from cli.commands.plan import plan
from cli.commands.run_all import DownloadCommand, run_all, stage_command
from cli.commands.score import score
from cli.commands.serve import serve
from cli.commands.simulate import simulate
from cli.commands.status import status
from cli.commands.submit import submit
from cli.commands.vacuum import vacuum
from cli.commands.version import version
from cli.errors import Command
from raylike.stage_names import STAGES

app = typer.Typer(
    name="raylike",
    help="Learn which photos get liked: from posts to a report, on a laptop or on a Ray cluster.\n\n"
    "Start with `raylike run-all`: it needs no network and no token. The commands from collect to report "
    "are its stages, each alone.",
    epilog="Exit codes: 0 done, 1 internal error, 2 usage, 65 bad input, 69 service unavailable, "
    "73 cannot write, 75 try again later, 77 credentials, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and one-line errors: they read well in a pipe and in a narrow window
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run-all", cls=Command)(run_all)
app.command("status", cls=Command)(status)
app.command("plan", cls=Command)(plan)
app.command("import", cls=Command)(import_)
app.command("export", cls=Command)(export)
app.command("vacuum", cls=Command)(vacuum)
for _name, _does in STAGES.items():
    _kind = DownloadCommand if _name == "download" else Command
    app.command(_name, cls=_kind)(stage_command(_name, _does))
app.command("score", cls=Command)(score)
app.command("serve", cls=Command)(serve)
app.command("bot", cls=Command)(bot)
app.add_typer(config.app, name="config")
app.add_typer(tokens.app, name="tokens")
app.command("submit", cls=Command)(submit)
app.command("doctor", cls=Command)(doctor)
app.command("simulate", cls=Command)(simulate)
app.command("version", cls=Command)(version)


if __name__ == "__main__":
    app()
