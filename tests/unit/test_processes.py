"""Memory of a run, and how it ends: each case in a process of its own, since it is about ending."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from itertools import repeat

import psutil
import pytest

from raylike import processes
from raylike.processes import MemoryWatch, memory_mib

PRELUDE = """
import signal, subprocess, sys, threading, time
import numpy as np
from raylike.processes import interruptible
"""


def started(body: str) -> subprocess.Popen[str]:
    """A process that runs `body` and has said `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_signal_ends_a_block_that_listens() -> None:
    process = started("""
        try:
            with interruptible(130):
                print("ready", flush=True)
                time.sleep(60)
        except KeyboardInterrupt:
            print("in order")
            sys.exit(7)
    """)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "in order\n"
    assert process.returncode == 7


def test_a_block_deaf_to_signals_is_ended_by_force_with_its_children() -> None:
    process = started("""
        child = subprocess.Popen(["sleep", "60"])
        matrix = np.ones((4000, 4000))
        with interruptible(130, grace_s=0.2, last_words="gone"):
            print("ready", flush=True)
            while True:  # Python's handlers run only between these calls, and are caught
                try:
                    np.linalg.svd(matrix)
                except KeyboardInterrupt:
                    pass
    """)
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "gone\n"
    assert process.returncode == 130
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


@pytest.mark.parametrize("ending", ["pass", "raise ValueError"])
def test_without_a_signal_the_old_handlers_come_back(ending: str) -> None:
    process = started(f"""
        before = signal.getsignal(signal.SIGINT)
        try:
            with interruptible(130):
                {ending}
        except ValueError:
            pass
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.set_wakeup_fd(-1) == -1
        print("ready", flush=True)
    """)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_memory_counts_children() -> None:
    alone = memory_mib()
    body = "import time; held = bytearray(b'x') * 2**26; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert memory_mib() > alone + 60
        process.kill()


def test_the_watch_remembers_a_peak_until_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, asked = threading.Event(), threading.Event()

    def looks() -> Iterator[float]:
        yield from (100.0, 900.0)
        seen.set()  # the look after the peak: that has been remembered by now
        asked.wait(timeout=60)
        yield from repeat(100.0)

    watched = looks()

    def memory_mib() -> float:
        return 100.0 if threading.current_thread() is threading.main_thread() else next(watched)

    monkeypatch.setattr(processes, "memory_mib", memory_mib)
    with MemoryWatch(every_s=0.001) as watch:
        assert seen.wait(timeout=60)
        assert (watch.take_peak_mib(), watch.take_peak_mib()) == (900.0, 100.0)
        asked.set()
