"""Ray for one run: start it quietly on this machine, or join a cluster, and end it with the run.

Knows Ray's start-up and its resources. Knows nothing of stages.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import actors  # noqa: F401  # sets Ray's environment before Ray is imported
from raylike import head_watch
from raylike.config import RaySettings
from raylike.errors import ConfigError, ServiceUnavailable
from raylike.machines import MIB, Machines, Node

if TYPE_CHECKING:
    import ray.data

T = TypeVar("T")

NAMESPACE = "raylike"
REACH_TIMEOUT_S = 5.0
"""Within this a cluster's address must take a connection."""
UNCONFIGURED = "node_"
"""How Ray's autoscaler names the type of a node that was not started by it: with the node's id behind."""
BLOCK_MIB = 16
"""Largest block of a Ray data set. Ray Data sets room aside for blocks as large as its default of 128 MiB,
and with little room in the object store a pipeline then waits tens of seconds for nothing."""


class Session:
    """One Ray session, started in the background while the driver does other things.

    Starting takes 6-10 s, nearly all of it waiting for Ray's own processes. The thread that starts
    them stays until `stop`: Ray asks the kernel to end its processes with their parent, and to Linux
    that parent is the thread, not the process.
    """

    def __init__(self, settings: RaySettings, head_lost: Callable[[], None] | None = None) -> None:
        """
        Parameters
        ----------
        head_lost : called, from a thread, when a cluster that was joined has had no head for a while
        """
        self._settings = settings
        self._head_lost = head_lost
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="ray-session", daemon=True)
        self.dashboard_url = ""

    def start(self) -> None:
        """Begin to start Ray; returns at once."""
        if self._thread.ident is None:
            self._thread.start()

    def wait(self) -> None:
        """Return when Ray can be used. Raises `ServiceUnavailable` if it cannot."""
        self.start()
        self._ready.wait()
        if self._error is None:
            return
        why = getattr(self._error, "strerror", None) or str(self._error).splitlines()[0]
        if self._settings.address == "local":
            raise ServiceUnavailable(f"Ray did not start: {why}") from self._error
        raise ServiceUnavailable(
            f"no Ray can be joined there: {why}",
            self._settings.address,
            "is the address right, and are Ray and Python there of the same version as here?",
        ) from self._error

    def stop(self) -> None:
        """End the session, and Ray with it if it was started here."""
        if self._thread.ident is None:
            return
        self._ready.wait()
        if self._error is None:
            import ray

            ray.shutdown()
        self._stop.set()

    def _run(self) -> None:
        try:
            self._init()
        except Exception as error:  # handed to whoever waits
            self._error = error
        finally:
            self._ready.set()
        self._stop.wait()

    def _init(self) -> None:
        local = self._settings.address == "local"
        if local:
            # Ray binds every server of this session to 127.0.0.1 (its own default on Windows and macOS).
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            # One process of Ray Train less: this machine does not preempt itself.
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        import ray

        quieten()
        if local:
            context = ray.init(
                address="local",
                num_cpus=self._settings.num_cpus,
                include_dashboard=self._settings.dashboard,
                dashboard_host="127.0.0.1",
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="ERROR",
            )
        else:
            reach(self._settings.address)
            context = ray.init(
                address=self._settings.address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="ERROR",
            )
            self._watch_head(ray.get_runtime_context().gcs_address)
        self.dashboard_url = f"http://{context.dashboard_url}" if context.dashboard_url else ""
        import ray.data  # 1-2 s, better spent here than in the first stage that needs it

        quieten()
        configure_data()

    def _watch_head(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if self._head_lost is not None:
            watched = (host.strip("[]"), int(port), self._stop, self._head_lost)
            threading.Thread(target=head_watch.watch, args=watched, name="head-watch", daemon=True).start()


def reach(address: str) -> None:
    """Raise `OSError` within seconds if nothing answers at `HOST:PORT` or a URL: Ray tries for minutes."""
    host, _, port = address.rpartition("//")[2].rstrip("/").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=REACH_TIMEOUT_S).close()


def sign_in_hint() -> str:
    """How a person signs in to the dashboard of a session that asks for Ray's token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "sign in with the token in RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or str(Path.home() / ".ray" / "auth_token")
    return f"sign in with the token in {path}"


def quieten() -> None:
    """Keep Ray's own log lines and deprecation notices off the user's screen; its log files get them.

    Ray's libraries set up their loggers when they are imported: call it again after that.
    """
    for name in ("ray", "ray.data", "ray.train", "ray.tune", "ray.serve"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.CRITICAL)
    for category in (FutureWarning, DeprecationWarning, ResourceWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"ray(\.|$)")


def configure_data() -> None:
    """Settings of Ray Data for this driver: no bars, version 1 of its sources (see `actors`)."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.use_datasource_v2 = False
    context.target_max_block_size = BLOCK_MIB * 2**20
    context.print_on_execution_start = False


def from_items(rows: Sequence[Mapping[str, Any]]) -> ray.data.Dataset:
    """A Ray data set of small rows, one a block, so that each can go to whichever process is free."""
    configure_data()
    from ray.data import from_items

    return from_items(list(rows), override_num_blocks=len(rows))


