"""Fine-tuning: a network with a new last layer learns to tell good photos; looks on the way say how well.

Seeds are set anew for each iteration, and what a step sees follows from them: a run that goes on from its
state ends as if undisturbed. A batch is shared among workers, and a worker may take its share in parts; the
gradient is that of the whole batch either way.

Knows torch. Knows nothing of Ray, tables or files.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raylike.config import FinetuneSettings
from raylike.errors import InputDataError, StageError
from raylike.learning import objectives
from raylike.learning.batches import VIEWS, views
from raylike.learning.blocks import blocks, to_training
from raylike.learning.evaluation import average_precision
from raylike.learning.material import Feed, Material, Views, ahead, one_ahead
from raylike.learning.schedule import schedule
from raylike.learning.tails import Trainable, split

__all__ = ["Best", "FineTuning", "Look", "Material", "Trainable", "as_row", "split"]

SCORED_AT_ONCE = 64
"""Photos in a forward pass without gradients."""

Sum = Callable[[Tensor], Tensor]
"""Adds up a tensor over all workers."""


@dataclass(frozen=True)
class Look:
    """Where training stands: a row of the `curves` table."""

    iteration: int
    loss: float
    lr: float
    validation_ap: float
    photos_per_s: float


class FineTuning:
    """A tail in training. `train` yields a look every so often; `state` is all that a rerun needs.

    Parameters
    ----------
    tail : from `split`
    settings : schedule, batch, momentum, decay
    seed : of batches, augmentation and dropout
    wrap : makes the tail one of several workers' (`ray.train.torch.prepare_model`)
    rank, workers : which of how many; the batch is shared among them
    summed : adds up a tensor over all workers
    """

    def __init__(
        self,
        tail: nn.Sequential,
        settings: FinetuneSettings,
        *,
        seed: int,
        device: torch.device,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        rank: int = 0,
        workers: int = 1,
        summed: Sum = lambda tensor: tensor,
    ) -> None:
        self.iteration = 0
        self._settings = settings
        self._seed = seed
        self._device = device
        self._rank, self._workers = rank, workers
        self._summed = summed
        self._losses: list[Tensor] = []
        self.tail = tail.to(device)
        self._parallel = wrap(self.tail)
        self._optimiser = _optimiser(self.tail, settings)
        self._schedule = schedule(settings)

    def train(
        self,
        material: Material,
        iterations: int,
        look_every: int,
        *,
        feed: Callable[[int], NDArray[Any]] | None = None,
        after_step: Callable[[], None] = lambda: None,
    ) -> Iterator[Look]:
        """Train up to `iterations` in all, and yield a look after every `look_every` and after the last.

        Parameters
        ----------
        feed : the photos of this worker's share of an iteration's batch, where something else makes them
            ready (`stages/finetune/ingest.py`); without it a thread does
        after_step : called after each step; the state may be saved there

        Raises
        ------
        StageError : if the loss is no longer a number; says at which iteration and learning rate
        """
        own = Feed(material.inputs, material.draw(self._settings, self._seed), self._rank, self._workers)
        seconds, n_steps = 0.0, 0
        with nullcontext(feed) if feed else ahead(own) as photos_of:
            while self.iteration < iterations:
                started = time.perf_counter()
                rows = own.batch(self.iteration).rows
                photos = self._tensor(photos_of(self.iteration))
                self._step(photos, self._tensor(material.targets(rows, self._settings)))
                seconds, n_steps = seconds + time.perf_counter() - started, n_steps + 1
                if self.iteration % look_every == 0 or self.iteration == iterations:
                    yield self._look(material, n_steps * self._settings.batch_size / max(seconds, 1e-9))
                    seconds, n_steps = 0.0, 0
                after_step()

    def score(self, inputs: Views, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How good the photos `rows` are, averaged over their views; workers share the photos: (rows,)."""
        self.tail.eval()
        parts = [rows[at : at + SCORED_AT_ONCE] for at in range(0, rows.size, SCORED_AT_ONCE)]
        scores = torch.zeros(rows.size, dtype=torch.float64)
        mine = range(self._rank, len(parts), self._workers)
        batches = [(i, batch) for i in mine for batch in views(parts[i], self._settings.crops)]
        shown = one_ahead(lambda item: (item[0], inputs.shown(item[1])), batches)
        with torch.inference_mode(), self._autocast():
            for i, photos in shown:
                seen = objectives.score(self.tail(self._tensor(photos)).float()).cpu()
                scores[i * SCORED_AT_ONCE : i * SCORED_AT_ONCE + len(seen)] += seen
        return np.asarray(self._summed(scores).numpy() / len(VIEWS[self._settings.crops]), np.float64)

    def state(self) -> dict[str, Any]:
        """Everything that moves: the tail, the optimiser, the iteration, losses since the last look.

        Raises
        ------
        StageError : if a loss or a weight is no longer a number
        """
        losses = self._finite_losses()
        if not all(bool(parameter.isfinite().all()) for parameter in self.tail.parameters()):
            raise self._not_a_number(self.iteration - 1)
        return {
            "iteration": self.iteration,
            "tail": self.tail.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "losses": losses,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises
        ------
        InputDataError : if it is the state of another network
        """
        refuse_other_network(self.tail, state["tail"])
        self.tail.load_state_dict(state["tail"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._losses = list(state["losses"])
        self.iteration = state["iteration"]

    def anywhere(self, here: bool) -> bool:
        """Whether something is so in any worker; all of them ask at the same iteration."""
        return bool(self._summed(torch.tensor([float(here)])) > 0)

    def _step(self, photos: Tensor, targets: Tensor) -> None:
        rate = self._schedule.at(self.iteration)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        to_training(self.tail)
        self._optimiser.zero_grad()
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(_dropout_seed(self._seed, self.iteration, self._rank))
            loss = self._backward(photos, targets)
        self._optimiser.step()
        self._losses.append(loss)
        self.iteration += 1

    def _backward(self, photos: Tensor, targets: Tensor) -> Tensor:
        """Add up the gradient of the share's mean loss, a part at a time; returns the loss."""
        size = self._settings.micro_batch or len(photos)
        parts = list(zip(torch.split(photos, size), torch.split(targets, size), strict=True))
        total = torch.zeros((), device=self._device)
        for i, (some, theirs) in enumerate(parts):
            with self._alone() if i + 1 < len(parts) else nullcontext():
                with self._autocast():
                    outputs = self._parallel(some)
                loss = objectives.loss(outputs.float(), theirs, self._settings) * len(some) / len(photos)
                torch.autograd.backward(loss)
            total += loss.detach()
        return total

    def _alone(self) -> AbstractContextManager[None]:
        """Without the exchange of gradients, which is due with a step's last part."""
        no_sync: Callable[[], AbstractContextManager[None]] = getattr(self._parallel, "no_sync", nullcontext)
        return no_sync()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16")

    def _look(self, material: Material, photos_per_s: float) -> Look:
        losses = self._finite_losses()
        scores = self.score(material.inputs, material.validation)
        if not np.isfinite(scores).all():
            raise self._not_a_number(self.iteration - 1)
        self._losses = []
        return Look(
            iteration=self.iteration,
            loss=float(losses.mean()),
            lr=self._schedule.at(self.iteration - 1),
            validation_ap=average_precision(material.labels[material.validation], scores),
            photos_per_s=photos_per_s,
        )

    def _finite_losses(self) -> Tensor:
        """Losses since the last look, of the whole batch: means over the workers."""
        if not self._losses:
            return torch.zeros(0)
        losses = self._summed(torch.stack(self._losses)) / self._workers
        bad = torch.nonzero(~losses.isfinite()).flatten().tolist()
        if bad:
            raise self._not_a_number(self.iteration - len(losses) + bad[0])
        return losses

    def _not_a_number(self, iteration: int) -> StageError:
        return StageError(
            f"the loss is not a number at iteration {iteration + 1}, "
            f"learning rate {self._schedule.at(iteration):g}",
            "finetune",
            "set finetune.lr or finetune.head_lr_factor lower",
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        with warnings.catch_warnings():
            # Photos out of the object store are read-only; nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(array).to(self._device)


class Best:
    """Keeps the tail with the highest validation AP; the first of equals."""

    def __init__(self) -> None:
        self.ap = -np.inf
        self.iteration = 0
        self.tail: dict[str, Tensor] = {}

    def offer(self, tuning: FineTuning, look: Look) -> None:
        """Keep a copy of the tail if it is the best so far."""
        if look.validation_ap > self.ap:
            self.ap, self.iteration = look.validation_ap, look.iteration
            self.tail = copy.deepcopy(tuning.tail.state_dict())

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(vars(self))

    def load(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        vars(self).update(state)


def as_row(look: Look, run: str) -> dict[str, Any]:
    """A row of the `curves` table."""
    return {"run": run, **asdict(look)}


def refuse_other_network(tail: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise `InputDataError`, naming the first difference, unless `state` is one of this tail's."""
    own = {name: tuple(tensor.shape) for name, tensor in tail.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in [*own, *found]:
        if own.get(name) != found.get(name):
            raise InputDataError(
                f"the saved state is of another network: {name} is {found.get(name, 'missing')}, "
                f"where this one has {own.get(name, 'nothing of that name')}",
                "finetune",
                "start afresh with --force finetune, or choose the network that it is of",
            )


def _optimiser(tail: nn.Module, settings: FinetuneSettings) -> torch.optim.Optimizer:
    """Each block with its rate, the new layer at its own; vectors, such as biases, do not decay."""
    parts = blocks(tail)
    groups: list[dict[str, Any]] = []
    for i, block in enumerate(parts):
        above = len(parts) - 1 - i
        factor = settings.layer_decay**above if above else settings.head_lr_factor
        moving = [parameter for parameter in block if parameter.requires_grad]
        matrices = [parameter for parameter in moving if parameter.dim() > 1]
        vectors = [parameter for parameter in moving if parameter.dim() <= 1]
        groups += [
            {"params": some, "factor": factor, "weight_decay": decay}
            for some, decay in ((matrices, settings.weight_decay), (vectors, 0.0))
            if some
        ]
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)


def _dropout_seed(seed: int, iteration: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0] >> 1)
