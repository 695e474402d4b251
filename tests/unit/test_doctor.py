"""The doctor: what facts mean for a run, and what it finds on this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from raylike import doctor
from raylike.config import Settings, resolve
from raylike.doctor import Finding, checks
from raylike.doctor.facts import MachineFacts, is_loopback, is_ray, survey
from raylike.errors import ServiceUnavailable
from raylike.workspace import Workspace

GOOD = MachineFacts(
    name="here",
    versions={"python": "3.11.7", "ray": "2.60.0"},
    clock=0.0,
    memory_gib=24.0,
    disk_free_gib={"/data": 50.0},
    descriptors=65536,
    gpus=(),
    open_ports=(),
    unreached={},
)


def verdicts(findings: Iterator[Finding] | list[Finding]) -> dict[str, str]:
    return {finding.about: finding.verdict for finding in findings}


@pytest.mark.parametrize(
    ("change", "about", "verdict", "exit_code"),
    [
        ({}, "disk", "ok", 0),
        ({"memory_gib": 4.0}, "memory", "warning", 0),
        ({"disk_free_gib": {"/data": 5.0}}, "disk", "warning", 0),
        ({"disk_free_gib": {"/data": 0.5}}, "disk", "bad", 73),
        ({"descriptors": 256}, "descriptors", "warning", 0),
        ({"unreached": {"api:443": "no answer"}}, "network", "bad", 69),
        ({"unreached": {"weights:443": "no answer"}}, "network", "warning", 0),
    ],
)
def test_a_machine_is_judged(change: dict[str, Any], about: str, verdict: str, exit_code: int) -> None:
    found = list(checks.machine(replace(GOOD, **change), Settings(), {"api:443": "the API"}))
    (finding,) = (finding for finding in found if finding.about == about)
    assert (finding.verdict, finding.exit_code) == (verdict, exit_code)


def test_a_node_of_another_version_is_named_with_both_versions() -> None:
    other = replace(GOOD, name="node", versions={"python": "3.11.7", "ray": ""})
    found = list(checks.versions(GOOD, [GOOD, other]))
    assert [finding.verdict for finding in found] == ["ok", "bad"]
    assert found[1].says == "ray missing instead of 2.60.0"


@pytest.mark.parametrize(
    ("skew_s", "uncertain_s", "verdict"),
    [
        (0.01, 0.02, "ok"),
        (-9.0, 0.1, "warning"),
        (9.0, 8.0, "ok"),
        (300.0, 1.0, "bad"),
        (-300.0, 100.0, "warning"),
    ],
)
def test_a_clock_is_wrong_only_as_far_as_that_is_certain(
    skew_s: float, uncertain_s: float, verdict: str
) -> None:
    assert checks.clock("node", skew_s, uncertain_s).verdict == verdict


@pytest.mark.parametrize(
    ("n_with", "device", "verdict"),
    [(0, "auto", "ok"), (1, "auto", "ok"), (0, "cuda", "bad"), (0, "cpu", "ok")],
)
def test_a_gpu_that_is_asked_for_has_to_be_there(n_with: int, device: str, verdict: str) -> None:
    machines = [replace(GOOD, gpus=("H100",) if i < n_with else ()) for i in range(2)]
    finding = checks.gpus(machines, device)
    assert finding.verdict == verdict
    assert ("1 of 2" in finding.says) == (n_with == 1)


@pytest.mark.parametrize(("asks", "verdict"), [(True, "ok"), (False, "bad"), (None, "warning")])
def test_ports_that_strangers_reach_must_ask_for_a_token(asks: bool | None, verdict: str) -> None:
    open_to_all = replace(GOOD, open_ports=("0.0.0.0:8265",))
    assert verdicts(checks.exposure([open_to_all], asks)) == {"ports": verdict}
    assert verdicts(checks.exposure([GOOD], asks)) == {"ports": "ok"}


def test_what_cannot_be_reached_is_told_with_its_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert survey([], [("127.0.0.1", port)]).unreached == {}
    assert survey([], [("127.0.0.1", port)]).unreached == {f"127.0.0.1:{port}": "Connection refused"}


def test_the_disk_of_a_folder_that_is_not_there_yet_is_looked_at(tmp_path: Path) -> None:
    folder = str(tmp_path / "not" / "there")
    facts = survey([folder], [])
    assert facts.disk_free_gib[folder] > 0
    assert facts.versions["ray"]
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("word", "expected"),
    [("/x/ray/core/raylet/raylet", True), ("gcs_server", True), ("/x/ray/dashboard/agent.py", True),
     ("/usr/bin/python", False), ("raylike", False)],
)  # fmt: skip
def test_rays_own_processes_are_known(word: str, expected: bool) -> None:
    assert is_ray(word) is expected


def test_loopback_is_every_address_of_this_machine_alone() -> None:
    assert [is_loopback(a) for a in ("127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", "::", "10.0.0.1")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def settings(**flags: Any) -> Settings:
    return resolve(flags, environ={}).settings


def test_a_network_without_a_token_is_bad(workspace_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYLIKE_TOKENS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace_path))
    chosen = settings(source={"name": "mastodon", "base_url": "https://127.0.0.1:1"})
    found = doctor.examine(Workspace(workspace_path), chosen)
    wrong = {finding.about: finding.exit_code for finding in found if finding.verdict == "bad"}
    assert wrong == {"tokens": 77, "network": 69}


def test_a_folder_that_cannot_be_made_is_bad(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = doctor.examine(Workspace(blocked / "workspace"), settings())
    assert {f.exit_code for f in found if f.about == "workspace"} == {73}


def test_a_cluster_that_does_not_answer_is_told_within_seconds(workspace_path: Path) -> None:
    found = doctor.examine(Workspace(workspace_path), settings(ray={"address": "127.0.0.1:1"}))
    (ray,) = (finding for finding in found if finding.about == "Ray")
    assert (ray.verdict, ray.exit_code) == ("bad", ServiceUnavailable.exit_code)
    assert ray.says == "127.0.0.1:1: no Ray can be joined there: Connection refused"


def test_the_command_ends_with_the_code_of_what_is_bad(workspace_path: Path) -> None:
    arguments = ["doctor", "--workspace", str(workspace_path), "--device", "cuda"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "BAD   GPU: --device cuda: no GPU was found" in result.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert {"about", "machine", "verdict", "says", "hint", "exit_code"} == found[0].keys()
    assert not workspace_path.exists()
