"""matplotlib figures as inline SVG that takes its colours and its font from the page around it.

Figures are drawn in stand-in colours, which become CSS variables in the SVG's text; so one drawing reads
well in light and in dark mode and in print. As files of their own, figures have the page's light colours.
Text stays text: it is selectable, searchable, follows the page's font and costs a tenth of its outlines.
Figures are made without pyplot, and nothing global stays changed. Knows matplotlib and SVG. Knows nothing
of what is drawn.
"""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass
from html import escape
from typing import Any

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a first run would announce its cache

import matplotlib as mpl  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.artist import Artist  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.colors import to_hex, to_rgb, to_rgba_array  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

INK, MUTED, LINE, SURFACE = "#000001", "#000002", "#000003", "#000004"
BLUE, ORANGE, GREEN, PURPLE, WARNING = "#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5"

CSS_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
    WARNING: "var(--warning)",
}
"""Stand-in -> what the page calls it."""

LIGHT = {
    INK: "#1b1d22",
    MUTED: "#5c616b",
    LINE: "#dfe1e4",
    SURFACE: "#ffffff",
    BLUE: "#2a62a8",
    ORANGE: "#b9560f",
    GREEN: "#23754a",
    PURPLE: "#7a4aa8",
    WARNING: "#8f3d00",
}
"""Stand-in -> the page's colour in light mode (`style.css`)."""

PNG_DPI = 144
COLOURED = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
"""What of an artist has a colour."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "raylike",  # ids from content, so that equal figures are equal bytes
    "font.family": "DejaVu Sans",  # comes with matplotlib; only its widths matter, for the layout
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.8,
    "patch.linewidth": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.labelcolor": INK,
}


LONG_DECIMALS = re.compile(r"(\d+\.\d{2})\d+")
"""Coordinates beyond a hundredth of a px, which nobody sees."""


@dataclass(frozen=True)
class Size:
    """Width and height of a figure in px of the page at its smallest; it grows with its column."""

    width: float = 430
    height: float = 270


class Drawn(str):
    """An `<svg>` element for the page; `figure` is what it was made of."""

    figure: Figure

    def __new__(cls, svg: str, figure: Figure) -> Drawn:
        """The text, with the figure beside it."""
        drawn = super().__new__(cls, svg)
        drawn.figure = figure
        return drawn


class Drawing:
    """A figure to draw in. `with Drawing(...) as d: d.axes[0].plot(...)`, then `d.svg(...)`."""

    def __init__(self, size: Size | None = None, panels: int = 1) -> None:
        size = size or Size()
        self._style = mpl.rc_context(STYLE)
        self._inches = (size.width / 72, size.height / 72)
        self._panels = panels

    def __enter__(self) -> Drawing:
        self._style.__enter__()
        self.figure = Figure(figsize=self._inches, layout="constrained")
        self.figure.patch.set_alpha(0)
        rows = self.figure.subplots(self._panels, 1, sharex=True, squeeze=False)
        self.axes: list[Axes] = list(rows[:, 0])
        for axes in self.axes:
            axes.patch.set_alpha(0)
        return self

    def __exit__(self, *exception: object) -> None:
        self._style.__exit__(None, None, None)

    def svg(self, name: str, description: str) -> Drawn:
        """The finished figure as an `<svg>` element, which knows the figure it was made of.

        Parameters
        ----------
        name : unique on the page; begins every id in the figure
        description : what a reader who cannot see the figure is told
        """
        file = io.StringIO()
        self.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return Drawn(_for_page(file.getvalue(), name, description), self.figure)


def standalone(svg: str) -> str:
    """A figure of the page as an SVG file: light colours on white, a font that machines have."""
    for stand_in, variable in CSS_COLOURS.items():
        svg = svg.replace(variable, LIGHT[stand_in])
    style = ' xmlns="http://www.w3.org/2000/svg" style="background:#fff" font-family="sans-serif"'
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace("<svg", f"<svg{style}", 1) + "\n"


def png(figure: Figure) -> bytes:
    """A finished figure as a PNG file in light colours on white; the figure keeps these colours."""
    real = {stand_in: np.array(to_rgb(colour)) for stand_in, colour in LIGHT.items()}
    with mpl.rc_context(STYLE):
        for artist in figure.findobj():
            _recolour(artist, real)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=PNG_DPI, facecolor="#ffffff", metadata={"Software": None})
    return file.getvalue()


def _recolour(artist: Artist, real: dict[str, Any]) -> None:
    """Give an artist the real colours for stand-ins; opacities stay."""
    for name in COLOURED:
        read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
        if read is None or write is None or (isinstance(found := read(), str) and found in ("none", "auto")):
            continue
        rgba = to_rgba_array(found)
        hexes = [to_hex(one[:3]) for one in rgba]
        if any(one in real for one in hexes):
            for one, stand_in in zip(rgba, hexes, strict=True):
                one[:3] = real.get(stand_in, one[:3])
            write(tuple(rgba[0]) if len(rgba) == 1 else rgba)


def _for_page(text: str, name: str, description: str) -> str:
    """Strip what only a file needs, make ids unique, and hand colours and font to CSS."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r'="[^"]*"', lambda attribute: LONG_DECIMALS.sub(r"\1", attribute[0]), text)
    for colour, css in CSS_COLOURS.items():
        text = text.replace(colour, css)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None
    opening = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view_box[0]} role="img" '
        f'aria-label="{escape(description)}">'
    )
    return (opening + text[text.index(">") + 1 :]).strip()
