"""The numbers behind each figure as rows for a CSV file. Knows `Facts`. Knows nothing of drawing."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator
from typing import Any

from raylike.report.facts import Facts, Followers, LikesByFollowers, Ratios
from raylike.report.photo_facts import Curve

Row = dict[str, Any]


def rows(facts: Facts) -> dict[str, list[Row]]:
    """Name of a figure -> its rows; the names are those of the drawings."""
    faces, judgement, traits = facts.faces, facts.judgement, facts.traits
    found: dict[str, Iterable[Row]] = {
        "followers": _followers(facts.followers) if facts.followers else (),
        "likes": _likes(facts.likes) if facts.likes else (),
        "ratios": _ratios(facts.ratios) if facts.ratios else (),
        "hours": map(flat, facts.hours),
        "ages": map(flat, facts.ages),
        "models": map(flat, facts.models),
        "sweep": ({"features": s.features, **flat(point)} for s in facts.sweeps for point in s.points),
        "trials": map(flat, facts.trials),
        "differences": map(flat, facts.differences),
        "effects": map(flat, traits.effects if traits else ()),
        "groups": map(flat, traits.groups if traits else ()),
        "roc": _curves(judgement.roc if judgement else ()),
        "precision-recall": _curves(judgement.precision_recall if judgement else ()),
        "calibration": map(flat, judgement.calibration if judgement else ()),
        "times": map(flat, facts.times),
    }
    for number, training in enumerate(facts.trainings):
        found[f"training-{number}"] = map(flat, training.points)
    if faces:
        found["faces"] = (
            {"confidence": at, "photos": n} for at, n in zip(faces.confidences, faces.photos, strict=True)
        )
        found["faces-truth"] = map(flat, faces.judged)
    return {name: listed for name, some in found.items() if (listed := list(some))}


def to_csv(some: list[Row]) -> str:
    """Rows as a CSV file; columns in the order in which they first come."""
    file = io.StringIO()
    writer = csv.DictWriter(
        file, list(dict.fromkeys(name for row in some for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(some)
    return file.getvalue()


def flat(fact: Any, prefix: str = "") -> Row:
    """The fields of a dataclass; one within becomes columns of its own, its value without a suffix."""
    row: Row = {}
    for field in dataclasses.fields(fact):
        value = getattr(fact, field.name)
        name = prefix if field.name == "value" and prefix else f"{prefix}{'_' if prefix else ''}{field.name}"
        if dataclasses.is_dataclass(value):
            row |= flat(value, name)
        elif not isinstance(value, tuple | dict):
            row[name] = value
    return row


def _followers(facts: Followers) -> Iterator[Row]:
    for low, high, before, after in zip(
        facts.edges, facts.edges[1:], facts.before, facts.after, strict=False
    ):
        yield {"followers_from": low, "followers_to": high, "posts_before": before, "posts_after": after}


def _likes(facts: LikesByFollowers) -> Iterator[Row]:
    """Cells that hold posts."""
    for i, (kept, dropped) in enumerate(zip(facts.kept, facts.dropped, strict=True)):
        for j, (n_kept, n_dropped) in enumerate(zip(kept, dropped, strict=True)):
            if n_kept or n_dropped:
                yield {
                    "followers_plus_1_from": facts.follower_edges[i],
                    "likes_plus_1_from": facts.like_edges[j],
                    "posts_kept": n_kept,
                    "posts_dropped": n_dropped,
                }


def _ratios(facts: Ratios) -> Iterator[Row]:
    for low, high, train, test in zip(facts.edges, facts.edges[1:], facts.train, facts.test, strict=False):
        yield {"ratio_from": low, "ratio_to": high, "training_photos": train, "test_photos": test}


def _curves(curves: Iterable[Curve]) -> Iterator[Row]:
    for curve in curves:
        for x, y, low, high in zip(curve.x, curve.y, curve.low, curve.high, strict=True):
            yield {"model": curve.model, "x": x, "y": y, "low": low, "high": high}
