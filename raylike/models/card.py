"""The model card: `config.json` in words, for whoever meets the folder without the workspace.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, doi:10.1145/3287560.3287596.

Knows the content of a config. Knows nothing of where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIGURES = {
    "ap": "average precision",
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "spearman": "Spearman's rho with likes per follower",
    "pair_accuracy": "pairs of one account in the right order",
}
DESIGNS = {
    "ratio_median": "more likes per follower than the median training photo",
    "rank_in_follower_groups": "the upper half among photos of accounts of its size",
    "same_user_pairs": "the better one of two of its account's photos",
    "residual": "more likes than expected of its account, age and tags",
}
OBJECTIVES = {
    "labels": "told good photos from bad ones",
    "pairs": "told which of two photos of an account is liked more",
    "residual": "estimated likes beyond expectation",
}
USE = """```python
import raylike

network, framing = raylike.load_model("models/{name}")
```

`network` takes uint8 RGB photos (n, {side}, {side}, 3): the central square, scaled to {square} pixels, and
of that the centre. """


def card(config: Mapping[str, Any]) -> str:
    """The text of `README.md`."""
    parts = [
        f"# {config['name']}: {config['backbone']}, fine-tuned to photos that are liked",
        _summary(config),
        _beginning(config["weights"]["initial"]),
        "## Figures",
        _figures(config["figures"]),
        "## By group, on the test photos",
        _groups(config["groups"]),
        "## Data",
        _data(config),
        "## Training",
        _training(config),
        "## Limits",
        _limits(config),
        "## Use",
        _use(config),
        "## Provenance",
        _provenance(config),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(config: Mapping[str, Any]) -> str:
    test = config["figures"].get("test")
    line = f"A photo is called good if it has {DESIGNS[config['label']['design']]}. "
    if test and test["ap"]:
        value, low, high = test["ap"]
        line += (
            f"On {test['n']:,} test photos the average precision is **{value:.3f}** "
            f"(95 % interval {low:.3f} to {high:.3f}); chance gives {test['positive_rate']:.3f}."
        )
        if low <= test["positive_rate"]:
            line += " The interval holds chance: that this model knows anything is not shown."
    return line


def _beginning(initial: str) -> str:
    if initial == "random":
        return (
            "**It began with random weights**, not with trained ones. What lies below the layers that were "
            "trained is a fixed random projection: the figures say what the machinery can do, not what a "
            "network that has seen millions of photos would do."
        )
    if initial == "pretrained":
        return "It began with weights trained on ImageNet."
    return f"It began with weights from a file ({initial})."


def _figures(figures: Mapping[str, Any]) -> str:
    header = ["figure", *(f"{part} ({figures[part]['n']:,} photos)" for part in figures)]
    rows = [[name, *(_estimate(found[key]) for found in figures.values())] for key, name in FIGURES.items()]
    rows.append(["chance (average precision)", *(f"{f['positive_rate']:.3f}" for f in figures.values())])
    return (
        _table(header, rows)
        + "\n\n95 % intervals are bootstraps over accounts. The validation photos also chose when to stop, "
        "which flatters their figures; the test photos chose nothing."
    )


def _groups(groups: Sequence[Mapping[str, Any]]) -> str:
    if not groups:
        return "Nothing is known of the photos to group them by."
    rows = [
        [
            group["group"], f"{group['n']:,}",
            f"{group['positive_rate']:.3f}" if group["n"] else "",
            _estimate(group["ap"]) if group["ap"] else "too few photos",
        ]
        for group in groups
    ]  # fmt: skip
    return _table(["group", "photos", "share of good ones", "average precision"], rows)


def _data(config: Mapping[str, Any]) -> str:
    data = config["data"]
    rows = [
        [part, *(f"{data[part][key]:,}" for key in ("photos", "accounts", "good"))]
        for part in ("train", "validation", "test")
    ]
    apart = {
        "user": "No account is in two parts.",
        "time": "No account is in two parts, and no training photo is later than a test photo.",
        "study": "Photos were split at random, as in the study: accounts are in several parts: too good.",
    }[config["label"]["protocol"]]
    source = {"simulator": "raylike's simulator, which draws photos", "files": "imported files"}
    return (
        f"From {source.get(data['source'], data['source'])}. Label design `{config['label']['design']}`, "
        f"split `{config['label']['protocol']}`. {apart}\n\n"
        + _table(["part", "photos", "accounts", "good"], rows)
    )


def _training(config: Mapping[str, Any]) -> str:
    settings = config["settings"]
    told = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
    chosen = " The settings are those of the search's best trial." if settings.get("from_tune") else ""
    return f"It {OBJECTIVES[config['objective']]}. {told}.{chosen}"


def _limits(config: Mapping[str, Any]) -> str:
    lines = [
        "Likes are not beauty, nor quality: they follow who looks, when, and what a network shows to whom.",
        "It was judged on photos from the same source and time as those it learned from. On others it may do "
        "worse, and nobody has looked.",
        "Scores may differ between groups of people. Nothing here was measured by age, gender or skin tone: "
        "do not judge people by it.",
    ]
    if config["data"]["source"] == "simulator":
        lines.insert(0, "Its photos are drawn and its likes made up: it knows nothing of real photos.")
    return "\n".join(f"- {line}" for line in lines)


def _use(config: Mapping[str, Any]) -> str:
    framing = config["framing"]
    text = USE.format(name=config["name"], side=framing["input_px"], square=framing["square_px"])
    text += (
        "The score of a photo is the second output less the first."
        if config["outputs"] > 1
        else "The score of a photo is its one output."
    )
    if config["onnx"]:
        text += (
            f"\n\n`model.onnx` takes the same photos as `photos` and gives that score as `score`. "
            f"Against torch, its scores differ by {config['onnx']['difference']:.1e} "
            "at most, on random photos."
        )
    return text


def _provenance(config: Mapping[str, Any]) -> str:
    weights, made = config["weights"], config["provenance"]
    lines = [
        ("model.safetensors, SHA-256", weights["sha256"]),
        ("initial weights, SHA-256", weights["initial_sha256"]),
        ("raylike", f"{made['raylike']}, code {made['code_sha256']}"),
        ("torch", made["torch"]),
        ("settings, fingerprint", made["fingerprint"]),
        ("run", made["run"]),
    ]
    return "\n".join(f"- {name}: `{value}`" for name, value in lines)


def _estimate(bounds: Sequence[float] | None) -> str:
    return "not defined" if bounds is None else f"{bounds[0]:.3f} ({bounds[1]:.3f} to {bounds[2]:.3f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
