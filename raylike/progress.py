"""What a stage says while it works, whoever listens.

A stage receives a `Progress` and tells it how far it is; the command line shows that as a live line,
as plain lines or as JSON events. Knows nothing of terminals.
"""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Receives what happens during a run. Every method returns at once."""

    def run_started(self, run: str) -> None:
        """A run begins; the id is that of its rows in the table `runs`."""

    def stage_started(self, stage: str) -> None:
        """A stage begins; what it will do is not known yet."""

    def expect(self, total: int, unit: str) -> None:
        """The stage in progress has `total` items to do, called `unit` in the plural."""

    def advance(self, done: int = 1, **counts: int) -> None:
        """`done` more items are finished; `counts` says more, such as `failed=2`."""

    def state(self, text: str) -> None:
        """How the stage in progress stands, such as `loss 0.61`: shown until it says another."""

    def note(self, text: str) -> None:
        """One line that the user should see, such as a choice made for them and why."""

    def stage_finished(self, stage: str, summary: dict[str, Any]) -> None:
        """A stage is done or was up to date; `summary` is its report, ready for JSON."""

    def run_failed(self, what: str, exit_code: int) -> None:
        """The process is about to end, with this exit code: nothing else will be said."""


class Silence:
    """Listens to nothing: for tests and for use from Python."""

    def run_started(self, run: str) -> None:
        """Say nothing."""

    def stage_started(self, stage: str) -> None:
        """Say nothing."""

    def expect(self, total: int, unit: str) -> None:
        """Say nothing."""

    def advance(self, done: int = 1, **counts: int) -> None:
        """Say nothing."""

    def state(self, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def stage_finished(self, stage: str, summary: dict[str, Any]) -> None:
        """Say nothing."""

    def run_failed(self, what: str, exit_code: int) -> None:
        """Say nothing."""
