"""The processes of a run: how much memory they hold together, and how all of them end.

Knows the operating system. Knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import psutil

MIB = 2**20


def descendants() -> list[psutil.Process]:
    """All processes that this one started, directly or not."""
    return psutil.Process().children(recursive=True)


def kill_descendants() -> None:
    """End every process that this one started, at once and without their consent."""
    for process in descendants():
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def end_at_once(exit_code: int) -> NoReturn:
    """End this process and all that it started. Nothing is torn: tables change by atomic commits only."""
    kill_descendants()
    os._exit(exit_code)


def memory_mib() -> float:
    """Memory of this process and all its descendants, in MiB, shared pages counted once.

    The sum of each process's proportional set size (Linux); of its resident set elsewhere, which counts
    shared pages as often as they are shared.
    """
    total = 0.0
    for process in [psutil.Process(), *descendants()]:
        try:
            total += _pss_bytes(process)
        except (psutil.Error, OSError):
            continue
    return total / MIB


def _pss_bytes(process: psutil.Process) -> int:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    if rollup.exists():
        for line in rollup.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)


class MemoryWatch:
    """Looks at the run's memory now and then, and remembers the peak since it was last asked.

    A look costs the kernel a walk through every process's pages, 0.1 to 0.3 s in all: hence seldom.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s = every_s
        self._peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def take_peak_mib(self) -> float:
        """The highest sum seen since the last call, in MiB."""
        peak = max(self._peak_mib, memory_mib())
        self._peak_mib = 0.0
        return peak

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self._peak_mib = max(self._peak_mib, memory_mib())


@contextmanager
def interruptible(exit_code: int, grace_s: float = 1.5, last_words: str = "") -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block in order, and everything by force if that takes too long.

    The first signal raises `KeyboardInterrupt`. If the process still lives `grace_s` seconds later, or at
    the second signal, all descendants are killed and it exits with `exit_code`. Nothing is torn by that:
    tables change by atomic commits only.

    The countdown is started by the kernel's write to a pipe, not by Python's handler: that runs between two
    instructions of the main thread, which may sit in one long call of numpy or scikit-learn.

    Parameters
    ----------
    last_words : written to stderr before a forced exit
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        if not os.read(reader, 1):
            return  # the block has ended without a signal
        select.select([reader], [], [], grace_s)
        print(last_words, file=sys.stderr, flush=True)
        end_at_once(exit_code)

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="interrupt-watch", daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        raise  # the countdown goes on: what still has to end after this block may hang, too
    except BaseException:
        _stand_down(before, wakeup_before, writer)
        raise
    else:
        _stand_down(before, wakeup_before, writer)


def _stand_down(handlers: Mapping[signal.Signals, Any], wakeup_fd: int, writer: int) -> None:
    signal.set_wakeup_fd(wakeup_fd)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.close(writer)
