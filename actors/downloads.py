"""Downloader actors: each fetches its share of the items and stores what it got, part by part.

What is fetched goes straight from the actor to where it is kept; the driver sees parts and counts alone, and
holds a few bytes an item. A process that dies is started anew and fetches again what was not reported as
stored. If the driver dies, its actors end at once.

Knows Ray. Knows nothing of photos, HTTP or storage: a job does the work, built inside the actor.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from actors import lifeline
from actors.lanes import Fetcher, Items, Traffic, fetch_all
from actors.metrics import StageMetrics

NAMESPACE = "raylike"
OK = "ok"
TELL_EVERY_S = 0.5

T = TypeVar("T")
Places = npt.NDArray[np.int64]


class Load(Items[Any], Protocol):
    """Items that can be shared out: as compact as their owner can have them, since there may be a million."""

    def take(self, places: Places) -> Load:
        """Those at some places, in that order."""


class Job(Fetcher[Any, Any], Protocol):
    """What a downloader does, besides fetching: weigh rows, and put them where they are kept."""

    def status(self, row: Any) -> str:
        """`ok`, or the kind of failure: a word out of a small set."""

    def size(self, row: Any) -> int:
        """Bytes that the row holds in memory."""

    def write(self, rows: list[Any]) -> None:
        """Add rows to the part that is being written. Runs in a thread."""

    def finish_part(self) -> Any:
        """End that part, and return what the driver must know of it. Runs in a thread."""


@dataclass(frozen=True)
class DownloadOptions:
    """How downloader actors are run.

    Attributes
    ----------
    actors : processes; the items are dealt out to them
    write_rows, write_bytes : rows are written as soon as there are so many, or they are so large: what an
        actor holds in memory, besides what is under way
    part_rows, part_bytes, part_s : a part is ended, and the driver told of it, once it has so many rows or
        bytes, or is so old: what a kill costs
    stage : whose items these are, in the metrics
    cpus : CPUs that Ray sets aside for an actor
    restarts : deaths of one actor before the run gives up
    """

    actors: int = 1
    traffic: Traffic = field(default_factory=Traffic)
    write_rows: int = 256
    write_bytes: int = 16 * 2**20
    part_rows: int = 5000
    part_bytes: int = 128 * 2**20
    part_s: float = 10.0
    stage: str = "download"
    cpus: float = 0.1
    restarts: int = 3


@dataclass(frozen=True)
class Batch:
    """What an actor has to tell.

    Attributes
    ----------
    counts : items fetched since it last told, by status; negative where a process died with them
    done : places, in what was handed out, of the items that are stored now
    stored : what `Job.finish_part` returned; None if no part has ended
    """

    counts: dict[str, int]
    done: Sequence[int] | Places = ()
    stored: Any = None


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

    async def run(self, items: Load) -> AsyncIterator[Batch]:
        """Fetch all items; say twice a second how many, and whenever a part is stored."""
        options = self._options
        async with (
            _ending_with(self._driver),
            self._make_job() as job,
            aclosing(fetch_all(job, items, options.traffic)) as fetched,
            aclosing(ahead(fetched, options.traffic.in_flight)) as finished,
        ):
            part, tally = _Part(job, options), _Tally(self._metrics)
            async for index, row in finished:
                tally.count(job.status(row))
                await part.add(index, row)
                if part.is_full():
                    yield await part.finish(tally.tell())
                elif tally.is_due():
                    yield Batch(tally.tell())
            if part.done:
                yield await part.finish(tally.tell())


class _Part:
    """What is stored together, and the rows that are not written yet."""

    def __init__(self, job: Job, options: DownloadOptions) -> None:
        self._job = job
        self._options = options
        self._begin()

    def _begin(self) -> None:
        self.done: list[int] = []
        self._size = 0
        self._rows: list[Any] = []
        self._rows_size = 0
        self._began = time.monotonic()

    async def add(self, index: int, row: Any) -> None:
        """Take a row, and write those that are there if they are enough."""
        if not self.done:
            self._began = time.monotonic()
        self.done.append(index)
        self._rows.append(row)
        self._rows_size += self._job.size(row)
        if len(self._rows) >= self._options.write_rows or self._rows_size >= self._options.write_bytes:
            await self._write()

    def is_full(self) -> bool:
        """Whether it is time for the next."""
        options = self._options
        return (
            len(self.done) >= options.part_rows
            or self._size + self._rows_size >= options.part_bytes
            or time.monotonic() - self._began >= options.part_s
        )

    async def finish(self, counts: dict[str, int]) -> Batch:
        """End the part and begin the next."""
        await self._write()
        batch = Batch(counts, self.done, await asyncio.to_thread(self._job.finish_part))
        self._begin()
        return batch

    async def _write(self) -> None:
        if self._rows:
            await asyncio.to_thread(self._job.write, self._rows)
            self._size += self._rows_size
            self._rows, self._rows_size = [], 0


def download(
    make_job: Callable[[], AbstractAsyncContextManager[Job]],
    items: Load,
    options: DownloadOptions,
    lane: Callable[[Any], str] = str,
) -> Iterator[Batch]:
    """Yield what actors tell, until every item is stored.

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
            for i, places in enumerate(deal(map(lane, items), options.actors)):
                if not len(places):
                    continue
                name = f"downloader-{i}"
                handle = actor.options(
                    name=name,
                    namespace=NAMESPACE,
                    num_cpus=options.cpus,
                    scheduling_strategy="SPREAD",  # every node's network
                    max_restarts=options.restarts,
                ).remote(make_job, options, driver)
                crew.append(_Hand(name, handle, items, places))
            yield from _watch(crew)
        finally:
            for hand in crew:
                ray.kill(hand.handle)


