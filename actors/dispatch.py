"""Pull-dispatch: whichever token has budget takes the next batch.

The driver keeps three batches with every token that has budget and reads results as they come. A token
without budget gives its batch back and rests until its time; a dead actor's batches go to the others
while Ray starts it anew; a revoked token leaves for good. So no item is lost, an item is asked for
twice only when a process died, and a slow token holds nobody up.

Knows Ray and token actors. Knows nothing of what the items are.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from actors.metrics import Forecast
from actors.outcomes import AllUsedUp, Credential, NoTokenLeft
from actors.packing import share_out
from actors.slots import Answer, Client
from actors.tokens import TokenOptions, start

logger = logging.getLogger(__name__)

BATCHES_OUT = 3
"""Per token: one under way, one whose last hits are, and one to go on with while results travel. What is
under way is lost when a process dies, what only waits is not: so batches are small rather than few."""

QUICK_S = 0.2
"""A batch that is done sooner is followed by one of twice the size: each costs a call between processes."""

RETURN_TO_DUTY_S = 0.5
"""Pause before an actor that Ray is starting anew is asked again whether it runs."""

SAY_EVERY_S = 30.0
"""Between two lines about the same wait."""

WORTH_SAYING_S = 5.0
"""A shorter wait is not mentioned."""


@dataclass
class _Token:
    """A token as the driver sees it."""

    credential: Credential
    actor: _Actor
    batch: int
    out: int = 0
    rests_until: float = 0.0
    revoked: bool = False

    def can_take(self, now: float) -> bool:
        return self.actor.ready and not self.revoked and self.out < BATCHES_OUT and self.rests_until <= now


@dataclass(frozen=True)
class _Order:
    """A batch on its way, or what was late of one."""

    token: _Token
    items: list[Any]
    sent_at: float
    is_late: bool = False


@dataclass
class _Actor:
    """A token actor's handle and whether it answers."""

    handle: Any
    ready: bool = False
    dead: bool = False
    asked_again_at: float = 0.0


