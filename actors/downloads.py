"""Downloader actors: each fetches its share of the items and stores what it got, batch by batch.

What is fetched goes straight from the actor to where it is kept; the driver sees entries and counts
alone. A process that dies is started anew and fetches again what was not reported as stored. If the driver
dies, its actors end at once.

Knows Ray. Knows nothing of photos, HTTP or storage: a job does the work, built inside the actor.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from actors import lifeline
from actors.lanes import Fetcher, Traffic, fetch_all
from actors.metrics import StageMetrics

NAMESPACE = "raylike"
OK = "ok"
METER_EVERY_S = 0.5

T = TypeVar("T")


class Job(Fetcher[Any, Any], Protocol):
    """What a downloader does, besides fetching: weigh rows, and put them where they are kept."""

    def status(self, row: Any) -> str:
        """`ok`, or the kind of failure: a word out of a small set."""

    def size(self, row: Any) -> int:
        """Bytes that the row holds in memory."""

    def store(self, rows: list[Any]) -> Any:
        """Keep the rows and return what the driver must know of them. Runs in a thread."""


@dataclass(frozen=True)
class DownloadOptions:
    """How downloader actors are run.

    Attributes
    ----------
    actors : processes; the items are dealt out to them
    batch_rows, batch_bytes : a batch is stored as soon as it holds so many rows or bytes, so that memory
        does not grow with the number of items
    stage : whose items these are, in the metrics
    cpus : CPUs that Ray sets aside for an actor
    restarts : deaths of one actor before the run gives up
    """

    actors: int = 1
    traffic: Traffic = field(default_factory=Traffic)
    batch_rows: int = 500
    batch_bytes: int = 128 * 2**20
    stage: str = "download"
    cpus: float = 0.1
    restarts: int = 3


@dataclass(frozen=True)
class Batch:
    """Items that are done: their places in the list handed out, what `store` returned, counts by status."""

    done: Sequence[int]
    stored: Any
    counts: dict[str, int]


class WorkerDied(Exception):
    """A downloader died too often; the arguments are its name and Ray's reason."""


class Downloader:
    """The process behind a downloader actor."""

    def __init__(
        self,
        make_job: Callable[[], AbstractAsyncContextManager[Job]],
        options: DownloadOptions,
        driver: lifeline.Address | None = None,
    ) -> None:
        self._make_job = make_job
        self._options = options
        self._driver = driver
        self._metrics = StageMetrics(options.stage)

    async def run(self, items: Sequence[Any]) -> AsyncIterator[Batch]:
        """Fetch all items; yield a batch whenever one is stored."""
        options = self._options
        async with (
            _ending_with(self._driver),
            self._make_job() as job,
            aclosing(fetch_all(job, items, options.traffic)) as fetched,
            aclosing(ahead(fetched, options.traffic.in_flight)) as finished,
        ):
            done: list[int] = []
            rows: list[Any] = []
            size = 0
            meter = _Meter(self._metrics)
            async for index, row in finished:
                meter.count(job.status(row))
                done.append(index)
                rows.append(row)
                size += job.size(row)
                if len(rows) >= options.batch_rows or size >= options.batch_bytes:
                    yield await _store(job, done, rows)
                    done, rows, size = [], [], 0
            if rows:
                yield await _store(job, done, rows)
            meter.flush()


def download(
    make_job: Callable[[], AbstractAsyncContextManager[Job]],
    items: Sequence[Any],
    options: DownloadOptions,
    lane: Callable[[Any], str] = str,
) -> Iterator[Batch]:
    """Yield batches of finished items as actors store them, until every item is done.

    Parameters
    ----------
    lane : whom an item is asked of; see `deal`

    Raises
    ------
    WorkerDied : if an actor died more than `restarts` times; what was yielded stays valid
    """
    actor = ray.remote(Downloader)
    crew: list[_Hand] = []
    with lifeline.alive(ray.util.get_node_ip_address()) as driver:
        try:
            for i, places in enumerate(filter(None, deal([lane(item) for item in items], options.actors))):
                name = f"downloader-{i}"
                handle = actor.options(
                    name=name,
                    namespace=NAMESPACE,
                    num_cpus=options.cpus,
                    scheduling_strategy="SPREAD",  # every node's network
                    max_restarts=options.restarts,
                ).remote(make_job, options, driver)
                crew.append(_Hand(name, handle, {place: items[place] for place in places}))
            yield from _watch(crew)
        finally:
            for hand in crew:
                ray.kill(hand.handle)


