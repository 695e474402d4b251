"""Fine-tuning: a backbone's last layer is replaced, and it and some layers below learn to tell good photos.

The network is split in two. The trunk stays as it is, so its output is computed once a photo and kept
(`inputs.py`); the tail is trained. With every layer in the tail, the trunk's output is the photo.
Seeds are set anew for each iteration: a run that goes on from its state ends as if undisturbed.

Knows torch. Knows nothing of Ray, tables or files.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raylike.config import FinetuneSettings
from raylike.errors import StageError
from raylike.learning.batches import Batch, Batches
from raylike.learning.evaluation import average_precision
from raylike.learning.schedule import StepSchedule
from raylike.vision.backbones import Backbone
from raylike.vision.networks import Normalise, build

Trainable = Literal["all", "classifier", "fc7", "head"]

FIRST_TRAINED = {"classifier": 0, "fc7": 3, "head": 6}
"""Position in AlexNet's classifier of the first layer that moves, with its dropout."""
HEAD_STD = 0.01
"""Of the new layer's weights, as in Caffe's fine-tuning example."""
FC7_WIDTH = 4096
SCORED_AT_ONCE = 64
"""Photos in a forward pass without gradients."""


@dataclass(frozen=True)
class Material:
    """What is learned from.

    Attributes
    ----------
    inputs : the trunk's output: float32 (n, 2, d), plain and mirrored; or uint8 photos (n, s, s, 3)
    labels : 0 or 1, shape (n,)
    train, validation : indices of the photos to learn from, and of those that judge; both classes in each
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int8]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """Where training stands: a row of the `curves` table."""

    iteration: int
    loss: float
    lr: float
    validation_ap: float
    photos_per_s: float


def split(backbone: Backbone, trainable: Trainable, seed: int = 0) -> tuple[nn.Module | None, nn.Sequential]:
    """The frozen trunk, or None, and the tail, which ends in a new layer with two outputs.

    The trunk takes uint8 (N, side, side, 3) to (N, d); so does the tail where there is no trunk.
    """
    network = build(backbone)
    classifier = list(network[-1].children())
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(FC7_WIDTH, 2)
    with torch.no_grad():
        head.weight.normal_(0, HEAD_STD, generator=generator)
        head.bias.zero_()
    below = [Normalise(backbone.framing), *network[:-1]]
    if trainable == "all":
        return None, _writable(nn.Sequential(*below, *classifier[:-1], head))
    first = FIRST_TRAINED[trainable]
    trunk = nn.Sequential(*below, *classifier[:first]).eval().requires_grad_(False)
    return trunk.to(memory_format=torch.channels_last), _writable(nn.Sequential(*classifier[first:-1], head))


def _writable(tail: nn.Sequential) -> nn.Sequential:
    """The same layers with weights of their own: the backbone's arrays are shared, and may be read-only."""
    for parameter in tail.parameters():
        parameter.data = parameter.data.clone()
    return tail


