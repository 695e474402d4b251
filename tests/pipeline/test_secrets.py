"""A run against a network, with tokens in a file: nothing that it leaves behind holds one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from raylike import Workspace
from raylike.simulator.process import Simulator, SimulatorOptions, start
from tests.pipeline.conftest import raylike

pytestmark = [pytest.mark.ray, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    faults = {"error_500": 0.05, "reset": 0.02, "token_revoked": 0.5}
    with start(SimulatorOptions(users=150, tokens=2, faults=faults)) as running:
        yield running


def test_no_token_is_in_anything_that_a_run_leaves_behind(
    simulator: Simulator, ray_tmpdir: Path, tmp_path: Path
) -> None:
    secrets = [token.get_secret_value() for token in simulator.tokens]
    store, workspace = tmp_path / "tokens", tmp_path / "workspace"
    store.touch(mode=0o600)
    store.write_text("".join(f"friend-{i}={secret}\n" for i, secret in enumerate(secrets)))
    source = ["--source", "instagram_v1", "--base-url", simulator.networks["instagram_v1"],
              "--token-store", str(store), "--allow-private-addresses"]  # fmt: skip
    outcome = raylike(
        ["run-all", "--workspace", str(workspace), *source, "--until", "followers", "--no-dashboard"],
        ray_tmpdir,
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert Workspace(workspace).rows("users") > 50
    said = [event["text"] for event in outcome.of("note")]
    assert any("friend-0" in text for text in said), "the revoked token is named, by its alias"
    left = [path for root in (workspace, ray_tmpdir) for path in root.rglob("*") if path.is_file()]
    assert len(left) > 20
    everything = [(str(path), path.read_bytes()) for path in left if os.access(path, os.R_OK)]
    everything.append(("what it said", repr((outcome.events, outcome.stderr)).encode()))
    for secret in secrets:
        assert [name for name, content in everything if secret.encode() in content] == []
