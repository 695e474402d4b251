"""Figures of the report, each from one part of `Facts`, as SVG for the page.

Knows `Facts` and how to draw. Knows no tables and no HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from raylike.report import photo_plots
from raylike.report.axes import WIDE_PX, format_ticks, power_of_ten, say_random, short_number
from raylike.report.facts import (
    FaceCut,
    Facts,
    Followers,
    LikesByFollowers,
    Model,
    Ratios,
    Score,
    StageTime,
    Sweep,
    Training,
    Trial,
)
from raylike.report.svg import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SURFACE,
    Drawing,
    Drawn,
    Size,
)

SHADES = (0.16, 0.32, 0.5, 0.72, 1.0)
"""Opacities of a cell, from one post to the fullest cell, in equal steps of the logarithm."""


def draw_all(facts: Facts) -> dict[str, Drawn]:
    """Name -> SVG for every figure that there are facts for."""
    found: dict[str, Drawn] = {}
    if facts.followers:
        found["followers"] = followers(facts.followers)
    if facts.likes:
        found["likes"] = likes_by_followers(facts.likes)
    if facts.ratios:
        found["ratios"] = ratios(facts.ratios)
    if facts.faces and facts.faces.confidences:
        found["faces"] = face_cut(facts.faces)
    if facts.faces and facts.faces.judged:
        found["faces-truth"] = face_quality(facts.faces)
    if facts.models:
        found["models"] = models(facts.models, facts.random_weights)
    if facts.sweeps:
        found["sweep"] = sweep(facts.sweeps, facts.models, facts.random_weights)
    for number, training in enumerate(facts.trainings):
        found[f"training-{number}"] = train_curve(training, facts.random_weights)
    if facts.trials:
        found["trials"] = trials(facts.trials, facts.random_weights)
    if facts.times:
        found["times"] = times(facts.times)
    return found | photo_plots.draw_all(facts)


def followers(facts: Followers) -> Drawn:
    """Histogram of followers before and after the filter."""
    with Drawing() as drawing:
        (axes,) = drawing.axes
        axes.stairs(facts.before, facts.edges, fill=True, color=MUTED, alpha=0.35, label="collected")
        axes.stairs(facts.after, facts.edges, fill=True, color=BLUE, alpha=0.85, label="kept")
        axes.set_xscale("log")
        axes.set(xlabel="followers of the account (logarithmic)", ylabel="posts")
        format_ticks(axes, "x", short_number)
        format_ticks(axes, "y", short_number)
        axes.legend(loc="upper right")
        return drawing.svg(
            "followers",
            f"Logarithmic histogram of followers: {facts.summary_before.n:,} posts before the filter, "
            f"{facts.summary_after.n:,} after it.",
        )


def likes_by_followers(facts: LikesByFollowers) -> Drawn:
    """Posts on the plane of likes and followers; the darker a cell, the more posts."""
    with Drawing() as drawing:
        (axes,) = drawing.axes
        axes.set(xscale="log", yscale="log", xlabel="followers + 1", ylabel="likes + 1")
        fullest = max(1, *map(max, facts.kept), *map(max, facts.dropped))
        for name, counts, colour in (("dropped", facts.dropped, MUTED), ("kept", facts.kept, BLUE)):
            _shade(axes, facts, np.array(counts), fullest, colour)
            axes.plot([], [], "s", color=colour, markersize=6, label=name)
        ends = np.array([facts.follower_edges[0], facts.follower_edges[-1]])
        if math.isfinite(facts.median_ratio):
            label = f"{facts.median_ratio:.2g} likes per follower"
            axes.plot(ends, facts.median_ratio * (ends - 1) + 1, color=ORANGE, linewidth=1.4, label=label)
        axes.set_ylim(facts.like_edges[0], facts.like_edges[-1] * 1.1)
        format_ticks(axes, "x", short_number)
        format_ticks(axes, "y", short_number)
        axes.legend(loc="upper left", handlelength=1.2)
        return drawing.svg(
            "likes", "Likes against followers of every post, both logarithmic: likes grow with followers."
        )


def ratios(facts: Ratios) -> Drawn:
    """Histogram of likes per follower; the threshold parts good from bad."""
    with Drawing() as drawing:
        (axes,) = drawing.axes
        counts = np.add(facts.train, facts.test)
        edges = np.array(facts.edges)
        centres = np.sqrt(edges[:-1] * edges[1:])
        for name, colour, side in (
            ("bad", ORANGE, centres <= facts.threshold),
            ("good", BLUE, centres > facts.threshold),
        ):
            axes.stairs(np.where(side, counts, 0), edges, fill=True, color=colour, alpha=0.8, label=name)
        axes.axvline(facts.threshold, color=INK, linewidth=1.2)
        axes.set_xscale("log")
        axes.set(xlabel="likes per follower (logarithmic)", ylabel="photos")
        format_ticks(axes, "x", short_number)
        axes.legend(loc="upper right")
        return drawing.svg(
            "ratios",
            f"Histogram of likes per follower of {facts.n:,} photos; the threshold {facts.threshold:.3g} "
            "parts good from bad.",
        )


def face_cut(facts: FaceCut) -> Drawn:
    """How many photos are kept at each cut on the detector's confidence."""
    with Drawing() as drawing:
        (axes,) = drawing.axes
        axes.fill_between(facts.confidences, facts.photos, step="post", color=BLUE, alpha=0.14, linewidth=0)
        axes.step(facts.confidences, facts.photos, where="post", color=BLUE)
        axes.axvline(facts.min_confidence, color=ORANGE, linewidth=1.4)
        axes.annotate(
            f"the cut: {facts.n_above_cut:,} photos",
            (facts.min_confidence, axes.get_ylim()[1] * 0.96),
            xytext=(5, 0), textcoords="offset points", va="top", color=ORANGE,
        )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set(xlabel=f"confidence of the best face ({facts.detector})", ylabel="photos at or above")
        format_ticks(axes, "y", short_number)
        return drawing.svg(
            "faces",
            f"Photos with a face of at least a confidence: {facts.n_with_face:,} with any face, "
            f"{facts.n_above_cut:,} above the cut at {facts.min_confidence:g}.",
        )


