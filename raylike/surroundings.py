"""What stages need around them: a Ray session, and the simulator where that is the network.

Knows how both are started and that they end with the run. Knows nothing of stages.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from raylike import cluster
from raylike.config import Settings
from raylike.errors import ServiceUnavailable
from raylike.machines import Machines, this_machine
from raylike.processes import end_at_once
from raylike.progress import Progress


class Surroundings:
    """Started when the first stage asks, and ended with the `stack`."""

    def __init__(self, stack: ExitStack, settings: Settings, progress: Progress) -> None:
        self._stack = stack
        self._settings = settings
        self._progress = progress
        self._session: cluster.Session | None = None
        self._announced = False
        self._connected: Settings | None = None

    def prepare_ray(self) -> None:
        """Begin to start Ray, in the background."""
        if self._session is None:
            self._session = cluster.Session(self._settings.ray, self._head_lost)
            self._stack.callback(self._session.stop)
            self._session.start()

    def ray(self) -> None:
        """Wait until Ray is there, and say once where its dashboard is."""
        self.prepare_ray()
        assert self._session is not None
        self._session.wait()
        if self._session.dashboard_url and not self._announced:
            self._announced = True
            self._progress.note(f"Ray dashboard: {self._session.dashboard_url} ({cluster.sign_in_hint()})")

    def _head_lost(self) -> None:
        """End the run, from whichever thread: calls to Ray would wait until Ray ends the process."""
        error = ServiceUnavailable(
            "the cluster's head no longer answers",
            self._settings.ray.address,
            "what was committed is kept: the same command goes on when it is back",
        )
        self._progress.run_failed(str(error), error.exit_code)
        print(f"raylike: {error}", file=sys.stderr, flush=True)
        end_at_once(error.exit_code)

    def machines(self) -> Machines:
        """This machine, as far as it is known before Ray is up; of a cluster the nodes, once it is joined."""
        if self._settings.ray.address == "local":
            return this_machine(self._settings.ray.num_cpus)
        self.ray()
        return cluster.machines(self._settings.ray)

    def network(self) -> Settings:
        """The settings with the address of the network in them; starts the simulator if that is it."""
        if self._settings.source.name != "simulator":
            return self._settings
        if self._connected is None:
            from raylike.simulator import process

            chosen = self._settings.simulator
            simulator = self._stack.enter_context(
                process.start(
                    process.SimulatorOptions(
                        seed=self._settings.seed,
                        users=chosen.users,
                        tokens=chosen.tokens,
                        rate_limit=chosen.rate_limit,
                        latency_s=chosen.latency_s,
                        faults=chosen.faults,
                    )
                )
            )
            source = self._settings.source.model_copy(
                update={
                    "base_url": simulator.base_url,
                    "resolve": simulator.resolve,
                    "tokens": tuple(simulator.tokens),
                }
            )
            self._connected = self._settings.model_copy(update={"source": source})
        return self._connected
