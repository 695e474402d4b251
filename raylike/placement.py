"""What each stage asks of Ray, and whether there are machines that can give it.

A request that no node can take waits for ever and without a word, so it is refused before the first stage.
Knows stages by name, settings, and how many processes each stage starts. Knows nothing of Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actors.packing import plan_processes
from raylike import sizing
from raylike.cluster import plan_pool
from raylike.config import Settings
from raylike.errors import ConfigError, RaylikeError, ServiceUnavailable
from raylike.machines import Machines, Node

MANY = 10**9
"""Stands for a number of photos that is not known yet: as many processes as may ever be started."""
ON_GPUS = ("features", "finetune", "tune")
"""Stages whose models run on a GPU if there is one."""
ROUNDING = 1e-6
"""Ray counts in ten-thousandths."""

# Measured, in MiB of a process (benchmarks/README.md).
TOKEN_MIB = 140
ALEXNET_MIB = 1063
TRAINING_MIB = 2505


@dataclass(frozen=True)
class Ask:
    """Processes of one kind that a stage has at the same time.

    Attributes
    ----------
    what : of one
    count : how many are wanted
    cpus, gpus : that Ray sets aside for each
    needed : without so many the stage does not go on; of tasks, which wait for one another, 1
    memory_mib : that each was measured to take; Ray is not told. None: not known
    setting : what the user has set to have so many
    plural : of `what`, where it is more than an s
    """

    what: str
    count: int
    cpus: float
    gpus: float = 0.0
    needed: int = 1
    memory_mib: int | None = None
    setting: str = ""
    plural: str = ""

    def __str__(self) -> str:
        given = [f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}"]
        given += [f"{self.gpus:g} GPU{'' if self.gpus == 1 else 's'}"] if self.gpus else []
        if self.count == 1:
            return f"1 {self.what} with {' and '.join(given)}"
        return f"{self.count:,} {self.plural or self.what + 's'} with {' and '.join(given)} each"

    def fits(self, node: Node) -> bool:
        """Whether an idle node has room for one."""
        return self.cpus <= node.cpus + ROUNDING and self.gpus <= node.gpus


@dataclass(frozen=True)
class Work:
    """What is known of a run's size.

    Attributes
    ----------
    tokens : None where there are none to be counted
    look_ups : whether accounts are looked up at all: some posts bring their followers
    downloads, features : photos still to do
    streams : whether training makes photos ready at each step
    """

    tokens: int | None = None
    look_ups: bool = True
    downloads: int = MANY
    features: int = MANY
    streams: bool = False


def asks(stage: str, settings: Settings, machines: Machines, work: Work) -> tuple[Ask, ...]:
    """What a stage asks for at the same time; nothing where it runs in the command's own process."""
    return _OF_STAGE[stage](settings, machines, work) if stage in _OF_STAGE else ()


def check(
    stages: Iterable[str], settings: Settings, machines: Machines, work: Work, say: Callable[[str], None]
) -> None:
    """Refuse a run with a stage that can never begin, or say so where nodes may still be added.

    Raises
    ------
    ConfigError : if a setting asks for more than there is
    ServiceUnavailable : if the machines are too few or too small for any run
    """
    for stage in stages:
        error = refusal(stage, settings, machines, work)
        if error is not None and not machines.may_grow:
            raise error
        if error is not None:
            say(f"{error.what}; it waits for nodes to be added")


def work_of(settings: Settings, *, downloads: int = MANY, features: int = MANY, photos: int = 0) -> Work:
    """What is known of a run's size before it begins.

    Parameters
    ----------
    downloads, features : photos still to do, where that is known
    photos : that a network is to be trained on
    """
    from raylike import source

    look_ups = False
    if settings.source.name != "files":
        embedded = source.network(settings).followers_embedded
        look_ups = settings.collect.look_up or not embedded
    return Work(_tokens_there(settings), look_ups, downloads, features, _streams(settings, photos))


def has_wishes(settings: Settings) -> bool:
    """Whether the user has said of any stage how many processes it shall have, or that it needs a GPU."""
    return (
        settings.device == "cuda"
        or settings.finetune.workers > 1
        or any((settings.collect.tokens_per_actor, settings.download.actors, settings.features.actors))
    )


def _tokens_there(settings: Settings) -> int | None:
    from raylike import tokens

    if settings.source.name == "simulator":
        return settings.simulator.tokens
    try:
        return len(tokens.load(settings.source))
    except RaylikeError:  # told by the stage that needs them, or by `raylike doctor`
        return None


def _streams(settings: Settings, photos: int) -> bool:
    if settings.finetune.workers == 1:  # what one worker asks for is there either way: torch is not imported
        return settings.finetune.trainable == "all" or settings.finetune.crops == "ten"
    from raylike.learning import learning_set

    try:
        return learning_set.streams(settings.features.backbone, settings.finetune, photos)
    except RaylikeError:  # of a network that there is not, which the stage tells
        return False


