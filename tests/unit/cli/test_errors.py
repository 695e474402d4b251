"""How commands end: one line, the right code, nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike import errors, pipeline
from raylike.errors import RaylikeError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaylikeError)]
ROOT = Path(__file__).parents[3]
Run = Callable[..., Any]


@pytest.fixture
def run_raising(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`raylike run-all` whose pipeline raises the given error."""

    def run(error: BaseException, *arguments: str) -> Any:
        def broken(*_: object, **__: object) -> None:
            raise error

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(pipeline, "run_all", broken)
        return CliRunner().invoke(app, ["run-all", "-w", str(tmp_path / "w"), *arguments])

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_ends_with_its_code_and_its_hint(run_raising: Run, kind: type[RaylikeError]) -> None:
    result = run_raising(kind("is wrong", "there", "do this"))
    assert result.exit_code == kind.exit_code
    assert result.stderr == "raylike: there: is wrong\n  hint: do this\n"
    assert result.stdout == ""


def test_with_json_an_error_is_also_an_event(run_raising: Run) -> None:
    result = run_raising(errors.TryAgainLater("limits are used up", "instagram", "wait"), "--json")
    event = json.loads(result.stdout.splitlines()[-1])
    assert event.pop("time")
    assert event == {
        "event": "error", "what": "limits are used up", "where": "instagram", "hint": "wait", "exit_code": 75,
    }  # fmt: skip


def test_a_bug_is_one_line_and_its_traceback_is_kept(run_raising: Run, tmp_path: Path) -> None:
    result = run_raising(ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert "internal error: ZeroDivisionError: division by zero" in result.stderr
    assert "Traceback" not in result.stderr
    (log,) = (tmp_path / "w" / "logs").iterdir()
    assert str(log) in result.stderr
    assert "ZeroDivisionError" in log.read_text()


def test_debug_shows_the_traceback(run_raising: Run, tmp_path: Path) -> None:
    result = run_raising(ZeroDivisionError("division by zero"), "--debug")
    assert "Traceback" in result.stderr
    assert not (tmp_path / "w" / "logs").exists()


def test_a_full_disk_is_no_bug(run_raising: Run) -> None:
    result = run_raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"))
    assert result.exit_code == 73
    assert "/data/x: cannot be written: No space left" in result.stderr


def test_an_interrupted_run_says_how_to_go_on(run_raising: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # In this process: its descendants are not the run's, but the Ray that other tests share.
    monkeypatch.setattr("raylike.processes.kill_descendants", lambda: None)
    result = run_raising(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr.startswith("raylike: interrupted\n  hint: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run-al"], "No such command 'run-al'. Did you mean 'run-all'"),
        (["run-all", "--from", "face"], "Did you mean 'faces'?"),
        (["run-all", "--force", "xyz"], "One of: collect, followers"),
        (["run-all", "--seed", "-1"], "--seed"),
        (["run-all", "--preset", "desktop"], "'laptop', 'study'"),
        (["run-all", "--nonsense"], "--nonsense"),
        (["run-all", "--set", "faces.sise_px=3"], "did you mean faces.size_px?"),
        (["run-all", "--set", "faces.size_px=0"], "faces.size_px = 0 is not allowed"),
        (["run-all", "--set", "nothing"], "section.field=value"),
        (["run-all", "--config", "absent.toml"], "absent.toml: cannot be read"),
        (["run-all", "--from", "rank", "--until", "faces"], "stage rank comes after faces"),
        (["export", "label", "-o", "x.csv"], "did you mean labels?"),
        (["export", "labels", "-o", "x.xlsx"], "--format parquet, csv, jsonl"),
        (["export", "labels", "-o", "-"], "--format parquet, csv, jsonl"),
        (["status", "--set", "a=1"], "'a' is no setting"),
    ],
)
def test_wrong_usage_is_code_2_and_says_what_is_meant(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


WITH_A_CHILD = """
import subprocess, sys, time
from raylike import pipeline

def run_all(*_, **__):
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; "
        "signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE)
    child.stdout.readline()
    try:
        print(child.pid, file=sys.stderr, flush=True)
        time.sleep(600)
    finally:
        {clean_up}

pipeline.run_all = run_all
from cli.main import app
app()
"""


@pytest.mark.parametrize("clean_up", ["child.wait()  # never ends", "pass  # leaves the child behind"])
def test_ctrl_c_ends_everything_in_three_seconds_however_bad_the_clean_up(
    clean_up: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_A_CHILD.format(clean_up=clean_up), "run-all", "-w", str(tmp_path / "w")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        assert process.stderr is not None
        child = psutil.Process(int(process.stderr.readline()))
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert time.monotonic() - started < 3
    assert ended(child)


def ended(process: psutil.Process, within_s: float = 5.0) -> bool:
    """Whether it ends in time: the kernel takes a moment after SIGKILL, and nobody may collect it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
    return False


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from cli.main import app; app()' config show --json; echo $? >&2"
    shell = subprocess.run(
        ["bash", "-c", f"({command}) | true"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shell.stderr.strip() in ("141", "0")