class TokenPool:
    """Token actors for the length of a `with` block; they start at once and in parallel.

    Parameters
    ----------
    make_client : builds the client inside each actor; pickled, so a module's function or a partial of one
    say : receives lines for the user: a token revoked, a process restarted, a wait
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        make_client: Callable[[], Client],
        options: TokenOptions,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        self._options = options
        self._say = say
        self._tokens: list[_Token] = []
        self._actors: list[_Actor] = []
        self._starting: dict[Any, _Actor] = {}
        self.reasons: dict[str, str] = {}
        for group in share_out(credentials, options.processes or len(credentials)):
            actor = _Actor(start(group, make_client, options))
            self._actors.append(actor)
            self._tokens += [
                _Token(credential, actor, options.batch or options.in_flight) for credential in group
            ]
            self._starting[actor.handle.ready.remote()] = actor

    def __enter__(self) -> TokenPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            ray.kill(actor.handle)

    def ask(
        self,
        items: Iterable[Any],
        total: int,
        *,
        wait: bool = True,
        before_rest: Callable[[], None] = lambda: None,
    ) -> Iterator[Answer]:
        """Yield answers as they arrive, until every item is answered or given up.

        Parameters
        ----------
        total : number of items; batches get smaller towards the end, so that all tokens end together
        wait : when no token has budget, wait; otherwise raise
        before_rest : called before such a wait: the moment to write down what has arrived

        Raises
        ------
        AllUsedUp : if `wait` is False and no token has budget
        NoTokenLeft : if items remain and no token does
        """
        # Towards the end batches get smaller, but never so small that a token's requests under way get fewer.
        per_hit = self._options.items_per_hit
        smallest = max(1, self._options.in_flight // BATCHES_OUT) * per_hit
        shares = 2 * BATCHES_OUT * len(self._tokens)
        queue = _Queue(items, total, smallest, shares)
        forecast = Forecast(self._options.stage, total)
        out: dict[Any, _Order] = {}
        for token in self._tokens:
            token.out = 0
        while True:
            self._hand_out(queue, out)
            if not out and queue.is_empty():
                return
            now = time.monotonic()
            if not out and not self._starting:
                before_rest()
                self._rest(now, wait=wait)
                continue
            pending = [*out, *self._starting]
            done, _ = ray.wait(pending, num_returns=1, timeout=self._next_turn_s(now), fetch_local=False)
            for ref in done:
                if ref in self._starting:
                    self._arrived(ref)
                    continue
                order = out.pop(ref)
                order.token.out -= not order.is_late
                answer = self._answer(ref, order.token)
                if answer is None:
                    queue.give_back(order.items)
                    continue
                queue.give_back(answer.left)
                self._note(order, answer)
                if answer.late:
                    late = order.token.actor.handle.late.remote(answer.alias, answer.late_key, answer.late)
                    out[late] = _Order(order.token, answer.late, order.sent_at, is_late=True)
                forecast.done(answer.asked + len(answer.failed))
                self._hand_out(queue, out)  # before the caller works on the results: no token idles
                yield answer

    def _hand_out(self, queue: _Queue, out: dict[Any, _Order]) -> None:
        now = time.monotonic()
        for actor in self._actors:
            if self._is_down(actor) and actor.asked_again_at <= now:
                self._starting[actor.handle.ready.remote()] = actor
        # One batch to each in turn, the least busy first: the last batches are spread over all.
        for _ in range(BATCHES_OUT):
            for token in sorted(self._tokens, key=lambda token: token.out):
                size = token.batch * self._options.items_per_hit
                if token.can_take(now) and (batch := queue.take(size)):
                    token.out += 1
                    ref = token.actor.handle.ask.remote(token.credential.alias, batch)
                    out[ref] = _Order(token, batch, now)

    def _answer(self, ref: Any, token: _Token) -> Answer | None:
        """The answer, or None if the process died with the batch."""
        try:
            answer: Answer = ray.get(ref)
        except RayActorError as error:
            self._lost(token.actor, error)
            return None
        except RayTaskError as error:
            raise error.cause from None  # the client's own error, not Ray's wrapper
        return answer

    def _arrived(self, ref: Any) -> None:
        actor = self._starting.pop(ref)
        try:
            ray.get(ref)
        except RayActorError as error:
            self._lost(actor, error)
        except RayTaskError as error:
            raise error.cause from None
        else:
            actor.ready = True

    def _lost(self, actor: _Actor, error: RayActorError) -> None:
        held = [token for token in self._tokens if token.actor is actor and not token.revoked]
        if isinstance(error, ActorDiedError) and not actor.dead:
            actor.dead = True
            for token in held:
                self.reasons[token.credential.label] = "its process died and cannot be started again"
            self._say(f"gave up {_names(held)}: the process died and cannot be started again")
        elif actor.ready:
            self._say(f"the process of {_names(held)} died; it is started again")
        actor.ready = False
        actor.asked_again_at = time.monotonic() + RETURN_TO_DUTY_S

    def _note(self, order: _Order, answer: Answer) -> None:
        token = order.token
        if answer.asked == len(order.items):
            token.batch = next_batch(
                token.batch, time.monotonic() - order.sent_at, self._options.largest_batch
            )
        if answer.wait_s:
            token.rests_until = max(token.rests_until, time.monotonic() + answer.wait_s)
        if answer.revoked is not None and not token.revoked:
            token.revoked = True
            self.reasons[token.credential.label] = answer.revoked
            self._say(f"token {token.credential.label} is no longer accepted: {answer.revoked}")

    def _is_down(self, actor: _Actor) -> bool:
        """Whether an actor died, may come back, and was not yet asked whether it has."""
        return not (actor.ready or actor.dead or actor in self._starting.values())

    def _next_turn_s(self, now: float) -> float | None:
        """Seconds until a resting token or a restarting actor is due; None if there is none."""
        due = [t.rests_until for t in self._tokens if not t.revoked and t.actor.ready and t.rests_until > now]
        due += [actor.asked_again_at for actor in self._actors if self._is_down(actor)]
        return max(0.001, min(due) - now) if due else None

    def _rest(self, now: float, *, wait: bool) -> None:
        """Nothing is under way: sleep until a token has budget again."""
        alive = [t for t in self._tokens if not t.revoked and not t.actor.dead]
        if not alive:
            raise NoTokenLeft(dict(self.reasons))
        wait_s = self._next_turn_s(now)
        if wait_s is None:
            return
        if any(not t.actor.ready for t in alive):
            time.sleep(min(wait_s, RETURN_TO_DUTY_S))
            return
        if not wait:
            raise AllUsedUp(wait_s)
        if wait_s >= WORTH_SAYING_S:
            self._say(f"all {len(alive)} tokens are used up; next hit in {_span(wait_s)}")
        time.sleep(min(wait_s, SAY_EVERY_S))


def next_batch(size: int, took_s: float, largest: int) -> int:
    """Size of the batch after one of `size` that was done in `took_s` seconds."""
    return min(2 * size, largest) if took_s < QUICK_S and size < largest else size


class _Queue:
    """Items to be asked for: those given back first, then the rest of the source."""

    def __init__(self, items: Iterable[Any], total: int, smallest: int, shares: int) -> None:
        self._source = iter(items)
        self._returned: deque[Any] = deque()
        self._left = total
        self._smallest = smallest
        self._shares = shares

    def take(self, most: int) -> list[Any]:
        size = max(min(self._smallest, most), min(most, -(-self._left // self._shares)))
        batch = [self._returned.popleft() for _ in range(min(size, len(self._returned)))]
        batch += islice(self._source, size - len(batch))
        self._left -= len(batch)
        return batch

    def give_back(self, items: Sequence[Any]) -> None:
        self._returned.extend(items)
        self._left += len(items)

    def is_empty(self) -> bool:
        if self._returned:
            return False
        self._returned.extend(islice(self._source, 1))
        return not self._returned


def _names(tokens: Sequence[_Token]) -> str:
    return ", ".join(token.credential.label for token in tokens) or "no token"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
