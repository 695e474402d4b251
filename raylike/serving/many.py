"""Many photos scored by Ray Data: a model in each process, results in the order of the photos.

Knows Ray Data. Knows nothing of what scoring is (`raylike/scoring`).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from raylike import cluster
from raylike.scoring import running, sources
from raylike.scoring.results import PhotoScore, Wanted
from raylike.scoring.scorer import Scorer
from raylike.scoring.sources import Reader, Source

MANY = 500
"""Photos from which Ray pays: it and its processes take 20 to 40 s to start."""
TOGETHER = 32
"""Photos in a task."""


class ScoreBatch:
    """A scorer in a process of its own."""

    def __init__(
        self, make_scorer: Callable[[], Scorer], reader: Reader, wanted: Wanted, threads: int
    ) -> None:
        import torch

        from raylike.vision import decode

        decode.use_threads(1)
        torch.set_num_threads(threads)
        self._scorer = make_scorer()
        self._reader = reader
        self._wanted = wanted

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score the photos of one row; their place among all goes with them."""
        batch = [Source(**source) for source in row["sources"]]
        found = running.score_each(batch, self._reader, self._scorer, self._wanted)
        return {"number": row["number"], "results": pickle.dumps([result for result, _ in found])}


def score_many(
    photos: Sequence[Source], make_scorer: Callable[[], Scorer], reader: Reader, wanted: Wanted
) -> Iterator[PhotoScore]:
    """Each photo's result, in order; a Ray of this machine's must be up.

    Parameters
    ----------
    make_scorer : called in each process
    """
    from ray.data import ActorPoolStrategy

    batches = list(sources.in_batches(photos, TOGETHER))
    rows = [
        {"number": number, "sources": [asdict(source) for source in batch]}
        for number, batch in enumerate(batches)
    ]
    pool = cluster.plan_pool(cluster.cpus(), 0, n_items=len(photos), node_cpus=cluster.node_cpus())
    scored = cluster.from_items(rows).map(
        ScoreBatch,
        fn_constructor_args=(make_scorer, reader, wanted, pool.threads),
        compute=ActorPoolStrategy(size=pool.size),
        num_cpus=pool.num_cpus,
    )
    waiting: dict[int, bytes] = {}
    due = 0
    for row in scored.iter_rows():
        waiting[row["number"]] = row["results"]
        while due in waiting:
            yield from pickle.loads(waiting.pop(due))
            due += 1