class FineTuning:
    """A tail in training. `train` yields a look every so often; `state` at a look is all that a rerun needs.

    Parameters
    ----------
    tail : from `split`
    input_px : side of the crop that the tail takes, where it takes photos
    settings : schedule, batch, momentum, decay
    seed : of batches, augmentation and dropout
    wrap : makes the tail one of several workers' (`ray.train.torch.prepare_model`)
    rank, workers : which of how many; the batch is shared among them
    """

    def __init__(
        self,
        tail: nn.Sequential,
        settings: FinetuneSettings,
        *,
        seed: int,
        device: torch.device,
        input_px: int = 224,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        self.iteration = 0
        self._settings = settings
        self._seed = seed
        self._device = device
        self._input_px = input_px
        self._rank, self._workers = rank, workers
        self.tail = tail.to(device)
        self._parallel = wrap(self.tail)
        head = list(tail[-1].parameters())
        below = [parameter for parameter in tail[:-1].parameters() if parameter.requires_grad]
        factor = settings.head_lr_factor
        groups = [{"params": below, "factor": 1.0}, {"params": head, "factor": factor}]
        self._optimiser = torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._schedule = StepSchedule(settings.lr, settings.step_every, settings.step_factor)

    def train(self, material: Material, iterations: int, look_every: int) -> Iterator[Look]:
        """Train up to `iterations` in all, and yield a look after every `look_every` and after the last.

        Raises
        ------
        StageError : if the loss is no longer a number; says at which iteration and learning rate
        """
        batches = Batches(material.train.size, self._settings.batch_size, self._seed)
        losses: list[Tensor] = []
        started = time.perf_counter()
        while self.iteration < iterations:
            batch = batches.at(self.iteration).share(self._rank, self._workers)
            rows = material.train[batch.rows]
            photos = self._photos(material.inputs, rows, batch)
            labels = torch.from_numpy(material.labels[rows].astype(np.int64)).to(self._device)
            losses.append(self._step(photos, labels))
            if self.iteration % look_every == 0 or self.iteration == iterations:
                seconds = time.perf_counter() - started
                yield self._look(material, torch.stack(losses), seconds)
                losses = []
                started = time.perf_counter()

    def score(self, inputs: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much more good than bad, in logits, for photos plain and mirrored, averaged: shape (rows,)."""
        self.tail.eval()
        scores = np.empty(rows.size)
        with torch.inference_mode():
            for start in range(0, rows.size, SCORED_AT_ONCE):
                part = rows[start : start + SCORED_AT_ONCE]
                logits: Tensor = sum(
                    self.tail(self._photos(inputs, part, _central(part, flipped)))
                    for flipped in (False, True)
                )
                scores[start : start + part.size] = (logits[:, 1] - logits[:, 0]).cpu().numpy() / 2
        return scores

    def state(self) -> dict[str, Any]:
        """Everything that moves: the tail, the optimiser, the iteration."""
        return {
            "iteration": self.iteration,
            "tail": self.tail.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.tail.load_state_dict(state["tail"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.iteration = state["iteration"]

    def _step(self, photos: Tensor, labels: Tensor) -> Tensor:
        rate = self._schedule.at(self.iteration)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.tail.train()
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(_dropout_seed(self._seed, self.iteration, self._rank))
            loss = nn.functional.cross_entropy(self._parallel(photos), labels)
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        self._optimiser.step()
        self.iteration += 1
        return loss.detach()

    def _look(self, material: Material, losses: Tensor, seconds: float) -> Look:
        first = self.iteration - losses.numel()
        bad = torch.nonzero(~losses.isfinite()).flatten().tolist()
        scores = self.score(material.inputs, material.validation)
        if bad or not np.isfinite(scores).all():
            at = first + bad[0] if bad else self.iteration - 1
            raise StageError(
                f"the loss is not a number at iteration {at + 1}, learning rate {self._schedule.at(at):g}",
                "finetune",
                "set finetune.lr or finetune.head_lr_factor lower",
            )
        return Look(
            iteration=self.iteration,
            loss=float(losses.mean()),
            lr=self._schedule.at(self.iteration - 1),
            validation_ap=average_precision(material.labels[material.validation], scores),
            photos_per_s=losses.numel() * self._settings.batch_size / max(seconds, 1e-9),
        )

    def _photos(self, inputs: NDArray[Any], rows: NDArray[np.int64], batch: Batch) -> Tensor:
        """What the tail sees of the photos `rows`, on its device."""
        if inputs.dtype == np.float32:
            return torch.from_numpy(inputs[rows, batch.mirrored.astype(np.int64)]).to(self._device)
        room = inputs.shape[1] - self._input_px
        crops = np.empty((rows.size, self._input_px, self._input_px, 3), np.uint8)
        corners = np.rint(batch.offsets * room).astype(np.int64)
        for i, (row, (top, left)) in enumerate(zip(rows, corners, strict=True)):
            crop = inputs[row, top : top + self._input_px, left : left + self._input_px]
            crops[i] = crop[:, ::-1] if batch.mirrored[i] else crop
        return torch.from_numpy(crops).to(self._device)


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


def _central(rows: NDArray[np.int64], flipped: bool) -> Batch:
    return Batch(rows, np.full(rows.size, flipped), np.full((rows.size, 2), 0.5))


def _dropout_seed(seed: int, iteration: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0] >> 1)
