"""The page: `Facts`, plots and thumbnails become one HTML file that needs nothing else.

No font and no picture comes from elsewhere, and the page's own policy forbids browsers to fetch any, and to
run any script but the page's own, which it names by its hash. Everything that people wrote (captions, ids)
is escaped by the template engine. Knows templates. Knows no tables.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from raylike.report.facts import FEW_ACCOUNTS, FEW_PHOTOS, Estimate, Facts, RankedPhoto
from raylike.report.photo_facts import PhotoMap
from raylike.report.photo_plots import ATTRIBUTES
from raylike.stage_names import STAGES

TEMPLATES = Path(__file__).parent / "templates"
NOT_KNOWN = "–"


def render(
    facts: Facts,
    plots: Mapping[str, str],
    thumbnails: Mapping[int, str],
    sheet: str | None = None,
    *,
    figures_written: bool = True,
) -> str:
    """The whole page.

    Parameters
    ----------
    plots : name -> SVG element, trusted
    thumbnails : number of a picture -> data URI
    sheet : data URI of the map's tiles
    figures_written : whether the plots lie beside the page as files
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": count,
        "share": share,
        "figure": figure,
        "interval": interval,
        "significant": significant,
        "seconds": seconds,
        "alt": alt_text,
        "points": points,
        "signed": signed,
        "megabytes": megabytes,
    }
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return environment.get_template("index.html.j2").render(
        facts=facts,
        plots={name: Markup(svg) for name, svg in plots.items()},
        thumbnails=thumbnails,
        sheet=sheet,
        figures_written=figures_written,
        attribute_words=ATTRIBUTES,
        few=(FEW_PHOTOS, FEW_ACCOUNTS),
        map_data=Markup(_map_data(facts.photo_map)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        stages=STAGES,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )


def _map_data(photo_map: PhotoMap | None) -> str:
    """The map as JSON for the page's script; nothing in it can end the element."""
    if photo_map is None:
        return "null"
    return json.dumps(dataclasses.asdict(photo_map), separators=(",", ":")).replace("<", "\\u003c")


def points(value: float) -> str:
    """Percentile points with their sign: +3.4, −1.2."""
    return f"{value:+.1f}".replace("-", "\u2212")


def signed(value: float) -> str:
    """A change with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "\u2212")


def megabytes(value: int | None) -> str:
    """1234567 -> 1.2 MB."""
    return NOT_KNOWN if value is None else f"{value / 1e6:.1f}\u00a0MB"


def count(value: float | None) -> str:
    """1234 -> 1,234."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{value:,.0f}"


def share(value: float | None) -> str:
    """0.123 -> 12.3 %, with a space that does not break."""
    return NOT_KNOWN if value is None else f"{100 * value:.1f}\u00a0%"


def figure(value: float | None) -> str:
    """A score between 0 and 1 with three decimals."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval(value: Estimate) -> str:
    """The bounds of an estimate."""
    return f"{value.low:.3f}\u2013{value.high:.3f}"


def significant(value: float | None, digits: int = 3) -> str:
    """A number of any size with a few significant digits; large ones in full: 12,345."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def seconds(value: float) -> str:
    """75.3 -> 1 min 15 s; below a minute with a decimal."""
    return f"{value:.1f}\u00a0s" if value < 60 else f"{value // 60:.0f}\u00a0min {value % 60:.0f}\u00a0s"


def alt_text(photo: RankedPhoto, n_photos: int) -> str:
    """What a reader who cannot see the photo is told of it."""
    truth = {True: "liked above the median", False: "liked below the median", None: "label not known"}[
        photo.good
    ]
    parts = [f"Rank {photo.rank} of {n_photos}, probability {photo.probability:.2f}; in truth {truth}"]
    if photo.likes is not None and photo.followers is not None:
        parts.append(f"{photo.likes:,} likes, {photo.followers:,} followers")
    if photo.caption:
        parts.append(f"caption: {photo.caption}")
    return "; ".join(parts) + "."
