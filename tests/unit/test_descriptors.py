"""Connections fit into the process's limit of descriptors, which is raised where it may be."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from raylike.descriptors import PER_REQUEST, RESERVED, plan


@pytest.mark.parametrize(
    ("wanted", "limit", "in_flight"),
    [(32, 1024, 32), (384, 1024, 384), (1000, 1024, 384), (64, 256, 1), (64, 100, 1), (64, 4096, 64),
     (5000, resource.RLIM_INFINITY, 5000)],
)  # fmt: skip
def test_requests_under_way_fit_into_the_limit(wanted: int, limit: int, in_flight: int) -> None:
    found = plan(wanted, limit)
    assert found.in_flight == in_flight
    assert found.connections == PER_REQUEST * in_flight
    assert found.descriptors == RESERVED + PER_REQUEST * in_flight


@pytest.mark.parametrize(("wanted", "expected"), [(90, 100), (150, 150), (900, 200)])
def test_a_low_limit_is_raised_as_far_as_it_may_be_and_never_lowered(wanted: int, expected: int) -> None:
    """In a process of its own: limits cannot be raised again once lowered."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200));"
        f"from raylike.descriptors import allow; allow({wanted});"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected), "200"]
