"""How an actor learns at once that the driver it works for is gone.

Ray ends the actors of a driver that was killed some seconds later; until then they would go on asking other
people's servers for what nobody will keep. So the driver listens on a port of its own, and never
answers: the system breaks the connection when the driver dies, however it dies.

Knows sockets. Knows nothing of Ray or of what an actor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

WAITING = 1024
"""Connections that the system holds for a listener that accepts none of them."""
PAUSE_S = 0.1
"""Before a broken connection is made anew."""

Address = tuple[str, int]


@contextlib.contextmanager
def alive(host: str) -> Iterator[Address | None]:
    """Listen for the length of the block; yields where, or None if this machine cannot listen at `host`."""
    try:
        listener = socket.create_server((host, 0), backlog=WAITING)
    except OSError:
        yield None
        return
    with listener:
        yield host, listener.getsockname()[1]


async def watch(address: Address, when_gone: Callable[[], None]) -> None:
    """Call `when_gone` as soon as nobody listens at `address` any more.

    Where it was never to be reached (a firewall between the nodes) there is nothing to watch, and Ray's own
    way of ending actors must do. A broken connection is made anew before the driver is taken for gone.
    """
    met = False
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address)
        except OSError as error:
            if met and isinstance(error, ConnectionRefusedError):
                when_gone()
            return
        met = True
        try:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        finally:
            writer.close()
        await asyncio.sleep(PAUSE_S)


def end_process() -> None:
    """End this process as a kill would: whatever it did not report is done again by the next run."""
    os._exit(1)
