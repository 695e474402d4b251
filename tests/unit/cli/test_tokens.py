"""`raylike tokens ...`: what each command prints where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from raylike.simulator.options import SimulatorOptions
from raylike.simulator.process import Simulator, start
from tests.unit.providers.v1_server import V1Server

ROOT = Path(__file__).parents[3]
ANNA = "101.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fanna"
BERT = "102.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fbert"
V1 = ("--provider", "instagram_v1")
COMMAND = [sys.executable, "-m", "cli.main", "tokens"]
SECRET = "a-client-secret-nobody-may-see"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tokens are kept by default; returns that file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("RAYLIKE_TOKENS", "RAYLIKE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raylike" / "tokens"


@pytest.fixture
def network() -> Iterator[V1Server]:
    with V1Server(limit=40) as running:
        yield running


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start(SimulatorOptions(users=60, tokens=1)) as running:
        yield running


def call(*arguments: str, given: str | None = None, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["tokens", *arguments], input=given)
    assert result.exit_code == code, result.output
    return result


class TestAdd:
    def test_a_token_from_stdin_is_kept_and_its_alias_printed(self, home: Path) -> None:
        result = call("add", *V1, "--alias", "anna", given=f"{ANNA}\nnot this\n")
        assert result.stdout == "anna\n"
        assert f"anna (...anna) is kept: {home}" in result.stderr
        assert home.read_text() == f"[instagram_v1]\nanna={ANNA}\n"
        assert home.stat().st_mode & 0o777 == 0o600

    def test_it_may_be_told_in_json_and_lie_elsewhere(self, home: Path, tmp_path: Path) -> None:
        server = ("--base-url", "https://social.example/")
        result = call("add", "--provider", "mastodon", *server, "--token-store", "t", "--json", given=BERT)
        assert json.loads(result.stdout) == {
            "alias": "friend-1", "provider": "mastodon", "server": "https://social.example",
            "ends_with": "bert", "state": "new",
        }  # fmt: skip
        assert not home.exists()
        assert (tmp_path / "t").exists()

    @pytest.mark.parametrize("given", ["", "\n", "two words\n"])
    def test_nothing_and_nonsense_are_refused(self, home: Path, given: str) -> None:
        assert call("add", *V1, given=given, code=77).stdout == ""
        assert not home.exists()

    def test_a_token_on_the_command_line_is_refused_and_not_repeated(self, home: Path) -> None:
        for arguments in ([ANNA], ["--token", ANNA], [f"--token={ANNA}"]):
            assert ANNA not in call("add", *V1, *arguments, given=BERT, code=2).output
        assert not home.exists()

    def test_no_command_has_a_place_for_a_secret(self) -> None:
        commands = typer.main.get_command(app).commands["tokens"].commands  # type: ignore[attr-defined]
        names = {parameter.name for command in commands.values() for parameter in command.params}
        assert not [name for name in names if re.search("token|secret|password|code|verifier", name)]

    def test_a_terminal_does_not_show_what_is_typed(self, home: Path) -> None:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "add", *V1], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        with process:
            seen = os.read(ours, 1024)
            while b"not shown" not in seen:
                seen += os.read(ours, 1024)
            os.write(ours, f"{ANNA}\n".encode())
            assert process.stdout is not None
            assert process.stdout.read() == b"friend-1\n"
            while b"is kept" not in seen:
                seen += os.read(ours, 1024)
        os.close(ours)
        assert ANNA.encode() not in seen
        assert ANNA in home.read_text()

    def test_a_variable_that_goes_before_the_file_is_mentioned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAYLIKE_TOKENS", BERT)
        assert "RAYLIKE_TOKENS is set" in call("add", *V1, given=ANNA).stderr


class TestImport:
    def test_lines_are_counted_and_bad_ones_numbered(self, home: Path) -> None:
        call("add", *V1, "--alias", "anna", given=ANNA)
        Path("list.txt").write_text(f"\ufeffannie={ANNA}\r\nbert={BERT}\r\nbad {BERT}\r\n[mastodon]\r\n")
        result = call("import", "list.txt", *V1)
        assert result.stdout == "bert\n"
        assert "1 new, 1 known, 2 bad lines" in result.stderr
        assert "line 3 is no token" in result.stderr
        assert BERT not in result.output
        assert home.read_text().count("=") == 2

    def test_from_stdin_with_json(self) -> None:
        result = call("import", "-", *V1, "--json", given=f"{ANNA}\n\nbad line\n")
        found = json.loads(result.stdout)
        assert (found["new"], found["known"], found["aliases"]) == (1, 0, ["friend-1"])
        assert [bad["line"] for bad in found["bad_lines"]] == [3]

    @pytest.mark.parametrize("content", [b"", b"# none\n", b"bad line\n", b"\xff\xfe\x00"])
    def test_a_list_without_a_token_is_bad_input(self, content: bytes) -> None:
        Path("list.txt").write_bytes(content)
        call("import", "list.txt", *V1, code=65)

    def test_a_list_that_is_not_there_is_bad_input(self, home: Path) -> None:
        assert "cannot be read" in call("import", "none.txt", *V1, code=65).stderr
        assert not home.exists()


class TestList:
    def test_it_shows_four_characters_of_each(self) -> None:
        call("add", *V1, "--alias", "anna", given=ANNA)
        call("add", "--provider", "mastodon", given=BERT)
        shown = call("list")
        assert [line.split() for line in shown.stdout.splitlines()] == [
            ["alias", "provider", "token", "server"],
            ["anna", "instagram_v1", "...anna"],
            ["friend-1", "mastodon", "...bert"],
        ]
        (row,) = json.loads(call("list", "--provider", "mastodon", "--json").stdout)
        assert (row["alias"], row["ends_with"]) == ("friend-1", "bert")
        assert ANNA not in shown.output

    def test_what_a_run_would_take_from_the_variable_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAYLIKE_TOKENS", f"b={BERT}")
        result = call("list", "--json")
        assert json.loads(result.stdout)[0]["alias"] == "b"
        assert "RAYLIKE_TOKENS" in result.stderr

    def test_without_any_it_ends_as_a_run_would(self) -> None:
        assert "raylike tokens add" in call("list", code=77).stderr


class TestCheck:
    def check(self, network: V1Server, *more: str, code: int = 0) -> Any:
        there = ("--base-url", network.base_url, "--allow-private-addresses")
        return call("check", *there, *more, code=code)

    def test_good_tokens_end_well_and_show_their_allowance(self, network: V1Server) -> None:
        call("import", "-", *V1, given=f"anna={ANNA}\nbert={BERT}\n")
        lines = [line.split() for line in self.check(network).stdout.splitlines()]
        assert lines[1:] == [
            ["anna", "instagram_v1", "40", "39", "-", "ok"],
            ["bert", "instagram_v1", "40", "39", "-", "ok"],
        ]

    @pytest.mark.parametrize(
        ("revoked", "limit", "code", "state"), [(ANNA, 40, 77, "refused"), ("", 0, 75, "limited")]
    )
    def test_the_exit_code_says_what_is_wrong(
        self, network: V1Server, revoked: str, limit: int, code: int, state: str
    ) -> None:
        network.revoked, network.limit = {revoked}, limit
        call("add", *V1, "--alias", "anna", given=ANNA)
        result = self.check(network, "--json", code=code)
        rows, event = map(json.loads, result.stdout.splitlines())
        assert [(row["alias"], row["state"]) for row in rows] == [("anna", state)]
        assert event["exit_code"] == code
        assert ANNA not in result.output

    def test_a_network_that_is_gone_is_unavailable(self) -> None:
        with V1Server() as network:
            pass
        call("add", *V1, given=ANNA)
        assert "unreachable" in self.check(network, code=69).stdout

    def test_a_token_for_every_network_needs_one_named(self, network: V1Server) -> None:
        Path("t").write_text(ANNA)
        Path("t").chmod(0o600)
        assert "name --provider" in self.check(network, "--token-store", "t", code=77).stderr
        assert "ok" in self.check(network, "--token-store", "t", *V1).stdout


class TestRemove:
    def test_it_is_gone_from_the_file(self, home: Path) -> None:
        call("add", *V1, "--alias", "anna", given=ANNA)
        assert call("remove", "anna").stdout == "anna\n"
        assert ANNA not in home.read_text()

    def test_what_is_no_alias_is_not_repeated(self) -> None:
        call("add", *V1, given=ANNA)
        assert ANNA not in call("remove", ANNA, code=2).output


class TestLogin:
    def test_two_friends_sign_in_and_no_output_holds_a_secret(self, home: Path, simulator: Simulator) -> None:
        there = ("--base-url", simulator.networks["instagram_v1"], "--allow-private-addresses")
        command = [*COMMAND, "login", *V1, *there, "--client-id", "abc", "--listen", "127.0.0.1:0", "--json"]
        environ = {**os.environ, "RAYLIKE_CLIENT_SECRET": SECRET}
        process = subprocess.Popen(
            [*command, "--count", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environ
        )
        with process:
            assert process.stdout is not None
            first = process.stdout.readline()
            seen = asyncio.run(friends(json.loads(first)["page"], 2))
            out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        events = [json.loads(line) for line in (first + out).splitlines()]
        assert [event["event"] for event in events] == ["ready", "token", "token", "done"]
        assert events[0]["redirect_uri"] == events[0]["page"] + "callback"
        tokens = dict(line.split("=") for line in home.read_text().splitlines()[1:])
        assert list(tokens) == events[-1]["aliases"]
        assert len(set(tokens.values())) == 2
        for secret in (*tokens.values(), SECRET):
            assert secret.encode() not in first + out + err
            assert all(secret not in page for page in seen)
        for alias in tokens:
            assert sum(alias in page for page in seen) == 1
        assert b"redirect URI that your application must name" in err
        assert "ok" in call("check", *V1, *there).stdout

    def test_what_came_before_ctrl_c_is_kept(self, home: Path, simulator: Simulator) -> None:
        there = ("--base-url", simulator.networks["mastodon"], "--allow-private-addresses")
        command = [*COMMAND, "login", "--provider", "mastodon", *there, "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(
            [*command, "--count", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline().decode())
            assert found is not None
            asyncio.run(friends(found[0], 1))
            alias = process.stdout.readline().decode().strip()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert (out, b"1 of 2 signed in" in err, b"Traceback" in err) == (b"", True, False)
        assert home.read_text().startswith(f"[mastodon http://127.0.0.1:{simulator.port}]\n{alias}=")

    def test_time_that_is_up_is_said(self, simulator: Simulator) -> None:
        there = ("--base-url", simulator.networks["pixelfed"], "--allow-private-addresses")
        options = ("--listen", "127.0.0.1:0", "--timeout-s", "0")
        result = call("login", "--provider", "pixelfed", *there, *options, code=75)
        assert "0 of 1 have signed in" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--provider", "bluesky"), "raylike tokens add"),
            (("--provider", "mastodon"), "many servers"),
            (V1, "--client-id"),
            ((*V1, "--client-id", "abc"), "RAYLIKE_CLIENT_SECRET"),
            ((*V1, "--listen", "here"), "HOST:PORT"),
            ((*V1, "--listen", "127.0.0.1:99999"), "HOST:PORT"),
        ],
    )
    def test_what_is_missing_is_a_usage_error(self, arguments: tuple[str, ...], said: str) -> None:
        assert said in call("login", *arguments, code=2).stderr


async def friends(page: str, how_many: int) -> list[str]:
    """Sign in as different people, each in a browser of their own; what they are shown."""
    seen: list[str] = []
    for _ in range(how_many):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            for path in ("", "start"):
                async with browser.get(page + path) as response:
                    assert response.status == 200
                    seen.append(await response.text())
    return seen
