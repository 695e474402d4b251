"""What lives in a Ray worker between calls: a token, a connection pool, a model.

Knows Ray. Knows nothing of photos, posts or networks: what to run arrives as a factory.
"""

from __future__ import annotations

import os

# Ray reads these when it is first imported, and hands them to the processes that it starts.
_RAY_ENVIRONMENT = {
    # Under `uv run`, Ray would zip the folder and build an environment for every worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Silences a warning about accelerators that are not there.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Version 2 of Ray Data's sources starts 32 processes for each read of Parquet files.
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    # Workers do the work of the run: they need not stand behind everything else on the machine.
    "RAY_worker_niceness": "0",
    # A slow or busy machine takes longer to start than Ray's 30 s.
    "RAY_raylet_start_wait_time_s": "180",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
    # How often Ray Train looks at its workers: how long it takes to notice that they are done.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Ray Tune's newer output prints where its results lie, even when told to be silent.
    "RAY_AIR_NEW_OUTPUT": "0",
    # torch asks for huge pages: a training step of AlexNet's classifier takes a third less time, most
    # of which went into page faults under 216 MB of gradients.
    "THP_MEM_ALLOC_ENABLE": "1",
    # glibc gives large buffers back to the kernel after every layer, and gets them again as fresh pages:
    # a tenth of the time of a forward pass.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
}
for _name, _value in _RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
