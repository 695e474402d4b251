"""cluster.yaml: Ray's own validation takes it, and it leaves nothing open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import actors  # noqa: F401  # sets Ray's environment before Ray is imported

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    with (ROOT / "cluster.yaml").open(encoding="utf-8") as file:
        loaded: dict[str, Any] = yaml.safe_load(file)
    return loaded


@pytest.fixture(scope="module")
def prepared(config: dict[str, Any]) -> dict[str, Any]:
    util = pytest.importorskip("ray.autoscaler._private.util")
    filled: dict[str, Any] = util.prepare_config(config)
    util.validate_config(filled)
    return filled


def starts(prepared: dict[str, Any]) -> list[str]:
    commands = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


def test_ray_accepts_it_with_a_head_and_two_kinds_of_workers(prepared: dict[str, Any]) -> None:
    assert set(prepared["available_node_types"]) == {"head", "cpu", "gpu"}
    assert prepared["head_node_type"] == "head"


def test_every_node_starts_with_token_authentication(prepared: dict[str, Any]) -> None:
    assert len(starts(prepared)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts(prepared))
    assert "~/.ray/auth_token" in prepared["file_mounts"]


def test_no_token_stands_in_a_command(config: dict[str, Any]) -> None:
    assert "RAY_AUTH_TOKEN=" not in str(config)


def test_the_dashboard_listens_on_loopback_only(prepared: dict[str, Any]) -> None:
    (head,) = [command for command in starts(prepared) if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in str(prepared)


def test_every_node_is_in_a_security_group_of_ours(config: dict[str, Any]) -> None:
    """Ray's own group would admit SSH from anywhere."""
    for node in config["available_node_types"].values():
        assert node["node_config"]["SecurityGroupIds"]
    assert "security_group" not in config["provider"]


def test_cpu_workers_are_spot_and_the_head_is_not(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    assert types["cpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]


def test_credentials_of_an_instance_need_a_session_and_disks_are_encrypted(config: dict[str, Any]) -> None:
    for node in config["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}
        assert all(disk["Ebs"]["Encrypted"] for disk in node["node_config"]["BlockDeviceMappings"])


def test_setup_is_by_uv(config: dict[str, Any]) -> None:
    assert any("uv sync" in command for command in config["setup_commands"])
