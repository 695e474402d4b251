"""Counts of work done, as Ray custom metrics: in the dashboard and at every node's metrics port.

Created inside the process that does the work. `METRICS` is all that there are: the Grafana dashboard and
the list in docs/monitoring.md are written from it. Knows nothing of what an item is.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from ray.util.metrics import Counter, Gauge

RATE_WINDOW_S = 10.0


@dataclass(frozen=True)
class Metric:
    """What one metric says.

    Attributes
    ----------
    name : as it is given to Ray, which shows it as `ray_NAME`
    meaning : what a value stands for
    unit : items, hits, s, ...; of a counter, what it counts
    tags : names of its labels
    of : what the dashboard shows it with: stages, training or tokens
    across : how values of several processes become one; counters are always added up
    """

    name: str
    meaning: str
    unit: str
    tags: tuple[str, ...]
    of: Literal["stages", "training", "tokens"]
    across: Literal["sum", "max"] = "sum"

    @property
    def counts(self) -> bool:
        """Whether it only ever grows."""
        return self.name.endswith("_total")

    def counter(self) -> Counter:
        """Ray's object for it, in this process."""
        return Counter(self.name, self.meaning, tag_keys=self.tags)

    def gauge(self) -> Gauge:
        """Ray's object for it, in this process."""
        return Gauge(self.name, self.meaning, tag_keys=self.tags)


STAGE, TOKEN = ("stage",), ("alias",)

ITEMS = Metric("raylike_items_total", "items finished", "items", STAGE, "stages")
RATE = Metric("raylike_items_per_second", "items a second, over 10 s", "items/s", STAGE, "stages")
FAILURES = Metric("raylike_failures_total", "items that failed", "items", ("stage", "cause"), "stages")
LEFT = Metric("raylike_items_left", "items not finished", "items", STAGE, "stages", "max")
ETA = Metric("raylike_eta_seconds", "until all items are finished", "s", STAGE, "stages", "max")

LOSS = Metric("raylike_training_loss", "training loss since the last look", "", STAGE, "training", "max")
VALIDATION_AP = Metric(
    "raylike_validation_ap", "average precision on the validation photos", "", STAGE, "training", "max"
)

TOKEN_HITS = Metric("raylike_token_hits_total", "requests sent", "hits", TOKEN, "tokens")
TOKEN_ERRORS = Metric(
    "raylike_token_errors_total", "requests that brought no answer", "hits", ("alias", "cause"), "tokens"
)
TOKEN_WAITED = Metric("raylike_token_waited_seconds_total", "waited for budget", "s", TOKEN, "tokens")
TOKEN_REMAINING = Metric("raylike_token_remaining", "hits left now", "hits", TOKEN, "tokens", "max")
TOKEN_RESET = Metric(
    "raylike_token_reset_seconds", "until there is budget again", "s", TOKEN, "tokens", "max"
)
TOKEN_CIRCUIT = Metric(
    "raylike_token_circuit_open", "1 while its host does not answer", "", TOKEN, "tokens", "max"
)

METRICS = (
    ITEMS, RATE, FAILURES, LEFT, ETA, LOSS, VALIDATION_AP,
    TOKEN_HITS, TOKEN_ERRORS, TOKEN_WAITED, TOKEN_REMAINING, TOKEN_RESET, TOKEN_CIRCUIT,
)  # fmt: skip


class StageMetrics:
    """Items, items a second and failures of one stage in one process."""

    def __init__(self, stage: str) -> None:
        self._tags = {"stage": stage}
        self._items = ITEMS.counter()
        self._rate = RATE.gauge()
        self._failures = FAILURES.counter()
        self._recent: deque[tuple[float, int]] = deque()
        self._started = time.monotonic()

    def done(self, n: int = 1) -> None:
        """Count `n` finished items."""
        if n < 1:
            return
        self._items.inc(n, self._tags)
        now = time.monotonic()
        self._recent.append((now, n))
        while self._recent[0][0] < now - RATE_WINDOW_S:
            self._recent.popleft()
        window_s = min(RATE_WINDOW_S, now - self._started)
        self._rate.set(sum(k for _, k in self._recent) / max(window_s, 0.1), self._tags)

    def failed(self, cause: str, n: int = 1) -> None:
        """Count `n` items that failed for `cause`, one of a small set of words."""
        if n > 0:
            self._failures.inc(n, {**self._tags, "cause": cause})


class TrainingMetrics:
    """How well a network does that one stage trains, told by the process that looks."""

    def __init__(self, stage: str) -> None:
        self._tags = {"stage": stage}
        self._loss = LOSS.gauge()
        self._validation_ap = VALIDATION_AP.gauge()

    def looked(self, loss: float, validation_ap: float) -> None:
        """Tell what a look at the network has shown."""
        self._loss.set(loss, self._tags)
        self._validation_ap.set(validation_ap, self._tags)


class Forecast:
    """Items that a stage has still to do, and how long that takes: set by the driver, which knows all."""

    def __init__(self, stage: str, total: int) -> None:
        self._tags = {"stage": stage}
        self._left = LEFT.gauge()
        self._eta = ETA.gauge()
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    def done(self, n: int) -> None:
        """Count `n` finished items, whatever became of them."""
        self._done += n
        left = max(0, self._total - self._done)
        self._left.set(left, self._tags)
        if self._done:
            self._eta.set(left * (time.monotonic() - self._started) / self._done, self._tags)
