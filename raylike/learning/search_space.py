"""What the search for settings of fine-tuning varies, and what its best trial says.

Knows settings and rows of the `trials` table. Knows nothing of Ray or of how a trial is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raylike.config import FinetuneSettings, TuneSettings
from raylike.errors import InputDataError
from raylike.workspace import Workspace

NETWORK = "network"
"""The `model` of trials that train a network; those of linear models name theirs and its layer."""
RANGES = {"lr": ("lr_low", "lr_high"), "weight_decay": ("weight_decay_low", "weight_decay_high")}
"""Field of `finetune` -> the bounds of its range, searched on a logarithmic scale."""
CHOICES = {
    "trainable": "trainable",
    "schedule": "schedules",
    "batch_size": "batch_sizes",
    "label_smoothing": "label_smoothings",
}
"""Field of `finetune` -> the values to choose from."""
VARIED = (*RANGES, *CHOICES)


def ranges(settings: TuneSettings) -> dict[str, tuple[float, float]]:
    """The bounds of each field that is a range."""
    return {name: (getattr(settings, low), getattr(settings, high)) for name, (low, high) in RANGES.items()}


def choices(settings: TuneSettings, own: FinetuneSettings) -> dict[str, list[Any]]:
    """The values of each field that is a choice, fine-tuning's own always among them."""
    found = {}
    for name, listed in CHOICES.items():
        values = (getattr(own, name), *getattr(settings, listed))
        found[name] = list(dict.fromkeys(values))
    return found


def own(settings: FinetuneSettings) -> dict[str, Any]:
    """Fine-tuning's own setting as a trial: the one that others have to beat."""
    return {name: getattr(settings, name) for name in VARIED}


def applied(settings: FinetuneSettings, trial: Mapping[str, Any], **others: Any) -> FinetuneSettings:
    """The settings with those of a trial, and `others`, in their place."""
    return settings.model_copy(update={**{name: trial[name] for name in VARIED}, **others})


def best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The network with the highest validation AP, the first of equals; None without any."""
    networks = [row for row in rows if row["model"] == NETWORK]
    return max(networks, key=lambda row: row["best_validation_ap"], default=None)


def from_trials(settings: FinetuneSettings, workspace: Workspace) -> FinetuneSettings:
    """The settings with those of the search's best trial in their place.

    Raises
    ------
    InputDataError : if there is no trial of a network
    """
    found = best(workspace.read("trials").sort_by("trial").to_pylist())
    if found is None:
        raise InputDataError("there are no trials of a network yet", workspace.uri, "first: raylike tune")
    return applied(settings, found)
