"""Keeps what libraries print past Python, such as Ray's C++ core, out of the user's terminal.

File descriptor 2 goes to a log file, and so does that of every process started from here; `sys.stderr`
still reaches the terminal. Knows nothing of who prints what.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STDERR = 2


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
