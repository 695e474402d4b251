"""Many fetches at once on one event loop, and no host that holds up the others.

Every item belongs to a lane, by its host. Lanes take turns; each has at most so many fetches under
way, and all together have a bound as well. A host that asks for patience pauses its own lane, and an
item that waits for another try holds no place. So slow, broken and strict hosts cost the good ones
little, and open connections are bounded whatever the number of items.

A lane's first item goes alone: only its outcome tells what kind of host this is. A host that gives no
answer several times in a row is taken for down: its lane pauses, one item after each pause looks whether
it is back, and no item is blamed for it until patience ends. So an outage costs time and no item.

Knows asyncio. Knows nothing of Ray, HTTP or what is fetched.
"""

from __future__ import annotations

import asyncio
import heapq
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from actors.circuit import Circuit, CircuitOptions
from actors.outcomes import RateLimited, Transient
from actors.paced import Backoff

HOST_DOWN = CircuitOptions(failures_to_open=3, cap_s=10.0, give_up_after_s=90.0, first_answer_s=40.0)
"""Longer than the outages of half a minute that a run should outlive; shorter for a host that never was."""

Item = TypeVar("Item")
Row = TypeVar("Row")
Item_contra = TypeVar("Item_contra", contravariant=True)
Item_co = TypeVar("Item_co", covariant=True)
Row_co = TypeVar("Row_co", covariant=True)


class Items(Protocol[Item_co]):
    """What is to be fetched; more than once gone through, and asked for by place."""

    def __getitem__(self, place: int, /) -> Item_co: ...
    def __iter__(self) -> Iterator[Item_co]: ...


class Unanswered(Transient):
    """No answer at all: what is wrong is the host or the way there, not the item."""


class Fetcher(Protocol[Item_contra, Row_co]):
    """Fetches one item. What is wrong with an item for good is a row, too."""

    def lane(self, item: Item_contra) -> str:
        """Whom the item is asked of: the host's name."""

    async def fetch(self, item: Item_contra) -> Row_co:
        """One try. Raises `Transient`, `Unanswered` or `RateLimited` where another may succeed."""

    def give_up(self, item: Item_contra, trouble: Transient | RateLimited) -> Row_co:
        """The row of an item for which no try succeeded."""


@dataclass(frozen=True)
class Traffic:
    """How much at once, and how often again.

    Attributes
    ----------
    in_flight : fetches under way in all lanes together
    per_lane : fetches under way in one lane
    patience_s : a host that asks for a longer pause is given up, with all its items
    circuit : when a host is taken for down, and when it is given up, with all its items
    """

    in_flight: int = 32
    per_lane: int = 32
    patience_s: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    circuit: CircuitOptions = HOST_DOWN


async def fetch_all(
    fetcher: Fetcher[Item, Row], items: Items[Item], traffic: Traffic
) -> AsyncGenerator[tuple[int, Row], None]:
    """Yield the index and the row of every item, each once, in the order in which they are done.

    Nothing new is started while the consumer is busy; close the iterator to cancel what is under way.
    """
    board = _Board(fetcher, items, traffic)
    try:
        for _ in items:
            yield await board.next_row()
    finally:
        await board.cancel()


@dataclass
class _Lane:
    """A host: who waits for it, how many are with it, and what it asked for.

    Items that come back go `first`, or `last`; between them are the places of those that are `untried`, in
    reverse and 8 bytes each, as there may be a million. `most` are under way at once: one until the first
    is back.
    """

    circuit: Circuit
    most: int = 1
    first: deque[_Try] = field(default_factory=deque)
    untried: array[int] = field(default_factory=lambda: array("q"))
    last: deque[_Try] = field(default_factory=deque)
    active: int = 0
    rows: int = 0
    refusals: int = 0
    paused_until: float = 0.0
    closed: Transient | RateLimited | None = None
    has_turn: bool = False

    def has_more(self) -> bool:
        """Whether an item waits for its turn."""
        return bool(self.first or self.untried or self.last)

    def next_try(self) -> _Try:
        """The item whose turn it is."""
        if self.first:
            return self.first.popleft()
        return _Try(self.untried.pop(), self) if self.untried else self.last.popleft()


@dataclass(slots=True)
class _Try:
    """An item on its way: tries that failed, and how many rows its lane had when it was last refused."""

    index: int
    lane: _Lane
    failures: int = 0
    lane_rows: int = -1


