"""Figures of the ranking and of what is visible in photos, as SVG for the page.

Knows `Facts` and how to draw. Knows no tables and no HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from raylike.report.axes import WIDE_PX, format_ticks, say_random, short_number
from raylike.report.facts import Facts
from raylike.report.photo_facts import Curve, Difference, Effect, Estimate, Judgement, Slot, Traits
from raylike.report.svg import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SURFACE, Drawing, Drawn, Size

CURVE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), "-.")
"""So that curves differ without colour, too."""
SQUARE = Size(430, 360)
ATTRIBUTES = {
    "brightness": "brighter",
    "contrast": "more contrast",
    "saturation": "stronger colours",
    "colourfulness": "more colours",
    "warmth": "warmer colours",
    "greenery": "more green",
    "detail": "busier",
    "face_share": "larger face",
    "face_height": "face further down",
    "black_and_white": "black and white",
    "border": "a border",
    "n_faces": "several faces",
}
"""Attribute -> what more of it is called, in two or three words."""


def draw_all(facts: Facts) -> dict[str, Drawn]:
    """Name -> SVG for every figure of this module that there are facts for."""
    found: dict[str, Drawn] = {}
    random_weights = facts.random_weights
    if any(slot.posts for slot in facts.hours):
        found["hours"] = hours(facts.hours)
    if any(slot.posts for slot in facts.ages):
        found["ages"] = ages(facts.ages)
    if facts.judgement:
        found["roc"] = roc(facts.judgement, random_weights)
        found["precision-recall"] = precision_recall(facts.judgement, random_weights)
        found["calibration"] = calibration(facts.judgement, random_weights)
    if facts.differences:
        found["differences"] = differences(facts.differences, random_weights)
    if facts.traits and facts.traits.effects:
        found["effects"] = effects(facts.traits.effects, random_weights)
    if facts.traits and facts.traits.groups:
        found["groups"] = groups(facts.traits, random_weights)
    return found


def hours(slots: Sequence[Slot]) -> Drawn:
    """Posts, and likes per follower, by hour of the day."""
    return _slots(
        slots, "hours", "hour of the day (UTC)",
        "Kept posts by hour of the day, and the median of their likes per follower with its quarters.",
        every=6,
    )  # fmt: skip


def ages(slots: Sequence[Slot]) -> Drawn:
    """Posts, and likes per follower, by age when the likes were read."""
    return _slots(
        slots, "ages", "days from posting to reading the likes",
        "Kept posts by age when their likes were read, and the quarters of their likes per follower.",
    )  # fmt: skip


def _slots(
    slots: Sequence[Slot], name: str, label: str, description: str, every: float | None = None
) -> Drawn:
    with Drawing(Size(430, 330), panels=2) as drawing:
        upper, lower = drawing.axes
        edges = [slot.start for slot in slots] + [slots[-1].end]
        upper.stairs([slot.posts for slot in slots], edges, fill=True, color=BLUE, alpha=0.8)
        upper.set_ylabel("posts")
        format_ticks(upper, "y", short_number)
        known = [slot for slot in slots if slot.median_ratio is not None]
        middles = [(slot.start + slot.end) / 2 for slot in known]
        low, high = [slot.quarter or 0 for slot in known], [slot.three_quarters or 0 for slot in known]
        lower.vlines(middles, low, high, color=BLUE, alpha=0.35, linewidth=4)
        lower.plot(middles, [slot.median_ratio or 0 for slot in known], "o", color=BLUE, markersize=4.5)
        lower.set(xlabel=label, ylabel="likes per follower", ylim=(0, None))
        if every is not None:
            lower.xaxis.set_major_locator(MultipleLocator(every))
        return drawing.svg(name, description)


def roc(facts: Judgement, random_weights: bool) -> Drawn:
    """Good photos found over bad ones taken along, with bands."""
    with Drawing(SQUARE) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        _curves(axes, facts.roc)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), label="chance")
        axes.set(xlabel="share of bad photos taken along", ylabel="share of good photos found")
        axes.legend(loc="lower right")
        return drawing.svg(
            "roc",
            f"ROC curves on {facts.n:,} test photos with 95 % bands; the diagonal is chance.",
        )


def precision_recall(facts: Judgement, random_weights: bool) -> Drawn:
    """Share of good ones among the photos taken, over the share of good photos found."""
    with Drawing(SQUARE) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        _curves(axes, facts.precision_recall)
        axes.axhline(facts.chance, color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), label="chance")
        axes.set(xlabel="share of good photos found (recall)", ylabel="share good of those taken (precision)")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower left")
        return drawing.svg(
            "precision-recall",
            f"Precision against recall on {facts.n:,} test photos with 95 % bands; the level line is chance.",
        )


def _curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Each curve; a band for the first alone, where three would hide each other."""
    for number, (curve, colour, dashes) in enumerate(zip(curves, CURVE_COLOURS, DASHES, strict=False)):
        if number == 0:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
        width = 2.0 if number == 0 else 1.3
        axes.plot(curve.x, curve.y, color=colour, linestyle=dashes, linewidth=width, label=curve.model)


