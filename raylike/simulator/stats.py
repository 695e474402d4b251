"""What a simulated network saw: the other side's view of a run, for tests and benchmarks."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Stats:
    """Counts of requests and of how they were answered."""

    def __init__(self) -> None:
        self.hits: Counter[int] = Counter()
        self.first_hit_s = self.all_at_work_s = self.last_hit_s = 0.0
        self.hits_by_then = 0
        self.violations = 0
        self.bad_tokens = 0
        self.pages: Counter[str] = Counter()
        self.users: Counter[str] = Counter()
        self.photos: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        """Answers that were made, by the mention."""
        self.faults: Counter[str] = Counter()

    def count_hit(self, token: int, now: float) -> None:
        """Count a hit of a token that is known, at a moment of the server's clock."""
        self.first_hit_s = self.first_hit_s or now
        if token not in self.hits:
            self.all_at_work_s, self.hits_by_then = now, self.hits.total()
        self.last_hit_s = now
        self.hits[token] += 1

    def as_json(self, tokens: int) -> dict[str, Any]:
        """Everything as plain numbers.

        `until_all_at_work_s` counts from the first hit of all to the first hit of the last token, and
        `hits_by_then` the hits of all in that time.
        `users_asked` counts accounts that got an answer, `users_asked_twice` those that got more than
        one; likewise pages and photos. `violations` are hits beyond a token's limit.
        """
        return {
            "hits": [self.hits[token] for token in range(tokens)],
            "first_to_last_hit_s": self.last_hit_s - self.first_hit_s,
            "until_all_at_work_s": self.all_at_work_s - self.first_hit_s,
            "hits_by_then": self.hits_by_then,
            "violations": self.violations,
            "bad_tokens": self.bad_tokens,
            **{
                key: value
                for name, counter in (("pages", self.pages), ("users", self.users), ("photos", self.photos))
                for key, value in (
                    (f"{name}_asked", len(counter)),
                    (f"{name}_asked_twice", sum(count > 1 for count in counter.values())),
                    (f"{name}_answers", counter.total()),
                )
            },
            "mentions_answered": len(self.answered),
            "mentions_answered_twice": sum(count > 1 for count in self.answered.values()),
            "faults": dict(self.faults),
        }
