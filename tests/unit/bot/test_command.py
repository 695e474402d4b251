"""`raylike bot` on the simulated networks: shows or sends, goes on where it was, and ends in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike.scoring import models
from raylike.simulator.mentions import KINDS
from raylike.simulator.server import Server
from raylike.simulator.world import GONE
from tests.unit.providers.simulated import simulated
from tests.unit.scoring.fakes import green_model

DESERVING = KINDS.count("photo")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A simulated network, and a workspace in the present folder whose model likes green."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(models, "opened", lambda workspace, name: green_model("its weights are random"))
    with simulated(users=120, tokens=8) as (server, root):
        number = int(np.flatnonzero(server.site.world.users.status[:8] != GONE)[0])
        monkeypatch.setenv("RAYLIKE_TOKENS", server.site.first_tokens[number])
        yield server, f"{root}/mastodon"


def call(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["bot", "--network", "mastodon", "--once", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_it_shows_what_it_would_answer_and_sends_only_when_told(served: tuple[Server, str]) -> None:
    server, root = served
    there = ("--base-url", root, "--allow-private-addresses")
    shown = call(*there)
    assert shown.stdout.count("of photos from accounts like these") == DESERVING
    assert "no answer: wants no bots" in shown.stderr
    assert "its weights are random" in shown.stderr
    assert "--post sends it" in shown.stderr
    assert not server.site.stats.answered
    sent = call(*there, "--post")
    assert sent.stdout == shown.stdout
    assert list(server.site.stats.answered.values()) == [1] * DESERVING
    assert call(*there, "--post").stdout == ""
    assert len(server.site.stats.answered) == DESERVING


def test_json_tells_what_became_of_each_mention(served: tuple[Server, str]) -> None:
    result = call("--base-url", served[1], "--allow-private-addresses", "--json", "--per-hour", "2")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["event"] for one in told[:3]] == ["answer", "answer", "mention"]
    assert told[0]["outcome"] == "shown"
    assert set(told[0]) == {"event", "outcome", "to", "post_id", "text"}
    assert told[2]["outcome"] == "without a photo"
    assert told[-1]["event"] == "pause"
    assert "enough answers" in told[-1]["outcome"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "none was named"),
        (("--base-url", "{root}"), 69, "not a public address"),
        (("--base-url", "{root}", "--allow-private-addresses", "--alias", "anna"), 2, "no token 'anna'"),
        (("--base-url", "{root}/elsewhere", "--allow-private-addresses"), 69, "no such API there"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    served: tuple[Server, str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = call(*(argument.format(root=served[1]) for argument in arguments), code=code)
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_token_that_is_not_accepted_is_code_77(
    served: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYLIKE_TOKENS", "20150017.5a1d10f.00000000000000000000000000000000")
    result = call("--base-url", served[1], "--allow-private-addresses", code=77)
    assert "the token is not accepted" in result.stderr
    assert "00000000000000000000" not in result.output


def test_two_at_a_time_on_one_account_are_not_let_in(served: tuple[Server, str], tmp_path: Path) -> None:
    from raylike.place import Place

    there = ("--base-url", served[1], "--allow-private-addresses", "--post")
    call(*there)
    (folder,) = (tmp_path / "raylike-workspace" / "bot").iterdir()
    with Place(folder).lock():
        assert "is in use by process" in call(*there, code=75).stderr
