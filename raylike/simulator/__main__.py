"""The simulator's own process: `python -m raylike.simulator`, started by `process.start`.

Reads its options as one line of JSON from standard input, writes one line of JSON to standard output
when it is ready, and ends when standard input does or when its parent is no longer there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from concurrent.futures import Executor

from raylike.simulator.options import SimulatorOptions
from raylike.simulator.photos import drawing_processes
from raylike.simulator.server import Server, listen

_PARENT_CHECK_S = 0.5
_MAX_DRAWING_PROCESSES = 4


async def _serve(options: SimulatorOptions, parent: int, executor: Executor) -> None:
    server = Server(options, executor)
    runner, port = await listen(server, options.port)
    ready = {
        "event": "ready",
        "port": port,
        "networks": {network.name: f"http://127.0.0.1:{port}{network.path}" for network in server.networks},
        "tokens": server.site.first_tokens,
        "logins": server.logins,
    }
    print(json.dumps(ready), flush=True)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)  # nothing more is sent: readable means closed
    try:
        # A process forked by the parent may hold the pipe open after the parent's death.
        while os.getppid() == parent and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PARENT_CHECK_S)
    finally:
        # Do not wait for answers under way: nobody is left to read them.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 0.5)


def main() -> int:
    """Run until told to stop; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops this process
    given = json.loads(sys.stdin.readline())
    options = SimulatorOptions(**given["options"])
    executor = drawing_processes(min(os.cpu_count() or 1, _MAX_DRAWING_PROCESSES))
    try:
        asyncio.run(_serve(options, int(given["parent"]), executor))
    finally:
        executor.shutdown(cancel_futures=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
