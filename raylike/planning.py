"""What a run would do and ask for on the machines there are, found out without doing any of it.

Knows the stages' states, their asks and the forecast of hits. Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow.compute as pc

from raylike import pipeline, placement, source
from raylike.config import Settings
from raylike.errors import RaylikeError
from raylike.forecast import Forecast, forecast
from raylike.machines import Machines
from raylike.placement import MANY, Ask, Work
from raylike.progress import Silence
from raylike.surroundings import Surroundings
from raylike.workspace import Workspace

UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class StagePlan:
    """What one stage would do.

    Attributes
    ----------
    state : as `raylike status` has it
    asks : processes that it has Ray start; none where it runs in the command's own process
    refusal : why it can never begin on these machines
    """

    stage: str
    state: str
    asks: tuple[Ask, ...]
    refusal: RaylikeError | None


@dataclass(frozen=True)
class Plan:
    """What a run would do: on which machines, stage by stage, with how many hits."""

    machines: Machines
    stages: Sequence[StagePlan]
    hits: Forecast | None

    @property
    def error(self) -> RaylikeError | None:
        """What the run would be refused for before its first stage."""
        if self.machines.may_grow:
            return None
        return next((stage.refusal for stage in self.stages if stage.refusal), None)


def plan(workspace: Workspace, settings: Settings) -> Plan:
    """Look at the workspace and the machines; a cluster is joined for it, here nothing is started.

    Raises
    ------
    ServiceUnavailable : if no Ray answers at the address
    """
    settings = pipeline.with_source_defaults(settings)
    states = pipeline.status(workspace, settings)
    with ExitStack() as stack:
        machines = Surroundings(stack, settings, Silence()).machines()
    work = _work(workspace, settings)
    stages = []
    for status in states:
        todo = status.state != UP_TO_DATE
        asked = placement.asks(status.stage, settings, machines, work) if todo else ()
        refused = placement.refusal(status.stage, settings, machines, work) if todo else None
        stages.append(StagePlan(status.stage, status.state, asked, refused))
    return Plan(machines, stages, _hits(workspace, settings, work))


def _work(workspace: Workspace, settings: Settings) -> Work:
    """What is still to be done, as far as tables tell."""
    downloads = features = MANY
    if workspace.exists("cohort"):
        kept = workspace.read("cohort", ["post_id"], where=pc.field("kept")).num_rows
        downloads = max(0, kept - workspace.rows("images"))
    if photos := workspace.rows("labels"):
        features = photos
    return placement.work_of(settings, downloads=downloads, features=features, photos=photos)


def _hits(workspace: Workspace, settings: Settings, work: Work) -> Forecast | None:
    """Of looking up the accounts that have no row yet; None where that is not known, or takes none."""
    if not (work.tokens and work.look_ups and workspace.exists("posts")):
        return None
    users = pc.count_distinct(workspace.read("posts", ["user_id"])["user_id"]).as_py()
    missing = max(0, users - workspace.rows("users"))
    if not missing:
        return None
    network = source.network(settings)
    limits = source.limits(settings)
    return forecast(missing, network.batch_size, work.tokens, limits, settings.collect.in_flight)
