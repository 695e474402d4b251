"""What a commit adds to a table, and what is written down with it: who made it, from what, how far it got.

A commit's metadata is JSON in the table's own log, so that a table and its provenance cannot part.

Knows Delta Lake's log. Knows nothing of stages, nor where a table lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from deltalake import CommitProperties, DeltaTable

from raylike.errors import ConfigError

METADATA_KEY = "raylike"
FORMAT = 1
"""Raised when a workspace of an older raylike can no longer be read."""

NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Commit:
    """What is written down with a commit: who made it, from what.

    Attributes
    ----------
    stage : name of the writing stage
    fingerprint : hash of the settings that matter to it
    inputs : data version of each table it read
    run : id of the run
    complete : False for a batch of a stage that has more to do
    state : what the stage needs to go on after a kill, such as a cursor; JSON
    """

    stage: str
    fingerprint: str
    inputs: Mapping[str, int] = field(default_factory=dict)
    run: str = ""
    complete: bool = True
    state: Mapping[str, Any] = field(default_factory=dict)

    def partial(self, state: Mapping[str, Any] | None = None) -> Commit:
        """The same provenance for a batch: the stage is not done yet."""
        return replace(self, complete=False, state=self.state if state is None else state)

    @property
    def digest(self) -> str:
        """12 hex digits: the same stage, settings and inputs always give the same."""
        identity = json.dumps([self.stage, self.fingerprint, sorted(self.inputs.items())])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def with_state(self, state: Mapping[str, Any]) -> Commit:
        """The same provenance with another state."""
        return replace(self, state=state)


@dataclass(frozen=True)
class CommitInfo(Commit):
    """A commit as found in a table's log.

    `data_version` is the version that last changed rows: a commit that only marks a stage as complete
    leaves it alone, and so do inputs that were read again and found unchanged.
    """

    version: int = 0
    data_version: int = 0
    committed_at: datetime = NEVER

    def again_in(self, run: str) -> Commit:
        """The same provenance for another run, which changes rows and leaves the stage as done as it was."""
        return Commit(self.stage, self.fingerprint, self.inputs, run, self.complete, self.state)


@dataclass(frozen=True)
class Part:
    """A Parquet file that a worker wrote for a table: full path or URI, bytes, rows."""

    path: str
    byte_size: int
    rows: int


def properties(commit: Commit, data_version: int) -> CommitProperties:
    """What Delta Lake is to write into its log with a commit."""
    known = {f: v for f, v in asdict(commit).items() if f in Commit.__dataclass_fields__}
    told = json.dumps({**known, "data_version": data_version, "format": FORMAT})
    return CommitProperties(custom_metadata={METADATA_KEY: told})


def last_of(delta: DeltaTable, where: str) -> CommitInfo:
    """The provenance of a table's current version; of stage `unknown` if somebody else committed it.

    Raises
    ------
    ConfigError : naming `where`, if it is of a newer format than this raylike knows
    """
    entry = delta.history(1)[0]
    try:
        known = json.loads(entry[METADATA_KEY])
    except (KeyError, ValueError):
        return CommitInfo("unknown", "", version=delta.version(), data_version=delta.version())
    if known.pop("format", FORMAT) > FORMAT:
        raise ConfigError("was written by a newer raylike", where, "upgrade raylike")
    when = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
    return CommitInfo(**known, version=delta.version(), committed_at=when)
