"""A head that is gone is noticed, one that is away for a moment is waited for."""

from __future__ import annotations

import socket
import threading
import time

from raylike import head_watch


def test_a_head_that_does_not_come_back_is_lost() -> None:
    stop, lost = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        watcher = threading.Thread(
            target=head_watch.watch, args=("127.0.0.1", port, stop, lost.set, 0.02, 0.3)
        )
        watcher.start()
        time.sleep(0.5)
        assert not lost.is_set()
    time.sleep(0.1)
    with socket.create_server(("127.0.0.1", port)):  # started anew within its time
        time.sleep(0.5)
        assert not lost.is_set()
    assert lost.wait(5)
    watcher.join(5)
    assert not watcher.is_alive()


def test_it_ends_with_the_run() -> None:
    stop, lost = threading.Event(), threading.Event()
    watcher = threading.Thread(target=head_watch.watch, args=("127.0.0.1", 1, stop, lost.set, 0.5, 30.0))
    watcher.start()
    stop.set()
    watcher.join(5)
    assert not watcher.is_alive()
    assert not lost.is_set()
