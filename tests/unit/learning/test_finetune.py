"""Fine-tuning on arrays: batches, schedule, and a training that a pause does not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from raylike.config import FinetuneSettings
from raylike.errors import StageError
from raylike.learning.batches import Batches
from raylike.learning.finetune import Best, FineTuning, Look, Material, Trainable, split
from raylike.learning.schedule import StepSchedule
from raylike.vision import backbones

CPU = torch.device("cpu")
WIDTH = 12


@given(n=st.integers(1, 50), size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_photo_is_seen_once_before_any_is_seen_twice(n: int, size: int, seed: int) -> None:
    batches = Batches(n, size, seed)
    rows = np.concatenate([batches.at(i).rows for i in range(-(-2 * n // size))])
    assert sorted(rows[:n]) == list(range(n))
    assert sorted(rows[n : 2 * n]) == list(range(n))


@given(workers=st.integers(1, 4), iteration=st.integers(0, 100))
def test_workers_share_the_batch_that_one_would_have(workers: int, iteration: int) -> None:
    batch = Batches(30, 8, 0).at(iteration)
    shares = [batch.share(rank, workers) for rank in range(workers)]
    assert sorted(np.concatenate([share.rows for share in shares])) == sorted(batch.rows)


@pytest.mark.parametrize(("iteration", "rate"), [(0, 1e-3), (4999, 1e-3), (5000, 1e-4), (34_999, 1e-9)])
def test_the_studys_schedule(iteration: int, rate: float) -> None:
    assert StepSchedule(1e-3, 5000, 0.1).at(iteration) == pytest.approx(rate)


def material(n: int = 60) -> Material:
    """Inputs in which one number tells good from bad, mirrored or not."""
    generator = np.random.default_rng(0)
    labels = (np.arange(n) % 2).astype(np.int8)
    inputs = generator.normal(size=(n, 2, WIDTH)).astype(np.float32)
    inputs[:, :, 0] += np.where(labels > 0, 2, -2)[:, None]
    return Material(inputs, labels, np.arange(n // 2), np.arange(n // 2, n))


def tuning(settings: FinetuneSettings) -> FineTuning:
    torch.manual_seed(0)
    tail = nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 2))
    return FineTuning(tail, settings, seed=1, device=CPU)


SETTINGS = FinetuneSettings(batch_size=8, lr=0.05, head_lr_factor=1.0)


def test_it_learns() -> None:
    learner = tuning(SETTINGS)
    looks = list(learner.train(material(), iterations=40, look_every=15))
    assert [look.iteration for look in looks] == [15, 30, 40]
    assert looks[-1].loss < looks[0].loss
    assert looks[-1].validation_ap > 0.95


def test_a_paused_training_ends_as_an_undisturbed_one() -> None:
    whole, first, second = tuning(SETTINGS), tuning(SETTINGS), tuning(SETTINGS)
    expected = list(whole.train(material(), 30, 10))
    list(first.train(material(), 20, 10))
    torch.manual_seed(99)  # the global generator plays no part
    second.load(first.state())
    found = list(second.train(material(), 30, 10))
    assert (found[-1].loss, found[-1].validation_ap) == (expected[-1].loss, expected[-1].validation_ap)
    for ours, theirs in zip(second.tail.parameters(), whole.tail.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loss_that_is_not_a_number_ends_training_and_says_where() -> None:
    spoilt = material()
    spoilt.inputs[:] = 1e30
    learner = tuning(SETTINGS.model_copy(update={"lr": 1e30}))
    with pytest.raises(StageError, match="iteration 2, learning rate 1e\\+30"):
        list(learner.train(spoilt, 10, 5))


def test_the_new_layer_learns_faster() -> None:
    learner = tuning(SETTINGS.model_copy(update={"head_lr_factor": 0.0001, "weight_decay": 0.0}))
    before = learner.tail[-1].weight.detach().clone()
    list(learner.train(material(), 5, 5))
    assert float((learner.tail[-1].weight - before).abs().max().detach()) < 1e-3


def test_the_best_tail_is_kept_not_the_last() -> None:
    learner, best = tuning(SETTINGS), Best()
    best.offer(learner, Look(1, 0.7, 0.1, 0.9, 1.0))
    kept = learner.tail[-1].weight.detach().clone()
    list(learner.train(material(), 5, 5))
    best.offer(learner, Look(5, 0.7, 0.1, 0.8, 1.0))
    assert best.iteration == 1
    assert torch.equal(best.tail["3.weight"], kept)


@pytest.fixture(scope="module")
def alexnet() -> backbones.Backbone:
    return backbones.load("alexnet", "random", seed=0, allow_random=False)


@pytest.mark.parametrize("trainable", ["head", "classifier"])
def test_trunk_and_tail_together_are_the_network(alexnet: backbones.Backbone, trainable: str) -> None:
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    trunk, tail = split(alexnet, trainable, seed=3)  # type: ignore[arg-type]
    nothing, whole = split(alexnet, "all", seed=3)
    assert trunk is not None
    assert nothing is None
    with torch.inference_mode():
        torch.testing.assert_close(tail.eval()(trunk(photos)), whole.eval()(photos), rtol=1e-3, atol=1e-4)


def test_whole_networks_train_on_crops_of_photos(alexnet: backbones.Backbone) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (6, 256, 256, 3), dtype=np.uint8)
    photos = Material(squares, np.array([0, 1] * 3, np.int8), np.arange(4), np.arange(4, 6))
    _, tail = split(alexnet, "all")
    (look,) = FineTuning(tail, FinetuneSettings(batch_size=2), seed=0, device=CPU).train(photos, 1, 1)
    assert np.isfinite(look.loss)


@pytest.mark.parametrize("trainable", ["all", "classifier", "fc7", "head"])
def test_a_tail_has_weights_of_its_own(trainable: Trainable) -> None:
    backbone = backbones.load("alexnet", "random", 0, allow_random=True)
    shared = {array.ctypes.data for array in backbone.state.values()}
    _, tail = split(backbone, trainable)
    assert shared.isdisjoint(parameter.data_ptr() for parameter in tail.parameters())