def refusal(stage: str, settings: Settings, machines: Machines, work: Work) -> RaylikeError | None:
    """Why a stage can never begin on these machines; None if it can."""
    if settings.device == "cuda" and stage in ON_GPUS and not machines.gpus:
        return ConfigError(
            f"{stage} asks for a GPU, and there is none: {machines}",
            "--device cuda",
            "use --device auto, or a machine that has one",
        )
    wanted = asks(stage, settings, machines, work)
    for ask, placed in place(wanted, machines.nodes):
        if placed < ask.needed:
            return _refused(stage, ask, placed, machines)
    return None


def place(wanted: Sequence[Ask], nodes: Sequence[Node]) -> list[tuple[Ask, int]]:
    """How many of each there is room for at the same time, the largest first.

    What wants no GPU is put where there is none, as Ray does.
    """
    free = [[node.cpus, node.gpus] for node in sorted(nodes, key=lambda node: node.gpus)]
    found = []
    for ask in sorted(wanted, key=lambda ask: (ask.gpus, ask.cpus), reverse=True):
        placed = 0
        for room in free:
            n = min(ask.needed - placed, *_times(room, (ask.cpus, ask.gpus)))
            room[0] -= n * ask.cpus
            room[1] -= n * ask.gpus
            placed += n
        found.append((ask, placed))
    return found


def _times(room: Sequence[float], each: Sequence[float]) -> list[int]:
    return [math.floor(there / one + ROUNDING) for there, one in zip(room, each, strict=True) if one]


def _refused(stage: str, ask: Ask, placed: int, machines: Machines) -> RaylikeError:
    room = f"there is room for {placed}" if placed else "no node has that"
    what = f"{stage} asks for {ask}, and {room}: {machines}"
    if ask.setting:
        return ConfigError(what, ask.setting, _hint(ask, placed))
    return ServiceUnavailable(what, "", "add nodes, or say with --set ray.may_grow=true that they will be")


def _hint(ask: Ask, placed: int) -> str:
    if ask.setting == "collect.tokens_per_actor":
        return "leave it empty: tokens then share processes"
    return f"set it to {placed} at most, or add nodes" if placed else "add nodes"


def _tokens(settings: Settings, machines: Machines, work: Work) -> tuple[Ask, ...]:
    if not (work.tokens and work.look_ups):
        return ()
    wanted = settings.collect.tokens_per_actor
    n = plan_processes(work.tokens, machines.cpus, wanted, sum(node.cpus >= 1 for node in machines.nodes))
    setting = _if(wanted, "collect.tokens_per_actor")
    return (Ask("token process", n, sizing.TOKEN_CPUS, 0.0, n, TOKEN_MIB, setting, "token processes"),)


def _downloaders(settings: Settings, machines: Machines, work: Work) -> tuple[Ask, ...]:
    wanted = settings.download.actors
    n = wanted or sizing.plan_downloaders(work.downloads, machines.cpus)
    setting = _if(wanted, "download.actors")
    return (Ask("downloader", n, sizing.DOWNLOADER_CPUS, needed=n, setting=setting),)


def _detectors(settings: Settings, machines: Machines, _: Work) -> tuple[Ask, ...]:
    return (Ask("detector task", settings.faces.processes or max(1, machines.cpus), 1.0),)


def _models(settings: Settings, machines: Machines, work: Work) -> tuple[Ask, ...]:
    chosen = settings.features
    pool = plan_pool(
        machines.cpus, _gpus(settings, machines), n_items=work.features, wanted=chosen.actors, per_actor=256
    )
    memory_mib = ALEXNET_MIB if chosen.backbone == "alexnet" else None
    setting = _if(chosen.actors, "features.actors")
    return (
        Ask(
            "model process", pool.size, pool.num_cpus, pool.num_gpus, pool.size, memory_mib, setting,
            "model processes",
        ),
    )  # fmt: skip


def _classifiers(_: Settings, machines: Machines, __: Work) -> tuple[Ask, ...]:
    if not machines.address:
        return ()
    one, many = "process that holds trees or rows", "processes that hold trees or rows"
    return (Ask(one, max(1, machines.cpus), 1.0, plural=many),)


def _training(settings: Settings, machines: Machines, work: Work) -> tuple[Ask, ...]:
    n = settings.finetune.workers
    worker, task = sizing.training_shares(machines.cpus, n, streams=work.streams)
    gpu = float(_gpus(settings, machines) > 0)
    memory_mib = TRAINING_MIB if work.streams and settings.features.backbone == "alexnet" else None
    setting = "finetune.workers" if n > 1 else ""
    workers = Ask("training worker", n, worker, gpu, n, memory_mib, setting)
    return (workers, Ask("task at photos", 1, task, setting=setting)) if task else (workers,)


def _trials(settings: Settings, machines: Machines, _: Work) -> tuple[Ask, ...]:
    gpus = _gpus(settings, machines)
    n = sizing.trials_at_once(machines.cpus, gpus, settings.tune.concurrent)
    return (Ask("trial", n, 1.0, float(gpus > 0)),)


def _gpus(settings: Settings, machines: Machines) -> int:
    return machines.gpus if settings.device != "cpu" else 0


def _if(given: int | None, setting: str) -> str:
    return setting if given is not None else ""


_OF_STAGE = {
    "followers": _tokens,
    "download": _downloaders,
    "faces": _detectors,
    "features": _models,
    "classify": _classifiers,
    "finetune": _training,
    "tune": _trials,
}
