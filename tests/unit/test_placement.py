"""What stages ask of the machines, and what is refused because no machine can give it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylike import machines as machines_module
from raylike import placement
from raylike.cluster import adds_nodes
from raylike.config import Layer, Settings, resolve
from raylike.errors import ConfigError, RaylikeError, ServiceUnavailable
from raylike.machines import Machines, Node, visible
from raylike.placement import Ask, Work
from raylike.stage_names import STAGE_NAMES

LAPTOP = Machines((Node("this machine", 2),))
FOUR_SMALL = Machines(tuple(Node(f"n{i}", 1) for i in range(4)), "head:6379")
MIXED = Machines((Node("head", 4), Node("a", 8), Node("b", 8, 1), Node("c", 8, 1)), "head:6379")
CROWDED = Machines((Node("a", 16), Node("b", 2, 4)), "head:6379")
NO_CPU = Machines((Node("head", 0),), "head:6379")
TOKENS = Work(tokens=20)


def settings(layer: Layer | None = None) -> Settings:
    return resolve(layer, environ={}).settings


@pytest.mark.parametrize(
    ("stage", "layer", "machines", "work", "asked"),
    [
        ("collect", {}, LAPTOP, TOKENS, []),
        ("followers", {}, LAPTOP, TOKENS, ["4 token processes with 0.01 CPUs each"]),
        ("followers", {}, LAPTOP, Work(), []),
        ("followers", {}, LAPTOP, Work(tokens=20, look_ups=False), []),
        ("download", {}, MIXED, Work(downloads=5000), ["2 downloaders with 0.1 CPUs each"]),
        ("faces", {}, MIXED, Work(), ["28 detector tasks with 1 CPU each"]),
        ("features", {}, LAPTOP, Work(), ["2 model processes with 0.5 CPUs each"]),
        ("features", {}, MIXED, Work(), ["2 model processes with 1 CPU and 1 GPU each"]),
        ("features", {"device": "cpu"}, LAPTOP, Work(features=9), ["1 model process with 1 CPU"]),
        ("classify", {}, LAPTOP, Work(), []),
        ("finetune", {}, LAPTOP, Work(), ["1 training worker with 1 CPU"]),
        ("finetune", {"finetune": {"workers": 2}}, MIXED, Work(),
         ["2 training workers with 1 CPU and 1 GPU each"]),
        ("finetune", {}, LAPTOP, Work(streams=True),
         ["1 training worker with 1 CPU", "1 task at photos with 1 CPU"]),
        ("tune", {}, MIXED, Work(), ["2 trials with 1 CPU and 1 GPU each"]),
    ],
)  # fmt: skip
def test_what_a_stage_asks_for(
    stage: str, layer: Layer, machines: Machines, work: Work, asked: list[str]
) -> None:
    assert [str(ask) for ask in placement.asks(stage, settings(layer), machines, work)] == asked


@pytest.mark.parametrize(
    ("stage", "layer", "machines", "work", "kind", "says"),
    [
        ("finetune", {"finetune": {"workers": 4}}, LAPTOP, Work(), ConfigError, "there is room for 2"),
        ("finetune", {"finetune": {"workers": 3}}, MIXED, Work(), ConfigError, "there is room for 2"),
        ("finetune", {"finetune": {"workers": 4}}, FOUR_SMALL, Work(streams=True), ConfigError, "room for 3"),
        ("download", {"download": {"actors": 50}}, LAPTOP, Work(), ConfigError, "there is room for 20"),
        ("features", {"features": {"actors": 5}}, MIXED, Work(), ConfigError, "there is room for 2"),
        ("features", {}, CROWDED, Work(), ServiceUnavailable, "there is room for 2"),
        ("followers", {"collect": {"tokens_per_actor": 1}}, LAPTOP, Work(tokens=1000), ConfigError, "200"),
        ("faces", {}, NO_CPU, Work(), ServiceUnavailable, "no node has that"),
        ("tune", {"device": "cuda"}, LAPTOP, Work(), ConfigError, "there is none"),
    ],
)
def test_what_no_machine_can_give_is_refused(
    stage: str, layer: Layer, machines: Machines, work: Work, kind: type[RaylikeError], says: str
) -> None:
    error = placement.refusal(stage, settings(layer), machines, work)
    assert type(error) is kind
    assert f"{stage} asks for" in str(error)
    assert says in str(error)
    assert error.hint


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_what_just_fits_is_not_refused(workers: int) -> None:
    chosen = settings({"finetune": {"workers": workers}, "device": "cpu"})
    for streams in (False, True):
        assert placement.refusal("finetune", chosen, FOUR_SMALL, Work(streams=streams)) is None


@given(cpus=st.integers(1, 256), gpus=st.integers(0, 8), tokens=st.integers(1, 5000), streams=st.booleans())
def test_what_raylike_chooses_for_itself_fits_on_any_one_machine(
    cpus: int, gpus: int, tokens: int, streams: bool
) -> None:
    """So that a run on one machine need not be checked unless the user has wishes."""
    chosen = settings()
    assert not placement.has_wishes(chosen)
    one = Machines((Node("here", max(cpus, gpus), gpus),))
    for stage in STAGE_NAMES:
        assert placement.refusal(stage, chosen, one, Work(tokens=tokens, streams=streams)) is None


@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 4)), min_size=1, max_size=5),
    st.integers(1, 40), st.integers(1, 100), st.integers(0, 2),
)  # fmt: skip
def test_no_node_is_given_more_than_it_has(
    nodes: list[tuple[int, int]], count: int, hundredths: int, gpus: int
) -> None:
    ask = Ask("x", count, hundredths / 100, gpus, needed=count)
    ((_, placed),) = placement.place([ask], [Node(str(i), *node) for i, node in enumerate(nodes)])
    most = sum(
        min(100 * cpus // hundredths, *([having // gpus] if gpus else [10**6])) for cpus, having in nodes
    )
    assert placed == min(count, most)


def test_a_cluster_that_may_grow_is_waited_for() -> None:
    growing = Machines(NO_CPU.nodes, NO_CPU.address, may_grow=True)
    said: list[str] = []
    placement.check(["faces", "tune"], settings({"device": "cuda"}), growing, Work(), said.append)
    assert [line.partition(" asks")[0] for line in said] == ["faces", "tune"]
    assert all("waits for nodes" in line for line in said)
    with pytest.raises(ServiceUnavailable):
        placement.check(["faces"], settings(), NO_CPU, Work(), said.append)


@pytest.mark.parametrize(
    ("active", "groups", "expected"),
    [
        ({}, [""], False),
        ({"node_4fb0": 1, "node_77ab": 1}, ["", ""], False),  # `ray start`: each node a type of its own
        ({"head": 1, "cpu": 2}, [""], True),  # `ray up`
        ({}, ["gpu-group", ""], True),  # KubeRay
    ],
)
def test_ray_tells_whether_nodes_may_be_added(
    active: dict[str, int], groups: list[str], expected: bool
) -> None:
    assert adds_nodes({"autoscaler_report": {"active_nodes": active}} if active else {}, groups) is expected


@pytest.mark.parametrize(
    ("environ", "seen"),
    [({}, 2), ({"CUDA_VISIBLE_DEVICES": "1"}, 1), ({"CUDA_VISIBLE_DEVICES": ""}, 0),
     ({"CUDA_VISIBLE_DEVICES": "-1"}, 0)],
)  # fmt: skip
def test_gpus_that_are_hidden_do_not_count(environ: dict[str, str], seen: int) -> None:
    assert len(visible(("A", "B"), environ)) == seen


def test_this_machine_is_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines_module, "gpu_names", lambda: ())
    here = machines_module.this_machine(3)
    assert (here.cpus, here.gpus, str(here)) == (3, 0, "this machine (3 CPUs, no GPU)")
    assert here.nodes[0].memory_mib > 100
