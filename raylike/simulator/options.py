"""What a simulator can be told. Knows neither the server nor the world, so that both may import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raylike.errors import ConfigError
from raylike.simulator.faults import FAULTS


@dataclass(frozen=True)
class SimulatorOptions:
    """One simulated world.

    `rate_limit` is "HITS/WINDOW_S" for each token, None for each network's own; `faults` maps a name of
    `faults.FAULTS` to the share of answers it spoils; `port` 0 takes a free one.
    """

    seed: int = 0
    users: int = 2000
    tokens: int = 3
    rate_limit: str | None = None
    latency_s: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.tokens < 1:
            raise ConfigError("a simulated network needs at least one user and one token", "simulator")
        self.limit()
        for name, share in self.faults.items():
            if name not in FAULTS:
                raise ConfigError(
                    f"unknown fault {name!r}", "simulator.faults", f"one of: {', '.join(FAULTS)}"
                )
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} = {share} is no share", "simulator.faults", "a number from 0 to 1")

    def limit(self) -> tuple[int, float] | None:
        """Hits and window in seconds; None for each network's own."""
        if self.rate_limit is None:
            return None
        hits, _, window_s = self.rate_limit.partition("/")
        try:
            limit = int(hits), float(window_s)
        except ValueError:
            limit = 0, 0.0
        if limit[0] < 1 or limit[1] <= 0:
            raise ConfigError(
                f"{self.rate_limit!r} is no rate limit", "simulator.rate_limit", "such as 5000/3600"
            )
        return limit