def deal(lanes: Iterable[str], n: int) -> list[Places]:
    """Share items out to `n` actors, given each item's lane; return the items' places for each.

    A lane goes to one actor, which so knows all that its host has asked for. Only one that would make up
    more than half of an actor's share is spread over all, so that no actor is left with most of the work.
    """
    numbers: dict[str, int] = {}
    lane_of = np.fromiter((numbers.setdefault(lane, len(numbers)) for lane in lanes), np.int64)
    ends = np.cumsum(np.bincount(lane_of, minlength=len(numbers)))
    by_lane = np.split(np.argsort(lane_of, kind="stable"), ends[:-1])
    shares: list[list[Places]] = [[] for _ in range(n)]
    sizes = [0] * n
    for places in sorted(by_lane, key=len, reverse=True):
        if len(places) > len(lane_of) / n / 2:
            pieces = [(i, places[nth::n]) for nth, i in enumerate(sorted(range(n), key=sizes.__getitem__))]
        else:
            pieces = [(sizes.index(min(sizes)), places)]
        for i, piece in pieces:
            shares[i].append(piece)
            sizes[i] += len(piece)
    return [np.sort(np.concatenate(share)) if share else np.empty(0, np.int64) for share in shares]


class _Hand:
    """An actor as the driver sees it: what it still has to do, and the stream of what it tells."""

    def __init__(self, name: str, handle: Any, items: Load, places: Places) -> None:
        self.name = name
        self.handle = handle
        self._items = items
        self._set_to_work(places)

    def _set_to_work(self, places: Places) -> None:
        self._given = places
        self._is_left = np.ones(len(places), bool)
        self._told: Counter[str] = Counter()
        self.stream = self.handle.run.options(num_returns="streaming").remote(self._items.take(places))

    def next_batch(self) -> Batch | None:
        """What the actor tells next, with places in the whole list; None if it has no more to do."""
        try:
            batch: Batch = ray.get(next(self.stream))
        except StopIteration:
            self._is_left[:] = False
            return None
        except RayTaskError as error:
            raise error.cause from None  # the job's own error, not Ray's wrapper
        self._told.update(batch.counts)
        if batch.stored is None:
            return batch
        self._told.clear()
        self._is_left[batch.done] = False
        return Batch(batch.counts, self._given[batch.done], batch.stored)

    def begin_again(self) -> Batch:
        """Hand what is left to the process that Ray starts in place of a dead one.

        What that had fetched and not stored counts no longer.
        """
        lost = {status: -n for status, n in self._told.items()}
        self._set_to_work(self._given[self._is_left])
        return Batch(lost)

    @property
    def is_done(self) -> bool:
        return not self._is_left.any()


def _watch(crew: list[_Hand]) -> Iterator[Batch]:
    while busy := {hand.stream: hand for hand in crew if not hand.is_done}:
        (stream, *_), _ = ray.wait(list(busy), num_returns=1, fetch_local=False)
        hand = busy[stream]
        try:
            batch = hand.next_batch()
        except RayActorError as error:
            if isinstance(error, ActorDiedError):
                raise WorkerDied(hand.name, str(error).splitlines()[0]) from None
            batch = hand.begin_again()
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


class _Tally:
    """Counts items, and tells Ray's metrics twice a second: each call costs about as much as a fetch."""

    def __init__(self, metrics: StageMetrics) -> None:
        self._metrics = metrics
        self._counts: Counter[str] = Counter()
        self._told = time.monotonic()

    def count(self, status: str) -> None:
        self._counts[status] += 1

    def is_due(self) -> bool:
        return time.monotonic() - self._told >= TELL_EVERY_S

    def tell(self) -> dict[str, int]:
        """What was counted since the last time."""
        counts, self._counts = self._counts, Counter()
        for status, n in counts.items():
            if status == OK:
                self._metrics.done(n)
            else:
                self._metrics.failed(status, n)
        self._told = time.monotonic()
        return dict(counts)
