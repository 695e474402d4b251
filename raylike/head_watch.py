"""Notice that a cluster's head is gone, before Ray ends this process for it without a word (after a minute).

Knows sockets. Knows nothing of Ray or of what is to be done then.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

EVERY_S = 5.0
PATIENCE_S = 40.0
"""A head that is started anew may take so long; Ray itself waits for 60 s."""


def watch(
    host: str,
    port: int,
    stop: threading.Event,
    lost: Callable[[], None],
    every_s: float = EVERY_S,
    patience_s: float = PATIENCE_S,
) -> None:
    """Call `lost` once nothing has taken a connection there for `patience_s`; return then, or at `stop`."""
    answered_at = time.monotonic()
    while not stop.wait(every_s):
        try:
            socket.create_connection((host, port), timeout=every_s).close()
            answered_at = time.monotonic()
        except OSError:
            if time.monotonic() - answered_at >= patience_s:
                lost()
                return