def face_quality(facts: FaceCut) -> Drawn:
    """Precision and recall of each cut on photos labelled by eye, with 95 % bands."""
    with Drawing() as drawing:
        (axes,) = drawing.axes
        for name, colour, marker in (("precision", BLUE, "o"), ("recall", GREEN, "s")):
            known = [(at.min_confidence, found) for at in facts.judged if (found := getattr(at, name))]
            at = [confidence for confidence, _ in known]
            low, high = [share.low for _, share in known], [share.high for _, share in known]
            axes.fill_between(at, low, high, color=colour, alpha=0.14, linewidth=0)
            values = [share.value for _, share in known]
            axes.plot(at, values, color=colour, marker=marker, markersize=4, label=name)
        axes.axvline(facts.min_confidence, color=ORANGE, linewidth=1.4, label="the cut")
        axes.set_ylim(0, 1.02)
        axes.set(xlabel=f"cut on the confidence ({facts.detector})", ylabel="share of photos")
        axes.legend(loc="lower left")
        return drawing.svg(
            "faces-truth",
            f"Precision and recall of each cut by {facts.n_labelled:,} labelled photos, with 95 % bands.",
        )


def models(facts: Sequence[Model], random_weights: bool) -> Drawn:
    """Average precision of every model with its interval, on the test photos and cross-validated."""
    with Drawing(Size(WIDE_PX, 70 + 28 * len(facts))) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        places = np.arange(len(facts))[::-1]
        for place, model in zip(places, facts, strict=True):
            colour = MUTED if model.reference else BLUE
            _interval(axes, model.cross_validation, place + 0.14, colour, filled=False)
            _interval(axes, model.test, place - 0.14, colour, filled=True)
        _references(axes, facts, vertical=True, test=True)
        axes.plot([], [], "o", color=INK, markersize=5, label="test photos")
        axes.plot([], [], "o", color=INK, markersize=5, markerfacecolor=SURFACE, label="cross-validated")
        axes.set_yticks(places, [model.name for model in facts], color=INK)
        axes.set(xlabel="average precision, with 95 % interval", ylim=(-0.6, len(facts) - 0.4))
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        drawing.figure.legend(loc="outside upper right", ncols=4, handlelength=1.2, columnspacing=1.2)
        return drawing.svg(
            "models", "Average precision of every model with its 95 % interval; the table has the figures."
        )


def sweep(facts: Sequence[Sweep], all_models: Sequence[Model], random_weights: bool) -> Drawn:
    """Cross-validated average precision of LinearSVC over C, for each layer."""
    with Drawing(Size(WIDE_PX, 290)) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        for layer, colour, marker in zip(
            facts, (BLUE, ORANGE, GREEN, PURPLE) * len(facts), "osD^" * len(facts), strict=False
        ):
            c = [point.c for point in layer.points]
            low, high = [p.ap.low for p in layer.points], [p.ap.high for p in layer.points]
            axes.fill_between(c, low, high, color=colour, alpha=0.14, linewidth=0)
            values = [point.ap.value for point in layer.points]
            axes.plot(c, values, color=colour, marker=marker, markersize=4.5, label=layer.features)
        _references(axes, all_models, vertical=False, test=False)
        axes.set_xscale("log")
        axes.set(xlabel="C of the linear SVM (logarithmic)", ylabel="average precision")
        format_ticks(axes, "x", power_of_ten)
        drawing.figure.legend(loc="outside upper right", ncols=4, handlelength=1.6)
        return drawing.svg(
            "sweep",
            "Average precision over C for " + " and ".join(s.features for s in facts) + ", with 95 % bands.",
        )