def calibration(facts: Judgement, random_weights: bool) -> Drawn:
    """The share of good photos where the model said a probability; on the diagonal it keeps its word."""
    with Drawing(SQUARE) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), label="as it said")
        at = [one.probability for one in facts.calibration]
        axes.vlines(at, [b.good.low for b in facts.calibration], [b.good.high for b in facts.calibration],
                    color=BLUE, alpha=0.5, linewidth=1.6)  # fmt: skip
        values = [one.good.value for one in facts.calibration]
        axes.plot(at, values, "o-", color=BLUE, markersize=5.5, linewidth=1, label="as it was")
        axes.set(xlabel="probability of being good, as the model said", ylabel="share that was good")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="upper left")
        return drawing.svg(
            "calibration",
            f"Share of good photos in {len(at)} ranges of the model's probability, with intervals.",
        )


def differences(facts: Sequence[Difference], random_weights: bool) -> Drawn:
    """AP of the headline's model less that of each other one, with intervals."""
    rows = [(one.other, one.difference, MUTED if _level(one.difference) else BLUE) for one in facts]
    return _forest(
        rows, "differences", f"average precision of {facts[0].model} less that of the other", random_weights,
        f"Average precision of {facts[0].model} less that of {len(facts)} others, each with its interval.",
    )  # fmt: skip


def effects(facts: Sequence[Effect], random_weights: bool) -> Drawn:
    """Percentile points of score that photos with more of an attribute have more."""
    rows = [
        (
            ATTRIBUTES[one.attribute],
            one.score,
            MUTED if _level(one.score) else BLUE if one.score.value > 0 else ORANGE,
        )
        for one in facts
    ]
    return _forest(
        rows, "effects", "percentile points of score, much of it against little", random_weights,
        "Effect of each visible attribute on the score, with its interval; the table has the figures.",
    )  # fmt: skip


def groups(facts: Traits, random_weights: bool) -> Drawn:
    """Percentile points by which each group is ranked above what it was liked."""
    rows = [
        (f"{one.trait}: {one.group}", one.gap, MUTED if _level(one.gap) else ORANGE) for one in facts.groups
    ]
    return _forest(
        rows, "groups", "mean percentile of score less mean percentile of likes", random_weights,
        "By how much each group is ranked above its likes, with intervals; the table has the figures.",
    )  # fmt: skip


def _level(estimate: Estimate) -> bool:
    """Whether an interval includes 0."""
    return estimate.low <= 0 <= estimate.high


def _forest(
    rows: Sequence[tuple[str, Estimate, str]], name: str, label: str, random_weights: bool, description: str
) -> Drawn:
    """Estimates below each other, each with its interval, and a line at 0."""
    with Drawing(Size(WIDE_PX, 60 + 24 * len(rows))) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        places = np.arange(len(rows))[::-1]
        axes.axvline(0, color=INK, linewidth=1)
        for place, (_, estimate, colour) in zip(places, rows, strict=True):
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.8)
            face = SURFACE if colour == MUTED else colour
            axes.plot([estimate.value], [place], "o", color=colour, markersize=6, markerfacecolor=face)
        axes.set_yticks(places, [text for text, _, _ in rows], color=INK)
        axes.set(xlabel=label, ylim=(-0.6, len(rows) - 0.4))
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        return drawing.svg(name, description)