def deal(lanes: Sequence[str], n: int) -> list[list[int]]:
    """Share items out to `n` actors, given each item's lane; return the items' places for each.

    A lane goes to one actor, which so knows all that its host has asked for. Only one that would make up
    more than half of an actor's share is spread over all, so that no actor is left with most of the work.
    """
    by_lane: dict[str, list[int]] = {}
    for place, name in enumerate(lanes):
        by_lane.setdefault(name, []).append(place)
    shares: list[list[int]] = [[] for _ in range(n)]
    for places in sorted(by_lane.values(), key=len, reverse=True):
        if len(places) > len(lanes) / n / 2:
            for i, share in enumerate(sorted(shares, key=len)):
                share.extend(places[i::n])
        else:
            min(shares, key=len).extend(places)
    return [sorted(share) for share in shares]


class _Hand:
    """An actor as the driver sees it: what it still has to do, and the stream of what it has done."""

    def __init__(self, name: str, handle: Any, todo: dict[int, Any]) -> None:
        self.name = name
        self.handle = handle
        self._todo = todo
        self.set_to_work()

    def set_to_work(self) -> None:
        """Hand over what is left, at first or to the process that Ray starts in place of a dead one."""
        self._places = list(self._todo)
        self.stream = self.handle.run.options(num_returns="streaming").remote(list(self._todo.values()))

    def next_batch(self) -> Batch | None:
        """The next batch, with places in the whole list; None if the actor has no more to do."""
        try:
            batch: Batch = ray.get(next(self.stream))
        except StopIteration:
            self._todo.clear()
            return None
        except RayTaskError as error:
            raise error.cause from None  # the job's own error, not Ray's wrapper
        done = [self._places[i] for i in batch.done]
        for place in done:
            del self._todo[place]
        return Batch(done, batch.stored, batch.counts)

    @property
    def is_done(self) -> bool:
        return not self._todo


def _watch(crew: list[_Hand]) -> Iterator[Batch]:
    while busy := {hand.stream: hand for hand in crew if not hand.is_done}:
        (stream, *_), _ = ray.wait(list(busy), num_returns=1, fetch_local=False)
        hand = busy[stream]
        try:
            batch = hand.next_batch()
        except RayActorError as error:
            if isinstance(error, ActorDiedError):
                raise WorkerDied(hand.name, str(error).splitlines()[0]) from None
            hand.set_to_work()
            continue
        if batch is not None:
            yield batch


@asynccontextmanager
async def _ending_with(driver: lifeline.Address | None) -> AsyncIterator[None]:
    """End the process if the driver is gone before the block is done."""
    watching = None if driver is None else asyncio.create_task(lifeline.watch(driver, lifeline.end_process))
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()


async def _store(job: Job, done: list[int], rows: list[Any]) -> Batch:
    counts = Counter(job.status(row) for row in rows)
    return Batch(done, await asyncio.to_thread(job.store, rows), dict(counts))


async def ahead(source: AsyncIterator[T], n: int) -> AsyncGenerator[T, None]:
    """The same items, up to `n` of them made while the consumer is busy, as with storing a batch."""
    made: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue(n)

    async def make() -> None:
        try:
            async for item in source:
                await made.put((item,))
        except Exception as error:  # raised where the items are consumed
            await made.put(error)
        else:
            await made.put(None)

    maker = asyncio.create_task(make())
    try:
        while (found := await made.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found[0]
    finally:
        maker.cancel()
        await asyncio.gather(maker, return_exceptions=True)


class _Meter:
    """Counts every item, and tells Ray's metrics twice a second: each call costs about as much as a fetch."""

    def __init__(self, metrics: StageMetrics) -> None:
        self._metrics = metrics
        self._counts: Counter[str] = Counter()
        self._told = time.monotonic()

    def count(self, status: str) -> None:
        self._counts[status] += 1
        if time.monotonic() - self._told >= METER_EVERY_S:
            self.flush()

    def flush(self) -> None:
        self._metrics.done(self._counts.pop(OK, 0))
        for cause, n in self._counts.items():
            self._metrics.failed(cause, n)
        self._counts.clear()
        self._told = time.monotonic()
