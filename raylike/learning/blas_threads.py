"""How many threads BLAS gets: one for small products, since two wait for each other after each of them.

On two cores that other work kept busy, conjugate gradients on 1,500 x 1,024 took 1.1 s with one thread and
12.8 s with two, of which 0.25 and 2.9 s were CPU time.

Knows arrays.
"""

from __future__ import annotations

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

ONE_THREAD_UP_TO = 2**24
"""Numbers of an array up to which its products keep to one thread."""


def suited_to(rows: NDArray[np.float32], at_once: int = 1) -> threadpool_limits:
    """A context with what is best for rows of this size, of which so many problems are solved at once."""
    return threadpool_limits(1 if rows.size <= ONE_THREAD_UP_TO else max(1, cpu_count() // at_once), "blas")
