"""Settings of what is learned: labels, features, classifiers, fine-tuning and its search.

Knows names, ranges and reasons. Knows nothing of the stages that use them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from raylike.config.base import RUNTIME_ONLY, PositiveInt, Section


def _names(value: object) -> object:
    """Names that an option gives as one text, separated by commas."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class LabelsSettings(Section):
    """What counts as liked, and who is tested on whom."""

    folds: int = Field(5, ge=2, description="user-disjoint cross-validation folds")
    test_share: float = Field(0.25, gt=0, lt=1, description="of users, held out: the study's 3:1 split")
    protocol: Literal["user", "time", "study"] = Field(
        "user",
        description="user: no account in train and test; time: nor any later photo in train; "
        "study: photos split at random",
    )
    design: Literal["ratio_median", "rank_in_follower_groups", "same_user_pairs", "residual"] = Field(
        "ratio_median", description="which photos are called good; see docs/evaluation.md"
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="of copies of a photo, drop all but the first posted; or keep them on one side"
    )
    near_duplicate_bits: int = Field(
        6, ge=0, le=12, description="photos are copies if their hashes differ in at most so many of 64 bits"
    )
    max_per_user: int = Field(
        20, ge=0, description="photos of one account; of more, so many are drawn by the seed; 0: all"
    )


class FeaturesSettings(Section):
    """The backbone that turns photos into numbers."""

    backbone: str = Field(
        "alexnet",
        pattern=r"^(timm:)?[A-Za-z0-9_.]+$",
        description="torchvision's name of a network, such as alexnet, resnet50, vit_b_16; or timm:NAME",
    )
    weights: Literal["imagenet", "random"] = Field("imagenet", description="trained, or from the seed")
    weights_file: Path | None = Field(
        None, description="a file with the network's weights, .safetensors or torch's; instead of `weights`"
    )
    layers: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (),
        description="layers to keep; empty: fc6 and fc7 of alexnet, of others what the last layer is given",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32", description="of the computation; auto: bf16 where the processor or a GPU has it"
    )
    allow_random: bool = Field(
        False, description="where trained weights cannot be had, go on with random ones, and say so"
    )
    mirrored: bool = Field(True, description="also compute every photo flipped left to right")
    batch_size: PositiveInt = Field(32, description="photos per forward pass", json_schema_extra=RUNTIME_ONLY)
    actors: PositiveInt | None = Field(
        None, description="model processes; empty: from CPUs and GPUs", json_schema_extra=RUNTIME_ONLY
    )


class ClassifySettings(Section):
    """The study's three classifiers, and logistic regression."""

    c_values: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        tuple(10.0**k for k in range(-6, 6)),
        min_length=1,
        description="C of LinearSVC and of logistic regression, from 1e-6 to 1e5",
    )
    trees: PositiveInt = Field(500, description="of the random forest")
    sgd_iterations: PositiveInt = Field(100, description="of the SVM by SGD")
    sgd_steps: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="its first step, the best of these; step t is this / sqrt(t)"
    )
    sgd_regs: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1e-4,), min_length=1, description="its L2 regularisation, the best of these"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples over users, for 95 % intervals")


class FinetuneSettings(Section):
    """Fine-tuning with Ray Train: Caffe's schedule, scaled to the machine by the preset."""

    iterations: PositiveInt = Field(60, description="training steps; the study: 35,000")
    batch_size: PositiveInt = Field(32, description="photos per step, over all workers")
    lr: float = Field(1e-3, gt=0, description="learning rate of the pretrained layers")
    head_lr_factor: float = Field(10.0, gt=0, description="the new layer learns this much faster")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    step_every: PositiveInt = Field(5000, description="iterations between two cuts of the learning rate")
    step_factor: float = Field(0.1, gt=0, le=1)
    trainable: Literal["all", "classifier", "fc7", "head"] = Field(
        "all", description="which layers move: all, fc6 and up, fc7 and up, or the new layer alone"
    )
    evaluate_every: PositiveInt = Field(20, description="iterations between two looks at validation AP")
    workers: PositiveInt = Field(1, description="Ray Train workers", json_schema_extra=RUNTIME_ONLY)


class TuneSettings(Section):
    """Ray Tune's search over learning rate and weight decay."""

    trials: PositiveInt = Field(6)
    iterations: PositiveInt = Field(30, description="training steps of a trial that is not stopped early")
    lr_low: float = Field(1e-4, gt=0)
    lr_high: float = Field(1e-1, gt=0)
    weight_decay_low: float = Field(1e-6, gt=0)
    weight_decay_high: float = Field(1e-2, gt=0)
    concurrent: PositiveInt | None = Field(
        None, description="trials at once; empty: from the CPUs", json_schema_extra=RUNTIME_ONLY
    )