def read_parquet(files: Sequence[str], columns: Sequence[str] | None = None) -> ray.data.Dataset:
    """A Ray data set over Parquet files, one read task a file."""
    import ray

    if not ray.is_initialized():
        raise ConfigError("Ray is not running", "", "start it: `ray.init(address='local')`")
    from ray.data import read_parquet as read

    configure_data()
    return read(list(files), columns=list(columns) if columns else None, override_num_blocks=len(files))


class _Caller:
    """A process on a node that calls what it is given."""

    def wait(self) -> None:
        """Nothing: an answer says that the process is there."""

    def call(self, function: Callable[[], T]) -> T:
        """What the function gives."""
        return function()


@dataclass(frozen=True)
class NodeAnswer(Generic[T]):
    """What a function gave on one node: `value`, or why there is none.

    `asked_at` and `answered_at` are this machine's time, in seconds since 1970.
    """

    node: str
    value: T | None
    error: str
    asked_at: float
    answered_at: float


def on_every_node(function: Callable[[], T], within_s: float = 120.0) -> list[NodeAnswer[T]]:
    """Call a function once on each node that is alive, all at the same time.

    The time of each call is taken from the moment that its node's worker is there, which a first, empty
    call waits for.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    callers = [
        ray.remote(_Caller)
        .options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote()
        for node in alive
    ]
    answers = []
    for node, caller in zip(alive, callers, strict=True):
        name = node["NodeManagerHostname"]
        try:
            ray.get(caller.wait.remote(), timeout=within_s)
            asked_at = time.time()
            value = ray.get(caller.call.remote(function), timeout=within_s)
            answers.append(NodeAnswer(name, value, "", asked_at, time.time()))
        except (ray.exceptions.RayError, ImportError) as error:
            said = str(error).strip().splitlines()
            answers.append(NodeAnswer(name, None, said[-1] if said else type(error).__name__, 0.0, 0.0))
    for caller in callers:
        ray.kill(caller)
    return answers


def machines(settings: RaySettings) -> Machines:
    """The nodes of the session that is up, as the scheduler sees them."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = tuple(
        Node(
            node["NodeManagerHostname"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            int(node["Resources"].get("memory", 0)) // MIB,
        )
        for node in alive
    )
    growing = settings.may_grow if settings.may_grow is not None else _may_grow(alive)
    return Machines(nodes, settings.address, growing)


def _may_grow(nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an autoscaler may add nodes, as far as Ray tells.

    Ray's own autoscaler, as `ray up` starts it, keeps a report in the head: of the types of nodes that it was
    given; without a configuration, of one type a node, by the node's id. A platform may say what the cluster
    can become. KubeRay gives nodes the names of their groups, whether or not these can grow.
    """
    from ray._private.state import state
    from ray.experimental.internal_kv import _internal_kv_get

    report = _internal_kv_get(b"__autoscaling_status")
    groups = [node["Labels"].get("ray.io/node-group", "") for node in nodes]
    return adds_nodes(json.loads(report) if report else {}, groups) or bool(state.get_cluster_config())


def adds_nodes(report: Mapping[str, Any], groups: Sequence[str]) -> bool:
    """Whether an autoscaler's report, or the groups that nodes belong to, tell of types that may be added."""
    types = report.get("autoscaler_report", {}).get("active_nodes", {})
    return any(not name.startswith(UNCONFIGURED) for name in types) or any(groups)


@dataclass(frozen=True)
class Pool:
    """How a batch model is spread over the cluster: processes, and what each may use."""

    size: int
    num_cpus: float
    num_gpus: float
    threads: int


def plan_pool(
    cpus: int,
    gpus: int,
    *,
    n_items: int,
    wanted: int | None = None,
    per_actor: int = 64,
    node_cpus: int | None = None,
) -> Pool:
    """Choose the number of model processes from what there is and what there is to do.

    Parameters
    ----------
    cpus, gpus : of the whole cluster
    n_items : photos to do
    wanted : the user's own choice, if any
    per_actor : photos below which one more process costs more than it brings
    node_cpus : of the largest node, which bounds the threads of a process; empty: all are on one

    Returns
    -------
    One actor a GPU, else one a CPU, with one CPU's worth left over: actors that hold every CPU starve
    Ray Data's own tasks, and the pipeline then hangs without a word.
    """
    most = wanted or (gpus if gpus else cpus)
    size = max(1, min(most, math.ceil(n_items / per_actor)))
    share = math.floor(100 * (cpus - 1) / size) / 100 if cpus > 1 else 0.5
    num_cpus = max(0.01, min(1.0, share))
    return Pool(
        size=size,
        num_cpus=num_cpus,
        num_gpus=1.0 if gpus else 0.0,
        threads=max(1, min(cpus // size, node_cpus or cpus)),
    )


def cpus() -> int:
    """CPUs of the whole cluster."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def nodes() -> int:
    """Nodes that have CPUs."""
    import ray

    return sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())


def node_cpus() -> int:
    """CPUs of the largest node."""
    import ray

    return max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=1)


def gpus(device: str) -> int:
    """GPUs to be used, for `device` auto, cpu or cuda.

    Raises
    ------
    ConfigError : for cuda, where no node has a GPU
    """
    import ray

    found = int(ray.cluster_resources().get("GPU", 0)) if device != "cpu" else 0
    if device == "cuda" and not found:
        raise ConfigError("no GPU was found", "--device cuda", "use --device auto, or a node that has one")
    return found
