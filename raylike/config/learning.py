"""Settings of what is learned: labels, features, classifiers, fine-tuning and its search.

Knows names, ranges and reasons. Knows nothing of the stages that use them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict

from raylike.config.base import RUNTIME_ONLY, PositiveInt, Section

FINETUNE_ONLY: JsonDict = {"fingerprint": "finetune"}
"""Marks a field that fine-tuning depends on, and the search does not."""


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
    sgd_batch_share: float = Field(
        1.0, gt=0, le=1, description="the chance of a row to be in an iteration's batch; 1: all are"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples over users, for 95 % intervals")


class FinetuneSettings(Section):
    """Fine-tuning with Ray Train: Caffe's schedule, scaled to the machine by the preset."""

    name: str = Field(
        "finetune",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="of the model: its files go to models/NAME/",
        json_schema_extra=FINETUNE_ONLY,
    )
    from_tune: bool = Field(
        False,
        description="train with the settings of the search's best trial",
        json_schema_extra=FINETUNE_ONLY,
    )
    onnx: bool = Field(
        True,
        description="also write the model as ONNX, where the extra `onnx` is installed",
        json_schema_extra=FINETUNE_ONLY,
    )

    objective: Literal["labels", "pairs", "residual"] = Field(
        "labels",
        description="good or bad; which of two of an account is liked more; or likes beyond expectation",
    )
    iterations: PositiveInt = Field(
        60, description="training steps; the study: 35,000", json_schema_extra=FINETUNE_ONLY
    )
    batch_size: PositiveInt = Field(32, description="photos per step, over all workers; in pairs: even")
    micro_batch: PositiveInt | None = Field(
        None,
        description="photos that a worker takes at a time, gradients added up; empty: its share of a step",
        json_schema_extra=RUNTIME_ONLY,
    )
    balanced: bool = Field(False, description="as many good as bad photos in every batch; for labels alone")
    optimiser: Literal["sgd", "adamw"] = Field("sgd", description="with momentum; or AdamW")
    lr: float = Field(1e-3, gt=0, description="learning rate of the pretrained layers")
    head_lr_factor: float = Field(10.0, gt=0, description="the new layer learns this much faster")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="each block learns at this share of the rate of the one above it"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD; of AdamW the first beta")
    weight_decay: float = Field(5e-4, ge=0, description="of weights; biases and norms have none")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="Caffe's cuts, or half a cosine down to 0 over the iterations"
    )
    step_every: PositiveInt = Field(5000, description="iterations between two cuts of the learning rate")
    step_factor: float = Field(0.1, gt=0, le=1, description="of the learning rate at each cut")
    warmup: int = Field(0, ge=0, description="iterations in which the learning rate rises to its value")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label spread over both classes")
    trainable: str = Field(
        "all",
        pattern="^(all|classifier|fc7|head|[0-9]{1,3})$",
        description="which layers move: all; head, the new layer alone; or it and so many blocks below it, "
        "of which fc7 is 1 and classifier is 2",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the computation; bf16: autocast, weights stay fp32"
    )
    crops: Literal["centre", "mirrored", "ten"] = Field(
        "mirrored",
        description="views that a photo is scored by: the centre; it and its mirror image; or the four "
        "corners and the centre, all mirrored too",
    )
    evaluate_every: PositiveInt = Field(
        20, description="iterations between two looks at validation AP", json_schema_extra=FINETUNE_ONLY
    )
    checkpoint_every: PositiveInt | None = Field(
        None, description="iterations between two saved states; empty: 30 s", json_schema_extra=RUNTIME_ONLY
    )
    in_memory_mib: PositiveInt = Field(
        2048,
        description="of outputs of frozen layers, kept instead of computed at each step; beyond, photos "
        "are streamed",
    )
    workers: PositiveInt = Field(1, description="Ray Train workers", json_schema_extra=RUNTIME_ONLY)


class TuneSettings(Section):
    """Ray Tune's search for the settings of fine-tuning, on the validation fold."""

    models: Annotated[tuple[Literal["network", "linear"], ...], BeforeValidator(_names)] = Field(
        ("network", "linear"),
        min_length=1,
        description="network: the trials below; linear: C of the linear models, for comparison",
    )
    trials: PositiveInt = Field(6, description="of the network; the first has finetune's own settings")
    iterations: PositiveInt = Field(30, description="training steps of a trial that is not stopped early")
    search: Literal["tpe", "random"] = Field(
        "tpe", description="after the first ten trials, where good ones are (Optuna's TPE); or at random"
    )
    lr_low: float = Field(1e-4, gt=0, description="learning rate, least")
    lr_high: float = Field(1e-1, gt=0, description="learning rate, greatest")
    weight_decay_low: float = Field(1e-6, gt=0, description="weight decay, least")
    weight_decay_high: float = Field(1e-2, gt=0, description="weight decay, greatest")
    trainable: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        ("head", "1", "all"), description="besides finetune's, which layers may move"
    )
    schedules: Annotated[tuple[Literal["step", "cosine"], ...], BeforeValidator(_names)] = Field(
        ("step", "cosine"), description="besides finetune's"
    )
    batch_sizes: tuple[PositiveInt, ...] = Field((16, 64), description="besides finetune's")
    label_smoothings: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.0, 0.1), description="besides finetune's"
    )
    concurrent: PositiveInt | None = Field(
        None, description="trials at once; empty: from the CPUs", json_schema_extra=RUNTIME_ONLY
    )