def train_curve(facts: Training, random_weights: bool) -> Drawn:
    """Loss and validation AP while a network is trained."""
    with Drawing(Size(430, 320), panels=2) as drawing:
        upper, lower = drawing.axes
        say_random(upper, random_weights)
        iterations = [point.iteration for point in facts.points]
        upper.plot(iterations, [p.loss for p in facts.points], color=ORANGE, marker="o", markersize=4)
        upper.set_ylabel("training loss")
        lower.plot(iterations, [p.validation_ap for p in facts.points], color=BLUE, marker="o", markersize=4)
        lower.set(xlabel="training steps", ylabel="validation AP")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        return drawing.svg(
            f"training-{facts.run}", f"Training of {facts.run}: loss and validation average precision."
        )


def trials(facts: Sequence[Trial], random_weights: bool) -> Drawn:
    """Best validation AP of each network over its learning rate, hollow where it was stopped early; and
    the best linear model's."""
    with Drawing(Size(430, 320)) as drawing:
        (axes,) = drawing.axes
        say_random(axes, random_weights)
        networks = [(trial, trial.lr) for trial in facts if trial.lr is not None]
        for stopped, name in ((False, "ran to its end"), (True, "stopped early")):
            chosen = [(trial, lr) for trial, lr in networks if trial.stopped_early is stopped]
            if chosen:
                rates, aps = [lr for _, lr in chosen], [t.best_validation_ap for t, _ in chosen]
                fill = SURFACE if stopped else BLUE
                axes.plot(rates, aps, "o", color=BLUE, markersize=7, markerfacecolor=fill, label=name)
        for trial, lr in networks:
            axes.annotate(str(trial.trial), (lr, trial.best_validation_ap), xytext=(6, 4),
                          textcoords="offset points", color=MUTED, fontsize=9)  # fmt: skip
        linear = [trial.best_validation_ap for trial in facts if trial.lr is None]
        if linear:
            axes.axhline(max(linear), color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)),
                         label="best linear model")  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.15)
        axes.set(xlabel="learning rate (logarithmic)", ylabel="best validation AP")
        format_ticks(axes, "x", power_of_ten)
        drawing.figure.legend(loc="outside upper right", ncols=3, handlelength=1.2, columnspacing=1)
        return drawing.svg(
            "trials", f"Best validation average precision of {len(networks)} trials over their learning rate."
        )


def times(facts: Sequence[StageTime]) -> Drawn:
    """Seconds of each stage as bars."""
    with Drawing(Size(WIDE_PX, 40 + 22 * len(facts))) as drawing:
        (axes,) = drawing.axes
        places = np.arange(len(facts))[::-1]
        bars = axes.barh(places, [time.seconds for time in facts], height=0.66, color=BLUE, alpha=0.85)
        axes.bar_label(
            bars, [f"{time.seconds:.1f} s" for time in facts], padding=4, color=MUTED, fontsize=9.5
        )
        axes.set_yticks(places, [time.stage for time in facts], color=INK)
        axes.margins(x=0.1)
        axes.set(xlabel="seconds")
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        return drawing.svg("times", "Seconds of each stage; the table has the figures.")


# Parts


def _shade(axes: Axes, facts: LikesByFollowers, counts: NDArray[np.int64], fullest: int, colour: str) -> None:
    """A square for each cell that holds posts, the more opaque the more there are."""
    x, y = (np.sqrt(np.multiply(e[:-1], e[1:])) for e in (facts.follower_edges, facts.like_edges))
    shade = np.zeros(counts.shape, int)
    filled = counts > 0
    share = np.log(counts[filled]) / max(math.log(fullest), 1.0)
    shade[filled] = 1 + np.minimum((share * len(SHADES)).astype(int), len(SHADES) - 1)
    for level, opacity in enumerate(SHADES, start=1):
        rows, columns = np.nonzero(shade == level)
        axes.plot(x[rows], y[columns], "s", color=colour, alpha=opacity, markersize=5.4, markeredgewidth=0)


def _interval(axes: Axes, score: Score | None, place: float, colour: str, *, filled: bool) -> None:
    if score is None:
        return
    axes.plot(
        [score.ap.low, score.ap.high], [place, place], color=colour, linewidth=1.6, alpha=1 if filled else 0.6
    )
    axes.plot([score.ap.value], [place], "o", color=colour, markersize=5.5,
              markerfacecolor=colour if filled else SURFACE)  # fmt: skip


def _references(axes: Axes, facts: Sequence[Model], *, vertical: bool, test: bool) -> None:
    """Lines for chance and, on the simulator, for the oracle."""
    scores = [(model, model.test if test else model.cross_validation) for model in facts]
    draw = axes.axvline if vertical else axes.axhline
    known = [score for _, score in scores if score is not None]
    if known:
        draw(known[0].positive_rate, color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), label="chance")
    for model, score in scores:
        if model.features == "truth" and score is not None:
            draw(score.ap.value, color=GREEN, linewidth=1.2, linestyle=(0, (6, 2)), label="oracle")
