"""What the user sees of a run: a live line on a terminal, plain lines elsewhere, JSON events for programs.

Knows `raylike.progress.Progress`, whose three speakers these are. Knows nothing of stages.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

PLAIN_EVERY_S = 10.0
EVENT_EVERY_S = 0.5
NAME_WIDTH = 10

Clock = Callable[[], float]


@dataclass
class Tally:
    """How far the stage in progress is."""

    stage: str
    started_s: float
    unit: str = "rows"
    total: int | None = None
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    state: str = ""

    @property
    def asides(self) -> list[str]:
        """What is said after the numbers: how the stage stands, and counts by reason."""
        return [
            *([self.state] if self.state else []),
            *(f"{n:,} {why}" for why, n in self.counts.items() if n),
        ]

    def rate_hz(self, now_s: float) -> float:
        """Items a second since the stage began."""
        return self.done / max(now_s - self.started_s, 1e-9)

    def left_s(self, now_s: float) -> float | None:
        """Seconds to go at that rate; None where the total or the rate is not known."""
        rate = self.rate_hz(now_s)
        return max(self.total - self.done, 0) / rate if self.total and rate else None


def duration(seconds: float) -> str:
    """A length of time as people write it: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def finished_line(tally: Tally, summary: dict[str, Any]) -> str:
    """What is left on the screen of a stage: `faces      2,400 photos in 27.1 s (89/s), 3 undecodable`."""
    name = f"{tally.stage:<{NAME_WIDTH}}"
    finished = tally.done or int(summary.get("rows_out", 0))
    if summary.get("up_to_date"):
        return f"{name} up to date"
    seconds = float(summary.get("seconds", 0.0))
    text = f"{name} {finished:,} {tally.unit} in {duration(seconds)}"
    if tally.done and seconds:
        text += f" ({tally.done / seconds:,.0f}/s)"
    reasons = [*summary.get("skipped", {}).items(), *summary.get("failed", {}).items()]
    return ", ".join([text, *(f"{count:,} {reason}" for reason, count in reasons if count)])


