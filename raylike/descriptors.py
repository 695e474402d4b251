"""How many descriptors (sockets and files) a downloader process needs, and whether it may have them.

The study's downloads failed on this limit, which many systems set to 1,024 or less. Knows the operating
system's limit. Knows nothing of HTTP.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

RESERVED = 256
"""Of a process, besides connections: Ray's own sockets and files (about 60 were counted in an idle actor),
name look-ups in threads, Parquet parts being written."""

PER_REQUEST = 2
"""A connection in use, and one kept for the next request to another host."""


@dataclass(frozen=True)
class DescriptorPlan:
    """What a process will use.

    Attributes
    ----------
    in_flight : requests under way that the limit leaves room for; never more than were wanted
    descriptors : at most so many in all
    """

    in_flight: int
    descriptors: int

    @property
    def connections(self) -> int:
        """At most so many of them are connections."""
        return PER_REQUEST * self.in_flight


def plan(in_flight: int, hard_limit: int) -> DescriptorPlan:
    """Fit the number of requests under way into the limit; at least one is always tried."""
    room = (hard_limit - RESERVED) // PER_REQUEST if hard_limit != resource.RLIM_INFINITY else in_flight
    fitting = max(1, min(in_flight, room))
    return DescriptorPlan(fitting, RESERVED + PER_REQUEST * fitting)


def hard_limit() -> int:
    """The most descriptors that this process may ask for."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def allow(descriptors: int) -> None:
    """Raise this process's limit to so many, as far as it may; a higher one is left alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
