"""What a worker is shown, in whatever order data come; where it begins; and what becomes of a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
import pytest
from numpy.typing import NDArray

from raylike.errors import CannotWrite
from raylike.learning.batches import Batch, Batches
from raylike.learning.material import Feed
from raylike.sizing import training_shares
from raylike.stages.finetune import ingest, job, worker
from raylike.stages.finetune.ingest import Stream


class Numbers:
    """Photos that are their own numbers."""

    def shown(self, batch: Batch) -> NDArray[Any]:
        return batch.rows


FEED = Feed(Numbers(), Batches(20, 4, 0), rank=1, workers=2)


class Shard:
    """A data set that begins at some step."""

    def __init__(self, name: str, begins: int) -> None:
        first = max(begins, int(name.rsplit(" ", 1)[1]))
        self.steps = range(first, first // ingest.LEG * ingest.LEG + ingest.LEG)

    def iter_batches(self, **_: Any) -> Iterator[dict[str, NDArray[Any]]]:
        for step in self.steps[::2]:
            steps = np.array([step, step + 1])
            yield {"iteration": steps, "photos": np.stack([FEED(s) + 100 for s in (step, step + 1)])}


@pytest.mark.parametrize(("start", "begins"), [(0, 0), (4, 4), (4, 0), (4, 6)])
def test_steps_come_in_order_wherever_the_data_begin(
    monkeypatch: pytest.MonkeyPatch, start: int, begins: int
) -> None:
    monkeypatch.setattr(ingest, "LEG", 8)
    stream = Stream(FEED, start, 20, lambda name: Shard(name, begins))
    for step in range(start, 20):
        by_itself = step < begins
        np.testing.assert_array_equal(stream(step), FEED(step) + (0 if by_itself else 100))


@pytest.mark.parametrize(
    ("cpus", "workers", "shares"),
    [(2, 1, (1.0, 1.0)), (2, 2, (0.5, 1.0)), (16, 4, (1.0, 1.0)), (1, 1, (0.5, 0.5)), (4, 8, (0.37, 1.0))],
)
def test_tasks_find_room_beside_the_workers(cpus: int, workers: int, shares: tuple[float, float]) -> None:
    found = training_shares(cpus, workers, streams=True)
    assert found == pytest.approx(shares)
    assert found[0] * workers + found[1] <= cpus


def test_the_newest_saved_state_says_where_to_begin(tmp_path: Path) -> None:
    local = pyarrow.fs.LocalFileSystem()
    assert job.saved_iteration(local, str(tmp_path / "nothing")) == 0
    for name in (job.saved_name(30), job.saved_name(200), "progress.json", "checkpoint_x"):
        (tmp_path / name).mkdir()
    assert job.saved_iteration(local, str(tmp_path)) == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device that is always full")
def test_a_full_disk_is_told_in_one_line_with_its_own_exit_code() -> None:
    with pytest.raises(CannotWrite, match="cannot be saved") as raised:
        worker.write_state({"tail": np.zeros(10_000).tolist()}, Path("/dev/full"))
    assert raised.value.exit_code == 73
    assert "\n" not in raised.value.what
