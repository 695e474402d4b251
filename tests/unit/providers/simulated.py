"""Our simulator on a port of this machine, in a thread of its own: for clients that we did not write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from raylike.simulator.options import SimulatorOptions
from raylike.simulator.server import Server, listen


@contextmanager
def simulated(**options: Any) -> Iterator[tuple[Server, str]]:
    """A server, and the address at which it listens."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with ThreadPoolExecutor(1) as executor:
            server = Server(SimulatorOptions(**options), executor)
            runner, port = asyncio.run_coroutine_threadsafe(listen(server, 0), loop).result(10)
            yield server, f"http://127.0.0.1:{port}"
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
