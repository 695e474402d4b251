"""What the facts of machines mean for a run: each check is a function from facts to findings.

Knows what a run needs, and why. Knows nothing of how facts are gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raylike import descriptors
from raylike.config import Settings
from raylike.doctor.facts import MachineFacts
from raylike.errors import CannotWrite, ConfigError, RaylikeError, ServiceUnavailable

LITTLE_MEMORY_GIB = 6.0
"""A laptop run's processes were seen to take 4.1 GiB together (benchmarks/README.md)."""
LITTLE_DISK_GIB = 10.0
"""120,000 photos of 67 kB and their features take 10.3 GB (docs/cluster.md)."""
NO_DISK_GIB = 1.0
SKEW_SEEN_S = 5.0
"""Ages of posts and reset times of limits shift by as much."""
SKEW_HARMFUL_S = 240.0
"""Two runs may then both believe that they hold the lock of a workspace (`lease.py`)."""

Verdict = Literal["ok", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes
    ----------
    about : what was looked at: versions, clock, disk, ...
    machine : where; empty for what concerns the run as a whole
    verdict : bad is what a run would end with, warning what it would bear
    says : what was found
    hint : what to do about it
    exit_code : what a run would end with, by `errors.py`; 0 unless bad
    """

    about: str
    machine: str
    verdict: Verdict
    says: str
    hint: str = ""
    exit_code: int = 0


def ok(about: str, machine: str, says: str) -> Finding:
    """All is well."""
    return Finding(about, machine, "ok", says)


def warning(about: str, machine: str, says: str, hint: str = "") -> Finding:
    """A run goes on in spite of it."""
    return Finding(about, machine, "warning", says, hint)


def bad(about: str, machine: str, error: RaylikeError) -> Finding:
    """A run would end with this error."""
    says = f"{error.where}: {error.what}" if error.where else error.what
    return Finding(about, machine, "bad", says, error.hint, error.exit_code)


def machine(facts: MachineFacts, settings: Settings, necessary: Mapping[str, str]) -> Iterator[Finding]:
    """What can be said of a machine without looking at any other.

    Parameters
    ----------
    necessary : `host:port` without which a run cannot go on -> what it is for
    """
    yield _memory(facts)
    for folder, free_gib in facts.disk_free_gib.items():
        yield _disk(facts.name, folder, free_gib)
    yield _descriptors(facts, settings.download.in_flight)
    for address, why in facts.unreached.items():
        yield _unreached(facts.name, address, why, necessary)


def versions(here: MachineFacts, nodes: Sequence[MachineFacts]) -> Iterator[Finding]:
    """Whether every node of a cluster has what this machine has."""
    for node in nodes:
        differing = [
            f"{package} {node.versions.get(package) or 'missing'} instead of {wanted or 'none'}"
            for package, wanted in here.versions.items()
            if node.versions.get(package) != wanted
        ]
        if differing:
            hint = "set up all machines from the same uv.lock, or submit with `raylike submit`"
            yield bad("versions", node.name, ServiceUnavailable(", ".join(differing), "", hint))
        else:
            yield ok("versions", node.name, "as here")


def clock(node: str, skew_s: float, uncertain_s: float) -> Finding:
    """Whether a node's clock agrees with this machine's, as far as the way of the answer lets one say."""
    certain = max(0.0, abs(skew_s) - uncertain_s)
    says = f"{abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's"
    hint = "have all machines' clocks set by NTP"
    if certain >= SKEW_HARMFUL_S:
        return bad("clock", node, ServiceUnavailable(says, "", hint))
    if certain >= SKEW_SEEN_S:
        return warning("clock", node, says, hint)
    return ok("clock", node, f"within {max(uncertain_s, 0.1):.1f} s of this machine's")


def gpus(machines: Sequence[MachineFacts], device: str) -> Finding:
    """Whether there are GPUs where some are wanted."""
    having = [facts for facts in machines if facts.gpus]
    if device == "cpu":
        return ok("GPU", "", "none is wanted (device = cpu)")
    if not having:
        if device == "cuda":
            hint = "use --device auto, or a machine that has one"
            return bad("GPU", "", ConfigError("no GPU was found", "--device cuda", hint))
        return ok("GPU", "", "there is none: models run on CPUs")
    names = ", ".join(sorted({name for facts in having for name in facts.gpus}))
    says = (
        f"{sum(len(facts.gpus) for facts in having)} ({names}) on {len(having)} of {len(machines)} machines"
    )
    return ok("GPU", "", says)


def exposure(machines: Sequence[MachineFacts], asks_for_token: bool | None) -> Iterator[Finding]:
    """Whether strangers could run code through Ray's ports.

    Parameters
    ----------
    asks_for_token : whether Ray's dashboard turned us away without one; None if there is no dashboard
    """
    for facts in machines:
        if not facts.open_ports:
            yield ok("ports", facts.name, "Ray listens on loopback only, or not at all")
            continue
        listed = f"Ray listens on {', '.join(facts.open_ports[:4])}"
        if len(facts.open_ports) > 4:
            listed += f" and {len(facts.open_ports) - 4} more"
        if asks_for_token:
            yield ok("ports", facts.name, f"{listed}, and asks for its token")
            continue
        hint = "start Ray with RAY_AUTH_MODE=token, and let a firewall admit the cluster's own machines only"
        if asks_for_token is None:
            yield warning("ports", facts.name, f"{listed}; whether it asks for a token is not known", hint)
        else:
            yield bad("ports", facts.name, ConfigError(f"{listed}, and asks nobody for a token", "", hint))


def _memory(facts: MachineFacts) -> Finding:
    says = f"{facts.memory_gib:.1f} GiB"
    if facts.memory_gib < LITTLE_MEMORY_GIB:
        return warning(
            "memory", facts.name, says, f"runs were tried with {LITTLE_MEMORY_GIB:.0f} GiB and more"
        )
    return ok("memory", facts.name, says)


def _disk(name: str, folder: str, free_gib: float) -> Finding:
    says = f"{free_gib:.1f} GiB are free in {folder}"
    if free_gib < NO_DISK_GIB:
        return bad("disk", name, CannotWrite(says, "", "make room, or choose another --workspace"))
    if free_gib < LITTLE_DISK_GIB:
        return warning("disk", name, says, f"the study's 120,000 photos need {LITTLE_DISK_GIB:.0f} GiB")
    return ok("disk", name, says)


def _descriptors(facts: MachineFacts, in_flight: int) -> Finding:
    fitting = descriptors.plan(in_flight, facts.descriptors).in_flight
    if fitting < in_flight:
        says = (
            f"a process may have {facts.descriptors} open: {fitting} downloads at once instead of {in_flight}"
        )
        return warning("descriptors", facts.name, says, "raise it: `ulimit -n 65536`")
    return ok("descriptors", facts.name, f"a process may have {facts.descriptors:,} open")


def _unreached(name: str, address: str, why: str, necessary: Mapping[str, str]) -> Finding:
    purpose = necessary.get(address)
    if purpose is None:
        return warning("network", name, f"{address} cannot be reached: {why}", "needed for trained weights")
    return bad("network", name, ServiceUnavailable(f"cannot be reached for {purpose}: {why}", address))