def utc_now() -> str:
    """The time as ISO 8601 has it, in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Speaker:
    """Keeps the tally of the stage in progress; its children say it. Safe to call from any thread."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._tally: Tally | None = None

    def run_started(self, run: str) -> None:
        """A run begins: people see its stages, programs its id."""

    def run_failed(self, what: str, exit_code: int) -> None:
        """The process is about to end: people are told on stderr."""

    def stage_started(self, stage: str) -> None:
        """A stage begins."""
        with self._lock:
            self._tally = Tally(stage, self._clock())
            self.say_started(self._tally)

    def expect(self, total: int, unit: str) -> None:
        """The stage has `total` items, called `unit`."""
        with self._lock:
            if self._tally is not None:
                self._tally.total, self._tally.unit = total, unit
                self.say_progress(self._tally)

    def advance(self, done: int = 1, **counts: int) -> None:
        """More items are finished."""
        with self._lock:
            if self._tally is not None:
                self._tally.done += done
                self._tally.counts.update(counts)
                self.say_progress(self._tally)

    def state(self, text: str) -> None:
        """How the stage stands; said with its next step."""
        with self._lock:
            if self._tally is not None:
                self._tally.state = text

    def note(self, text: str) -> None:
        """One line for the user."""
        with self._lock:
            self.say_note(text)

    def stage_finished(self, stage: str, summary: dict[str, Any]) -> None:
        """The stage is done."""
        with self._lock:
            tally = self._tally or Tally(stage, self._clock())
            self._tally = None
            self.say_finished(tally, summary)

    def run_finished(self, summary: dict[str, Any]) -> None:
        """The whole run is done; `summary` is ready for JSON."""

    def say_started(self, tally: Tally) -> None:
        """Called when a stage begins."""

    def say_progress(self, tally: Tally) -> None:
        """Called at every step: say it, or not yet."""

    def say_note(self, text: str) -> None:
        """Called with a line for the user."""

    def say_finished(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Called when a stage ends."""


class JsonEvents(Speaker):
    """One JSON object a line: run_started, stage_started, progress, note, stage_finished, done.

    Each has the time, in UTC, and the id of the run. Progress is told every `every_s` seconds at most.
    """

    def __init__(self, out: TextIO, clock: Clock = time.monotonic, every_s: float = EVENT_EVERY_S) -> None:
        super().__init__(clock)
        self._out = out
        self._every_s = every_s
        self._run: str | None = None
        self._last_s = float("-inf")

    def run_started(self, run: str) -> None:
        """Say `run_started`; what follows belongs to this run."""
        self._run = run
        self.emit("run_started")

    def run_finished(self, summary: dict[str, Any]) -> None:
        """Say `done`, the last event of a run that ended well."""
        self.emit("done", **summary)

    def run_failed(self, what: str, exit_code: int) -> None:
        """Say `error`, the last event of any other."""
        self.emit("error", what=what, exit_code=exit_code)

    def say_started(self, tally: Tally) -> None:
        """Say `stage_started`."""
        self._last_s = float("-inf")
        self.emit("stage_started", stage=tally.stage)

    def say_progress(self, tally: Tally) -> None:
        """Say `progress`, unless it is too early."""
        now_s = self._clock()
        if now_s - self._last_s < self._every_s:
            return
        self._last_s = now_s
        left_s = tally.left_s(now_s)
        self.emit(
            "progress",
            stage=tally.stage,
            done=tally.done,
            total=tally.total,
            unit=tally.unit,
            rate_hz=round(tally.rate_hz(now_s), 3),
            left_s=None if left_s is None else round(left_s, 1),
            counts=dict(tally.counts),
            **({"state": tally.state} if tally.state else {}),
        )

    def say_note(self, text: str) -> None:
        """Say `note`."""
        self.emit("note", text=text)

    def say_finished(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Say `stage_finished`."""
        self.emit("stage_finished", stage=tally.stage, unit=tally.unit, **summary)

    def emit(self, event: str, **fields: Any) -> None:
        """Write one line."""
        line = {"event": event, "time": utc_now(), "run": self._run, **fields}
        print(json.dumps(line, default=str), file=self._out, flush=True)


class PlainLines(Speaker):
    """A line when a stage ends, and one every ten seconds while it works."""

    def __init__(self, out: TextIO, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._out = out
        self._last_s = 0.0

    def say_started(self, tally: Tally) -> None:
        """The ten seconds begin with the stage."""
        self._last_s = tally.started_s

    def say_progress(self, tally: Tally) -> None:
        """Print a line if the last one is ten seconds old."""
        now_s = self._clock()
        if now_s - self._last_s < PLAIN_EVERY_S:
            return
        self._last_s = now_s
        text = f"{tally.stage:<{NAME_WIDTH}} "
        if tally.done or tally.total:
            total = f"/{tally.total:,}" if tally.total else ""
            text += f"{tally.done:,}{total} {tally.unit}, "
        text += (
            f"{tally.rate_hz(now_s):,.0f}/s" if tally.done else f"{duration(now_s - tally.started_s)} so far"
        )
        if (left_s := tally.left_s(now_s)) is not None:
            text += f", {duration(left_s)} left"
        self._print(", ".join([text, *tally.asides]))

    def say_note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def say_finished(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Print the stage's line and its notes."""
        for line in (finished_line(tally, summary), *_notes(summary)):
            self._print(line)

    def tick(self) -> None:
        """Called now and then: a stage that is silent for long still gets its line."""
        with self._lock:
            if self._tally is not None:
                self.say_progress(self._tally)

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class LiveLine(Speaker):
    """A line that moves while a stage works, redrawn twice a second, and stays as its summary."""

    def __init__(self, out: TextIO, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=False),
        ]
        # Rich itself looks at NO_COLOR, TERM and the width of the terminal.
        self._console = Console(file=out, highlight=False)
        self._bar = Progress(*columns, console=self._console, refresh_per_second=2, transient=True)
        self._task = self._bar.add_task("", text="", visible=False, total=None)

    def start(self) -> None:
        """Begin to draw."""
        self._bar.start()
        self._console.show_cursor(True)  # Rich hides it, and a killed run could not bring it back

    def stop(self) -> None:
        """Clear the line and give the terminal back."""
        self._bar.stop()

    def say_started(self, tally: Tally) -> None:
        """Show the stage with a spinner."""
        self._bar.reset(
            self._task, total=None, description=f"{tally.stage:<{NAME_WIDTH}}", text="", visible=True
        )

    def say_progress(self, tally: Tally) -> None:
        """Move the line."""
        total = f"/{tally.total:,}" if tally.total else ""
        text = f"{tally.done:,}{total} {tally.unit}"
        if tally.done:
            text += f" ({tally.rate_hz(self._clock()):,.0f}/s)"
        self._bar.update(
            self._task,
            completed=tally.done,
            total=tally.total,
            text=", ".join([text, *tally.asides]),
        )

    def say_note(self, text: str) -> None:
        """Print it above the line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def say_finished(self, tally: Tally, summary: dict[str, Any]) -> None:
        """Leave the stage's line and its notes above."""
        self._bar.update(self._task, visible=False, refresh=True)
        for line in (finished_line(tally, summary), *_notes(summary)):
            self.say_note(line)


def _notes(summary: dict[str, Any]) -> list[str]:
    return [f"{'':<{NAME_WIDTH}} {note}" for note in summary.get("notes", ())]


@contextmanager
def speaking(*, as_json: bool, err: TextIO | None = None, out: TextIO | None = None) -> Iterator[Speaker]:
    """The speaker that fits: events on stdout, a live line where stderr is a terminal, or plain lines."""
    err = err or sys.stderr
    if as_json:
        yield JsonEvents(out or sys.stdout)
    elif err.isatty():
        live = LiveLine(err)
        live.start()
        try:
            yield live
        finally:
            live.stop()
    else:
        with _ticking(PlainLines(err)) as plain:
            yield plain


@contextmanager
def _ticking(plain: PlainLines) -> Iterator[PlainLines]:
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(1.0):
            plain.tick()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield plain
    finally:
        stop.set()
        thread.join()
