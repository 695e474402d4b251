"""Whoever watches a driver learns that it is gone, and only then."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

from actors import lifeline

HOST = "127.0.0.1"
DRIVER = """
import time
from actors import lifeline
with lifeline.alive("127.0.0.1") as address:
    print(address[1], flush=True)
    time.sleep(60)
"""


async def until_gone(address: lifeline.Address, timeout_s: float) -> bool:
    """Whether the watch said within that time that nobody is there."""
    gone = asyncio.Event()
    watching = asyncio.create_task(lifeline.watch(address, gone.set))
    try:
        await asyncio.wait_for(gone.wait(), timeout_s)
    except TimeoutError:
        return False
    finally:
        watching.cancel()
    return True


def test_a_driver_that_is_killed_is_noticed_though_nobody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())

    async def go() -> bool:
        watching = asyncio.create_task(until_gone((HOST, port), 30))
        await asyncio.sleep(0.1)
        assert not watching.done()
        process.send_signal(signal.SIGKILL)
        return await watching

    try:
        assert asyncio.run(go())
        assert process.returncode is None  # a zombie still has its number
    finally:
        process.kill()
        process.communicate()


def test_a_driver_that_lives_is_not_taken_for_gone() -> None:
    async def go() -> bool:
        with lifeline.alive(HOST) as address:
            assert address is not None
            return await until_gone(address, 0.2)

    assert not asyncio.run(go())


def test_many_may_watch_and_the_end_of_the_block_tells_them_all() -> None:
    async def go() -> list[bool]:
        with ExitStack() as stack:
            address = stack.enter_context(lifeline.alive(HOST))
            assert address is not None
            watching = [asyncio.create_task(until_gone(address, 30)) for _ in range(40)]
            await asyncio.sleep(0.1)
            stack.close()
            return await asyncio.gather(*watching)

    assert asyncio.run(go()) == [True] * 40


def test_where_nobody_can_be_reached_nothing_is_watched() -> None:
    gone = []
    with lifeline.alive(HOST) as address:
        pass
    assert address is not None
    asyncio.run(lifeline.watch(address, lambda: gone.append(1)))
    assert not gone


def test_an_address_of_another_machine_is_not_listened_at() -> None:
    with lifeline.alive("203.0.113.1") as address:
        assert address is None


def test_one_broken_connection_is_no_death() -> None:
    """A server that hangs up on the first who comes, and lives on."""
    met = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        if len(met) == 1:
            writer.close()

    async def go() -> bool:
        server = await asyncio.start_server(hang_up, HOST, 0)
        async with server:
            gone = await until_gone(server.sockets[0].getsockname(), 0.4)
            for writer in met:
                writer.close()
            return gone

    assert not asyncio.run(go())
    assert len(met) >= 2


ORPHAN = """
import asyncio, sys
from contextlib import asynccontextmanager
from actors.downloads import Downloader, DownloadOptions

class Slow:
    def lane(self, item): return "host"
    async def fetch(self, item):
        print(item, flush=True)
        await asyncio.sleep(60)

@asynccontextmanager
async def job():
    yield Slow()

async def go():
    driver = "127.0.0.1", int(sys.argv[1])
    async for _ in Downloader(job, DownloadOptions(), driver).run(["first", "second"]):
        pass

asyncio.run(go())
"""


def test_a_downloader_ends_with_its_driver() -> None:
    with lifeline.alive(HOST) as address:
        assert address is not None
        command = [sys.executable, "-c", ORPHAN, str(address[1])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.3)
        lives = process.poll() is None
    try:
        assert (first, lives, process.wait(30)) == ("first\n", True, 1)
    finally:
        process.kill()
        process.communicate()
