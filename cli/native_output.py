"""Keeps what libraries print, such as Ray of a lost node, out of the user's terminal and data.

What goes past Python to descriptor 2 goes to a log file, and so does that of every process started from here;
`sys.stderr` still reaches the terminal. Where stdout is for data, what others print there goes the way of
descriptor 2. Knows nothing of who prints what.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

STDOUT, STDERR = 1, 2


@contextmanager
def native_stderr_in(log: Path) -> Iterator[None]:
    """Send descriptor 2 to `log` for the length of the block, and Python's own stderr where 2 went before.

    Where the log cannot be opened, or Python's stderr is not descriptor 2, nothing changes.
    """
    try:
        owns_terminal = sys.stderr.fileno() == STDERR
        log.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except (OSError, ValueError):
        yield
        return
    if not owns_terminal:
        os.close(target)
        yield
        return
    terminal, python_stderr = os.dup(STDERR), sys.stderr
    python_stderr.flush()
    os.dup2(target, STDERR)
    os.close(target)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, STDERR)
        sys.stderr.close()
        sys.stderr = python_stderr


@contextmanager
def stdout_for_data() -> Iterator[TextIO]:
    """Yield where data are to be written: Python's stdout, from which all others are sent to descriptor 2.

    Where Python's stdout is not descriptor 1, nothing changes.
    """
    python_stdout = sys.stdout
    try:
        owns_stdout = python_stdout.fileno() == STDOUT
    except (OSError, ValueError):
        owns_stdout = False
    if not owns_stdout:
        yield python_stdout
        return
    python_stdout.flush()
    reader = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # `python_stdout`, which others may have kept, leads there too now
    try:
        with os.fdopen(reader, "w", buffering=1, encoding="utf-8", closefd=False) as data:
            yield data
    finally:
        python_stdout.flush()
        os.dup2(reader, STDOUT)
        os.close(reader)
