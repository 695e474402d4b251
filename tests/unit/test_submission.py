"""What a submitted run takes along, what it leaves here, and how it is followed to its end."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike import submission
from raylike.config import resolve
from raylike.errors import ConfigError, ServiceUnavailable

SECRET = "a-token-that-nobody-may-see"


def test_the_settings_that_somebody_chose_travel_and_mean_the_same_there(tmp_path: Path) -> None:
    flags = {"preset": "study", "labels": {"folds": 7}, "ray": {"address": "10.0.0.1:6379"}}
    chosen = resolve(flags, environ={"RAYLIKE_FACES__DETECTOR": "yunet"})
    file = tmp_path / "raylike.toml"
    submission.pack(tmp_path, chosen)
    sent = tomllib.loads(file.read_text())
    assert sent == {"preset": "study", "labels": {"folds": 7}, "faces": {"detector": "yunet"}}
    there = resolve({}, config_file=file, environ={}).settings
    assert there == chosen.settings.model_copy(update={"ray": there.ray})


def test_no_token_travels(tmp_path: Path) -> None:
    submission.pack(tmp_path, resolve({"source": {"name": "mastodon", "tokens": [SECRET]}}, environ={}))
    assert not any(SECRET in path.read_text() for path in tmp_path.rglob("*.toml"))


def test_the_code_that_travels_is_the_whole_program(tmp_path: Path) -> None:
    submission.pack(tmp_path, resolve({}, environ={}))
    assert {path.name for path in tmp_path.iterdir()} == {"actors", "cli", "raylike", "raylike.toml"}
    assert (tmp_path / "raylike" / "report" / "templates" / "index.html.j2").is_file()
    assert not list(tmp_path.rglob("*.pyc"))


def test_packages_are_named_at_the_versions_of_here() -> None:
    import ray

    named = submission.packages()
    assert f"ray=={ray.__version__}" in named
    assert {line.partition("==")[0] for line in named} > {"torch", "deltalake", "protobuf"}
    assert not any(line.startswith(("pytest", "raylike")) for line in named)


def test_the_job_joins_the_ray_that_it_runs_on() -> None:
    words = shlex.split(submission.entrypoint(["--workspace", "s3://b/a b"]))
    assert words[words.index("--address") + 1] == "auto"
    assert words[-1] == "s3://b/a b"


def test_the_jobs_process_does_not_stay_in_a_folder_that_may_go(tmp_path: Path) -> None:
    """Ray unpacks the job's folder anew for a second node of the same machine."""
    tells = tmp_path / "bin" / "python"
    tells.parent.mkdir()
    tells.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    tells.chmod(0o755)
    folder = tmp_path / "unpacked here"
    folder.mkdir()
    said = subprocess.run(
        submission.entrypoint(["--until", "labels"]),
        shell=True, cwd=folder, env={"PATH": str(tells.parent)}, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert said[0] == "/"
    assert said[said.index("--config") + 1] == f"{folder}/raylike.toml"


class Server:
    """A job server that breaks off its log once, and ends the job with `code`."""

    def __init__(self, status: str = "SUCCEEDED", code: int | None = 0) -> None:
        self.info = SimpleNamespace(status=status, driver_exit_code=code)
        self.submitted: dict[str, Any] = {}
        self._broken_off = False

    def submit_job(self, **job: Any) -> str:
        self.submitted = job
        return "job-1"

    async def tail_job_logs(self, _: str) -> AsyncIterator[str]:
        yield "one\n"
        if not self._broken_off:
            self._broken_off = True
            yield "tw"
            raise RuntimeError("closed unexpectedly")
        yield "two\nthree\n"

    def get_job_info(self, _: str) -> SimpleNamespace:
        return self.info


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "LOOK_EVERY_S", 0.01)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [("SUCCEEDED", 0, 0), ("FAILED", 75, 75), ("FAILED", None, 1), ("STOPPED", None, 130)],
)
def test_a_job_is_followed_to_its_end_and_its_exit_code_passed_on(
    monkeypatch: pytest.MonkeyPatch, status: str, code: int | None, expected: int
) -> None:
    server = Server(status, code)
    monkeypatch.setattr(submission, "_connect", lambda _: server)
    result = CliRunner().invoke(app, ["submit", "--workspace", "s3://b/w", "--until", "labels"])
    assert result.exit_code == expected
    assert result.stdout == "one\ntwo\nthree\n"
    assert server.submitted["entrypoint"].endswith("--workspace s3://b/w --until labels")
    assert "uv" not in server.submitted["runtime_env"]


def test_a_server_that_is_gone_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    async def gone(_: str) -> AsyncIterator[str]:
        raise RuntimeError("no route")
        yield ""

    monkeypatch.setattr(submission, "LOST_FOR_S", 0.05)
    monkeypatch.setattr(server, "tail_job_logs", gone)
    monkeypatch.setattr(submission, "_connect", lambda _: server)
    with pytest.raises(ServiceUnavailable, match="no longer answers"):
        submission.Jobs("http://127.0.0.1:1").follow("job-1", lambda _: None)


def test_a_folder_that_would_vanish_with_the_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "_connect", lambda _: Server())
    with pytest.raises(ConfigError, match="lost with the job"):
        submission.Jobs("x").submit("study", [], resolve({}, environ={}))


def test_a_cluster_that_has_only_just_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server, tries = Server(), []

    def starting(**job: Any) -> str:
        tries.append(job)
        if len(tries) < 3:
            raise RuntimeError("Request failed with status code 500: No available agent to submit job..")
        return "job-1"

    monkeypatch.setattr(server, "submit_job", starting)
    monkeypatch.setattr(submission, "_connect", lambda _: server)
    assert submission.Jobs("x").submit("s3://b/w", [], resolve({}, environ={})) == "job-1"
    assert len(tries) == 3


def test_a_server_that_takes_no_job_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> str:
        raise RuntimeError("Request failed with status code 500: No available agent to submit job..")

    monkeypatch.setattr(submission, "STARTS_WITHIN_S", 0.05)
    server = Server()
    monkeypatch.setattr(server, "submit_job", refuse)
    monkeypatch.setattr(submission, "_connect", lambda _: server)
    result = CliRunner().invoke(app, ["submit", "-w", "s3://b/w"])
    assert result.exit_code == 69
    assert "takes no jobs: Request failed with status code 500: No available agent" in result.stderr


def test_nothing_that_listens_is_one_line() -> None:
    result = CliRunner().invoke(app, ["submit", "-w", "s3://b/w", "--address", "http://127.0.0.1:1"])
    assert result.exit_code == 69
    assert "takes no jobs: Connection refused" in result.stderr
