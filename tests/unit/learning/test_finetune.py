"""Fine-tuning on arrays: it learns, in any number of parts, and a pause does not change it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raylike.config import FinetuneSettings
from raylike.errors import ConfigError, InputDataError, StageError
from raylike.learning.finetune import Best, FineTuning, Look
from raylike.learning.inputs import Inputs
from raylike.learning.material import Feed, Material, check

CPU = torch.device("cpu")
WIDTH = 12


def material(n: int = 60) -> Material:
    """Inputs in which one number tells good from bad, mirrored or not."""
    generator = np.random.default_rng(0)
    labels = (np.arange(n) % 2).astype(np.int8)
    values = generator.normal(size=(n, 2, WIDTH)).astype(np.float32)
    values[:, :, 0] += np.where(labels > 0, 2, -2)[:, None]
    train = np.arange(n // 2)
    return Material(
        Inputs(values, np.ones(n, np.bool_)),
        labels,
        train,
        np.arange(n // 2, n),
        pairs=np.column_stack([train[1::2], train[0::2]]),
        residuals=(values[:, 0, 0] / 2).astype(np.float32),
    )


def network(outputs: int = 2, dropout: float = 0.5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, outputs))


def tuning(settings: FinetuneSettings, **options: Any) -> FineTuning:
    return FineTuning(network(), settings, seed=1, device=CPU, **options)


SETTINGS = FinetuneSettings(batch_size=8, lr=0.05, head_lr_factor=1.0)


def changed(**values: Any) -> FinetuneSettings:
    return SETTINGS.model_copy(update=values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimiser": "adamw", "schedule": "cosine", "iterations": 40, "warmup": 5},
        {"balanced": True, "label_smoothing": 0.1, "layer_decay": 0.5},
        {"precision": "bf16"},
    ],
)
def test_it_learns(values: dict[str, Any]) -> None:
    looks = list(tuning(changed(**values)).train(material(), iterations=40, look_every=15))
    assert [look.iteration for look in looks] == [15, 30, 40]
    assert looks[-1].loss < looks[0].loss
    assert looks[-1].validation_ap > 0.95


@pytest.mark.parametrize("objective", ["pairs", "residual"])
def test_it_learns_from_pairs_and_from_residuals(objective: str) -> None:
    learner = FineTuning(network(outputs=1), changed(objective=objective, lr=0.02), seed=1, device=CPU)
    looks = list(learner.train(material(), iterations=60, look_every=30))
    assert looks[-1].loss < looks[0].loss
    assert looks[-1].validation_ap > 0.95


def test_a_paused_training_ends_as_an_undisturbed_one() -> None:
    whole, first, second = tuning(SETTINGS), tuning(SETTINGS), tuning(SETTINGS)
    expected = list(whole.train(material(), 30, 10))
    states: list[dict[str, Any]] = []
    list(first.train(material(), 24, 10, after_step=lambda: states.append(copy.deepcopy(first.state()))))
    torch.manual_seed(99)  # the global generator plays no part
    second.load(states[14])  # between two looks
    assert second.iteration == 15
    found = list(second.train(material(), 30, 10))
    for ours, theirs in zip(found, expected[1:], strict=True):
        assert (ours.loss, ours.validation_ap) == (theirs.loss, theirs.validation_ap)
    for own, other in zip(second.tail.parameters(), whole.tail.parameters(), strict=True):
        assert torch.equal(own, other)


def gradients(settings: FinetuneSettings, rank: int = 0, workers: int = 1) -> list[torch.Tensor]:
    """Of the first step of one of several workers, without dropout."""
    learner = FineTuning(network(dropout=0.0), settings, seed=1, device=CPU, rank=rank, workers=workers)
    feed = Feed(material().inputs, material().draw(settings, 1), rank, workers)
    learner._step(
        torch.from_numpy(feed(0)), torch.from_numpy(material().targets(feed.batch(0).rows, settings))
    )
    return [parameter.grad.clone() for parameter in learner.tail.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("values", [{}, {"balanced": True}])
@pytest.mark.parametrize("workers", [2, 4])
def test_the_mean_of_the_workers_gradients_is_that_of_one(values: dict[str, Any], workers: int) -> None:
    expected = gradients(changed(**values))
    found = [gradients(changed(**values), rank, workers) for rank in range(workers)]
    for whole, parts in zip(expected, zip(*found, strict=True), strict=True):
        torch.testing.assert_close(torch.stack(parts).mean(0), whole)


@pytest.mark.parametrize("micro_batch", [1, 3, 8, 100])
def test_gradients_added_up_part_by_part_are_those_of_the_batch(micro_batch: int) -> None:
    for found, whole in zip(gradients(changed(micro_batch=micro_batch)), gradients(SETTINGS), strict=True):
        torch.testing.assert_close(found, whole)


def test_a_loss_that_is_not_a_number_ends_training_and_says_where() -> None:
    spoilt = material()
    spoilt.inputs.values[:] = 1e30  # type: ignore[attr-defined]
    learner = tuning(changed(lr=1e30))
    with pytest.raises(StageError, match="iteration 2, learning rate 1e\\+30"):
        list(learner.train(spoilt, 10, 5))
    with pytest.raises(StageError, match="iteration 2"):
        learner.state()  # nothing to go on from


def test_a_state_of_another_network_is_refused() -> None:
    other = FineTuning(network(outputs=1), SETTINGS, seed=1, device=CPU)
    with pytest.raises(InputDataError, match=r"3\.weight is \(2, 8\), where this one has \(1, 8\)"):
        other.load(tuning(SETTINGS).state())


def test_each_block_learns_at_its_own_rate() -> None:
    learner = tuning(changed(head_lr_factor=10.0, layer_decay=0.5, weight_decay=0.1))
    list(learner.train(material(), 1, 1))
    groups = [
        (group["lr"], group["weight_decay"], [tuple(p.shape) for p in group["params"]])
        for group in learner._optimiser.param_groups
    ]
    assert groups == [
        (0.025, 0.1, [(8, WIDTH)]),
        (0.025, 0.0, [(8,)]),
        (0.5, 0.1, [(2, 8)]),
        (0.5, 0.0, [(2,)]),
    ]


def test_the_best_tail_is_kept_not_the_last() -> None:
    learner, best = tuning(SETTINGS), Best()
    best.offer(learner, Look(1, 0.7, 0.1, 0.9, 1.0))
    kept = learner.tail.state_dict()["3.weight"].clone()
    list(learner.train(material(), 5, 5))
    best.offer(learner, Look(5, 0.7, 0.1, 0.8, 1.0))
    assert best.iteration == 1
    assert torch.equal(best.tail["3.weight"], kept)


def test_a_score_is_the_mean_over_the_views() -> None:
    known, rows = material(), np.arange(5)
    one = tuning(changed(crops="centre")).score(known.inputs, rows)
    both = tuning(SETTINGS).score(known.inputs, rows)
    mirrored = Inputs(known.inputs.values[:, ::-1], np.ones(60, np.bool_))  # type: ignore[attr-defined]
    np.testing.assert_allclose(both, (one + tuning(changed(crops="centre")).score(mirrored, rows)) / 2)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"workers": 3}, "3 workers cannot share a batch of 8"),
        ({"objective": "pairs", "workers": 8}, "even number"),
        ({"objective": "pairs", "micro_batch": 3}, "even number"),
        ({"objective": "residual", "balanced": True}, "balanced"),
        ({"objective": "pairs", "label_smoothing": 0.1}, "no labels to smooth"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        check(changed(**values))
