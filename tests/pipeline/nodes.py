"""Ray nodes on this machine, each with a loopback address of its own, that can be lost as real ones can.

The head has no CPU, so that all work is on nodes that may go. Only processes started while they are there can
join them: they learn from the environment to look on loopback.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from tests.pipeline.conftest import Outcome, start

OBJECT_STORE_BYTES = 200 * 2**20
STARTS_TRIED = 3
"""Ray gives a raylet 30 s to come up, which a busy machine may not have."""
NOT_YET = "not yet"


class Nodes:
    """A head at 127.0.0.1 and worker nodes at 127.0.0.2 and on."""

    def __init__(self, workers: int, temp_dir: Path, cpus: int = 1) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray takes 127.0.0.1 for what it says
        # Ray notes the address there, too, and does not make the folder.
        Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray").mkdir(parents=True, exist_ok=True)
        self._node: dict[str, Any] = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE_BYTES}
        self._temp_dir = temp_dir
        self._last = 1
        head = self._node | self._place(1) | {"num_cpus": 0, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.workers: list[Any] = []
        for _ in range(workers):
            self.add()

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return str(self._cluster.address)

    def add(self) -> None:
        """One more worker node."""
        for attempt in range(STARTS_TRIED):
            self._last += 1
            try:
                node = self._cluster.add_node(**self._node, **self._place(self._last))
            except Exception:  # whatever a raylet that comes up too late looks like
                if attempt == STARTS_TRIED - 1:
                    raise
            else:
                self.workers.append(node)
                return

    def _place(self, number: int) -> dict[str, str]:
        """Nodes that shared a folder would unpack packages over each other's."""
        return {"node_ip_address": f"127.0.0.{number}", "temp_dir": str(self._temp_dir / str(number))}

    def lose(self, number: int) -> None:
        """SIGKILL every process of a worker node."""
        self._cluster.remove_node(self.workers.pop(number), allow_graceful=False)

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


def numbers_that_ran(actor: str, temp_dir: Path) -> set[str]:
    """The nodes on which an actor of this class had a process, by their numbers; its log says so."""
    logs = temp_dir.glob("*/session_*/logs/worker-*.err")
    found = (
        log.relative_to(temp_dir).parts[0] for log in logs if f":actor_name:{actor}\n" in log.read_text()
    )
    return set(found)


@contextmanager
def nodes(workers: int, temp_dir: Path, cpus: int = 1) -> Iterator[Nodes]:
    """Nodes for the length of the block."""
    made = Nodes(workers, temp_dir, cpus)
    try:
        yield made
    finally:
        made.close()


def run_and_lose(
    arguments: Sequence[str],
    made: Nodes,
    moments: dict[str, float],
    ray_tmpdir: Path,
    generator: random.Random,
) -> tuple[Outcome, list[str]]:
    """Run `raylike ARGUMENTS` on the nodes; in each stage of `moments` one is lost and a new one comes.

    Parameters
    ----------
    moments : stage -> seconds after its start

    Returns
    -------
    what the run said, and the stages that were still at work when a node was lost
    """
    process = start([*arguments, "--address", made.address, "--json"], ray_tmpdir)
    said: Queue[str] = Queue()
    reader = threading.Thread(target=_read, args=(process, said))
    reader.start()
    events: list[dict[str, Any]] = []
    lost: list[str] = []
    due: dict[str, float] = {}  # the stage at work -> when to lose a node
    while line := _next_line(said, next(iter(due.values()), None)):
        if line == NOT_YET:
            (stage,), due = due, {}
            made.lose(generator.randrange(len(made.workers)))
            made.add()
            lost.append(stage)
            continue
        events.append(json.loads(line))
        event, stage = events[-1]["event"], events[-1].get("stage", "")
        if event == "stage_started" and stage in moments:
            due[stage] = time.monotonic() + moments[stage]
        elif event == "stage_finished":
            due = {}
    reader.join()
    with process:
        assert process.stderr is not None
        stderr = process.stderr.read()
    return Outcome(process.returncode, events, stderr), lost


def _read(process: subprocess.Popen[str], said: Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        said.put(line)
    said.put("")


def _next_line(said: Queue[str], until: float | None) -> str:
    """What the run says next, empty at its end; `NOT_YET` if it says nothing until then."""
    try:
        return said.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
    except Empty:
        return NOT_YET
