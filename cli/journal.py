"""What every run writes down of itself, beside what it shows: JSON events in the workspace's logs.

Knows speakers and files. Knows nothing of stages.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli.progress import JsonEvents, Speaker
from raylike.errors import INTERRUPTED_EXIT_CODE, RaylikeError

JOURNAL = "events.jsonl"
EVERY_S = 10.0
"""Between two events of progress: a run of three days leaves about 5 MB."""


class Both:
    """Tells two speakers the same."""

    def __init__(self, shown: Speaker, kept: Speaker) -> None:
        self._speakers = (shown, kept)

    def run_started(self, run: str) -> None:
        """A run begins."""
        for speaker in self._speakers:
            speaker.run_started(run)

    def stage_started(self, stage: str) -> None:
        """A stage begins."""
        for speaker in self._speakers:
            speaker.stage_started(stage)

    def expect(self, total: int, unit: str) -> None:
        """The stage has `total` items, called `unit`."""
        for speaker in self._speakers:
            speaker.expect(total, unit)

    def advance(self, done: int = 1, **counts: int) -> None:
        """More items are finished."""
        for speaker in self._speakers:
            speaker.advance(done, **counts)

    def state(self, text: str) -> None:
        """How the stage stands."""
        for speaker in self._speakers:
            speaker.state(text)

    def note(self, text: str) -> None:
        """One line for the user."""
        for speaker in self._speakers:
            speaker.note(text)

    def stage_finished(self, stage: str, summary: dict[str, Any]) -> None:
        """The stage is done."""
        for speaker in self._speakers:
            speaker.stage_finished(stage, summary)

    def run_failed(self, what: str, exit_code: int) -> None:
        """The process is about to end."""
        for speaker in self._speakers:
            speaker.run_failed(what, exit_code)

    def run_finished(self, summary: dict[str, Any]) -> None:
        """The run ended well."""
        for speaker in self._speakers:
            speaker.run_finished(summary)


class Kept(JsonEvents):
    """Events for a file, which is made when a run begins.

    What cannot be written there is no reason to end a run.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.StringIO(), every_s=EVERY_S)
        self._path = path
        self._began = False

    def emit(self, event: str, **fields: Any) -> None:
        """Write one line, if that can be done."""
        self._began |= event == "run_started"
        if not self._began:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as self._out:
                super().emit(event, **fields)


@contextmanager
def journal(folder: Path, shown: Speaker) -> Iterator[Both]:
    """A speaker that also writes the journal in `folder`, how the run ended included."""
    kept = Kept(folder / JOURNAL)
    try:
        yield Both(shown, kept)
    except RaylikeError as error:
        kept.run_failed(str(error), error.exit_code)
        raise
    except KeyboardInterrupt:
        kept.run_failed("interrupted", INTERRUPTED_EXIT_CODE)
        raise
