"""deploy/ and the Dockerfile: valid where that can be checked without a cloud, closed, and consistent."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import actors  # noqa: F401  # sets Ray's environment before Ray is imported
from cli.main import app

ROOT = Path(__file__).parents[2]
GCP, RAYJOB, DOCKERFILE = (
    ROOT / "deploy/gcp-cluster.yaml", ROOT / "deploy/kuberay/rayjob.yaml", ROOT / "Dockerfile"
)  # fmt: skip

RAY_JOB_FIELDS = {
    "activeDeadlineSeconds", "backoffLimit", "entrypoint", "rayClusterSpec", "runtimeEnvYAML",
    "shutdownAfterJobFinishes", "submissionMode", "ttlSecondsAfterFinished",
}  # fmt: skip
RAY_CLUSTER_FIELDS = {
    "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "rayVersion",
    "workerGroupSpecs",
}  # fmt: skip
HEAD_FIELDS = {"labels", "rayStartParams", "resources", "serviceType", "template"}
WORKER_FIELDS = {
    "groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "rayStartParams", "replicas",
    "resources", "template",
}  # fmt: skip
"""Those of KubeRay's reference for ray.io/v1 that raylike has a use for."""

Spec = dict[str, Any]


@pytest.fixture(scope="module")
def gcp() -> Spec:
    loaded: Spec = yaml.safe_load(GCP.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def prepared(gcp: Spec) -> Spec:
    util = pytest.importorskip("ray.autoscaler._private.util")
    filled: Spec = util.prepare_config(gcp)
    util.validate_config(filled)
    return filled


@pytest.fixture(scope="module")
def aws() -> Spec:
    loaded: Spec = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def documents() -> dict[str, Spec]:
    return {d["kind"]: d for d in yaml.safe_load_all(RAYJOB.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def cluster(documents: dict[str, Spec]) -> Spec:
    spec: Spec = documents["RayJob"]["spec"]["rayClusterSpec"]
    return spec


def groups(cluster: Spec) -> list[Spec]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def containers(cluster: Spec) -> list[Spec]:
    return [c for group in groups(cluster) for c in group["template"]["spec"]["containers"]]


def check_command(command: str) -> None:
    """A `raylike` command line whose command and options all exist."""
    words = command.split()
    assert words[0] == "raylike"
    shown = CliRunner().invoke(app, [words[1], "--help"], terminal_width=200, env={"COLUMNS": "200"}).stdout
    for option in [word for word in words if word.startswith("--")]:
        assert option in shown, option


# GCP


def test_ray_accepts_the_gcp_file_with_the_same_kinds_of_nodes_as_for_aws(prepared: Spec, aws: Spec) -> None:
    assert set(prepared["available_node_types"]) == set(aws["available_node_types"])
    for name, node in aws["available_node_types"].items():
        for bound in ("min_workers", "max_workers"):
            if bound in node:
                assert prepared["available_node_types"][name][bound] == node[bound]


def test_gcp_nodes_start_with_token_authentication_and_the_dashboard_on_loopback(prepared: Spec) -> None:
    commands = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in next(command for command in starts if "--head" in command)
    assert "0.0.0.0" not in GCP.read_text(encoding="utf-8")
    assert "RAY_AUTH_TOKEN=" not in GCP.read_text(encoding="utf-8")
    assert "~/.ray/auth_token" in prepared["file_mounts"]


def test_gcp_nodes_are_in_a_network_of_our_own(gcp: Spec) -> None:
    """The default network admits SSH from anywhere."""
    for node in gcp["available_node_types"].values():
        (interface,) = node["node_config"]["networkInterfaces"]
        assert interface["subnetwork"].endswith("/subnetworks/raylike")
        assert node["node_config"]["tags"] == {"items": ["raylike"]}


def test_gcp_cpu_workers_are_spot_and_others_are_not(gcp: Spec) -> None:
    types = gcp["available_node_types"]
    assert types["cpu"]["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
    assert "scheduling" not in types["head"]["node_config"]
    assert "provisioningModel" not in types["gpu"]["node_config"]["scheduling"]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_workers_reach_storage_by_a_role_of_their_own(request: pytest.FixtureRequest, cloud: str) -> None:
    types = request.getfixturevalue(cloud)["available_node_types"]
    for name in ("cpu", "gpu"):
        node = types[name]["node_config"]
        role = node["IamInstanceProfile"]["Name"] if cloud == "aws" else node["serviceAccounts"][0]["email"]
        assert role.startswith("raylike-worker")


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_there_are_cpus_and_gpus_from_the_start(request: pytest.FixtureRequest, cloud: str) -> None:
    """Stages share out work over what is there when they begin."""
    types = request.getfixturevalue(cloud)["available_node_types"]
    assert types["cpu"]["min_workers"] >= 1
    assert types["gpu"]["min_workers"] >= 1


@pytest.mark.parametrize("file", ["cluster.yaml", "deploy/gcp-cluster.yaml"])
def test_the_commands_in_a_files_header_exist(file: str) -> None:
    header = re.sub(r"\\\n#\s*", "", (ROOT / file).read_text(encoding="utf-8"))
    (command,) = re.findall(r"ray exec \S+ +'(raylike [^']+)'", header)
    check_command(command)


# Kubernetes


def test_the_ray_job_has_only_fields_that_kuberay_knows(documents: dict[str, Spec], cluster: Spec) -> None:
    job = documents["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert set(job["spec"]) <= RAY_JOB_FIELDS
    assert set(cluster) <= RAY_CLUSTER_FIELDS
    assert set(cluster["headGroupSpec"]) <= HEAD_FIELDS
    assert all(set(group) <= WORKER_FIELDS for group in cluster["workerGroupSpecs"])


def test_the_ray_job_runs_a_command_that_exists(documents: dict[str, Spec]) -> None:
    check_command(documents["RayJob"]["spec"]["entrypoint"])


def test_kubernetes_pods_need_a_token_and_nothing_is_reachable_from_outside(
    documents: dict[str, Spec], cluster: Spec
) -> None:
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not any("ports" in container for container in containers(cluster))
    assert not {"hostNetwork", "hostPort"} & set(re.findall(r"\w+", str(documents)))
    policy = documents["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert all("ipBlock" not in source for rule in policy["ingress"] for source in rule["from"])
    for group in groups(cluster):
        assert policy["podSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()


def test_the_cluster_grows_shrinks_and_goes_away(documents: dict[str, Spec], cluster: Spec) -> None:
    assert cluster["enableInTreeAutoscaling"] is True
    assert documents["RayJob"]["spec"]["shutdownAfterJobFinishes"] is True
    for group in cluster["workerGroupSpecs"]:
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_there_are_cpu_and_gpu_pods_and_the_head_takes_no_photos(cluster: Spec) -> None:
    limits = {
        group["groupName"]: group["template"]["spec"]["containers"][0]["resources"]["limits"]
        for group in cluster["workerGroupSpecs"]
    }
    assert set(limits) == {"cpu", "gpu"}
    assert "nvidia.com/gpu" not in limits["cpu"]
    assert limits["gpu"]["nvidia.com/gpu"] == "1"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}


def test_pods_are_not_root_and_reach_storage_by_service_account(
    documents: dict[str, Spec], cluster: Spec
) -> None:
    account = documents["ServiceAccount"]["metadata"]
    assert "eks.amazonaws.com/role-arn" in account["annotations"]
    for group in groups(cluster):
        pod = group["template"]["spec"]
        assert pod["serviceAccountName"] == account["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True
    for container in containers(cluster):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    assert "AWS_SECRET" not in RAYJOB.read_text(encoding="utf-8")


def test_networks_tokens_are_the_drivers_alone(cluster: Spec) -> None:
    assert [bool(c.get("envFrom")) for c in containers(cluster)] == [True, False, False]


def test_image_and_versions_agree(cluster: Spec) -> None:
    (image,) = {container["image"] for container in containers(cluster)}
    assert image == f"REGISTRY/raylike:{version('raylike')}"
    assert image in DOCKERFILE.read_text(encoding="utf-8")
    assert cluster["rayVersion"] == version("ray")


# The image


def test_the_image_is_not_root_and_the_pods_run_as_its_user(cluster: Spec) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert int(user) > 0
    for group in groups(cluster):
        assert group["template"]["spec"]["securityContext"]["runAsUser"] == int(user)


def test_the_image_is_built_from_named_versions_by_uv() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    images = re.findall(r"(?:^FROM |--from=)(\S+)", text, re.MULTILINE)
    assert all(":" in image and not image.endswith(":latest") for image in images if image != "build")
    assert text.count("uv sync --locked --no-dev") == 2
    assert "ADD " not in text


def test_the_image_holds_only_what_is_shipped() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == allowed
    assert all((ROOT / name).exists() for name in allowed - {"uv.lock"})