class _Board(Generic[Item, Row]):
    """Who may start, who is under way, and who comes back when."""

    def __init__(self, fetcher: Fetcher[Item, Row], items: Items[Item], traffic: Traffic) -> None:
        self._fetcher = fetcher
        self._items = items
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._turns: deque[_Lane] = deque()
        self._due: list[tuple[float, int, _Lane, _Try | None]] = []
        self._n_due = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._back: asyncio.Queue[tuple[_Try, Row | Exception]] = asyncio.Queue()
        self._rows: deque[tuple[int, Row]] = deque()
        lanes: dict[str, _Lane] = {}
        for index, item in enumerate(items):
            name = fetcher.lane(item)
            lane = lanes.get(name)
            if lane is None:
                lane = lanes[name] = _Lane(Circuit(traffic.circuit))
            lane.untried.append(index)
        for lane in lanes.values():
            lane.untried.reverse()
            self._offer_turn(lane)

    async def next_row(self) -> tuple[int, Row]:
        while not self._rows:
            self._start()
            try:
                async with asyncio.timeout_at(self._due[0][0] if self._due else None):
                    attempt, outcome = await self._back.get()
            except TimeoutError:
                continue  # a pause is over
            self._settle(attempt, outcome)
        return self._rows.popleft()

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        """Start whatever may be under way now."""
        while self._due and self._due[0][0] <= self._loop.time():
            _, _, lane, attempt = heapq.heappop(self._due)
            if attempt is not None and lane.circuit.is_open:
                lane.last.append(attempt)  # another item looks next: this one may be at fault itself
            elif attempt is not None:
                lane.first.appendleft(attempt)
            self._offer_turn(lane)
        while self._turns and len(self._tasks) < self._traffic.in_flight:
            lane = self._turns.popleft()
            lane.has_turn = False
            if not lane.has_more() or lane.paused_until > self._loop.time():
                continue  # closed or paused since
            if down_s := lane.circuit.acquire(self._loop.time()):
                self._call_back(self._loop.time() + down_s, lane, None)
                continue
            attempt = lane.next_try()
            lane.active += 1
            task = self._loop.create_task(self._fetch(attempt))
            self._tasks.add(task)
            self._offer_turn(lane)

    def _offer_turn(self, lane: _Lane) -> None:
        if lane.closed is not None:
            while lane.has_more():
                self._give_up(lane.next_try(), lane.closed)
        elif lane.has_more() and not lane.has_turn and lane.active < lane.most:
            lane.has_turn = True
            self._turns.append(lane)

    async def _fetch(self, attempt: _Try) -> None:
        outcome: Row | Exception
        try:
            outcome = await self._fetcher.fetch(self._items[attempt.index])
        except Exception as error:  # judged in `_settle`, where others than the known ones are raised
            outcome = error
        self._back.put_nowait((attempt, outcome))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.discard(task)

    def _settle(self, attempt: _Try, outcome: Row | Exception) -> None:
        lane = attempt.lane
        lane.active -= 1
        lane.most = self._traffic.per_lane
        if not isinstance(outcome, Unanswered):
            lane.circuit.succeeded()
        if isinstance(outcome, RateLimited):
            self._pause(lane, outcome)
            # A strict host is no fault of the item, as long as it lets others through.
            attempt.failures += lane.rows == attempt.lane_rows
            attempt.lane_rows = lane.rows
            self._again(attempt, outcome, 0.0)
        elif isinstance(outcome, Transient):
            attempt.failures += 1
            if isinstance(outcome, Unanswered):
                self._unanswered(attempt, outcome)
            self._again(attempt, outcome, self._traffic.backoff.pause_s(attempt.failures))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            lane.rows += 1
            lane.refusals = 0
            self._rows.append((attempt.index, outcome))
        self._offer_turn(lane)

    def _unanswered(self, attempt: _Try, trouble: Unanswered) -> None:
        lane, now = attempt.lane, self._loop.time()
        lane.circuit.failed(now)
        if lane.circuit.is_hopeless(now):
            lane.closed = trouble
        elif lane.circuit.is_open:  # whoever has had its tries keeps one for when the host is back
            attempt.failures = min(attempt.failures, self._traffic.backoff.attempts - 1)

    def _pause(self, lane: _Lane, limited: RateLimited) -> None:
        now = self._loop.time()
        if lane.paused_until <= now:  # else one of those that were under way when it began
            lane.refusals += 1
        pause_s = limited.retry_after_s
        if pause_s is None:
            pause_s = self._traffic.backoff.pause_s(lane.refusals)
        if pause_s > self._traffic.patience_s:
            lane.closed = limited
        lane.paused_until = max(lane.paused_until, now + pause_s)
        self._call_back(lane.paused_until, lane, None)

    def _again(self, attempt: _Try, trouble: Transient | RateLimited, pause_s: float) -> None:
        if attempt.lane.closed is not None or attempt.failures >= self._traffic.backoff.attempts:
            self._give_up(attempt, trouble)
        elif pause_s:
            self._call_back(self._loop.time() + pause_s, attempt.lane, attempt)
        else:
            attempt.lane.last.append(attempt)

    def _call_back(self, when: float, lane: _Lane, attempt: _Try | None) -> None:
        self._n_due += 1  # ties are broken by order: lanes cannot be compared
        heapq.heappush(self._due, (when, self._n_due, lane, attempt))

    def _give_up(self, attempt: _Try, trouble: Transient | RateLimited) -> None:
        self._rows.append((attempt.index, self._fetcher.give_up(self._items[attempt.index], trouble)))
