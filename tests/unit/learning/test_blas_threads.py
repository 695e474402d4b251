"""Small products keep to one thread; the CPUs are shared out for large ones."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from raylike.learning import blas_threads


@pytest.mark.parametrize(("rows", "at_once", "expected"), [(10, 1, 1), (2000, 1, 2), (2000, 2, 1)])
def test_threads_follow_the_size_of_the_rows(
    rows: int, at_once: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas_threads, "cpu_count", lambda: 2)
    monkeypatch.setattr(blas_threads, "ONE_THREAD_UP_TO", 10_000)
    with blas_threads.suited_to(np.zeros((rows, 10), dtype=np.float32), at_once):
        found = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert found == {expected}
