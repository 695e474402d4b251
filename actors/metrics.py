"""Counts of work done, as Ray custom metrics: in the dashboard and at every node's metrics port.

Created inside the process that does the work. Knows nothing of what an item is.
"""

from __future__ import annotations

import time
from collections import deque

from ray.util.metrics import Counter, Gauge

RATE_WINDOW_S = 10.0


class StageMetrics:
    """Items, items a second and failures of one stage in one process.

    Ray shows them as `ray_raylike_items_total{stage}`, `ray_raylike_items_per_second{stage}` and
    `ray_raylike_failures_total{stage, cause}`.
    """

    def __init__(self, stage: str) -> None:
        self._tags = {"stage": stage}
        self._items = Counter("raylike_items_total", "items finished", tag_keys=("stage",))
        self._rate = Gauge("raylike_items_per_second", "items a second, over 10 s", tag_keys=("stage",))
        self._failures = Counter("raylike_failures_total", "items that failed", tag_keys=("stage", "cause"))
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


class Forecast:
    """Items that a stage has still to do, and how long that takes: set in the driver, which knows the total.

    Ray shows them as `ray_raylike_items_left{stage}` and `ray_raylike_eta_seconds{stage}`.
    """

    def __init__(self, stage: str, total: int) -> None:
        self._tags = {"stage": stage}
        self._left = Gauge("raylike_items_left", "items not finished", tag_keys=("stage",))
        self._eta = Gauge("raylike_eta_seconds", "until all items are finished", tag_keys=("stage",))
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
