"""Axes and their numbers, alike in all figures. Knows matplotlib. Knows nothing of what is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from raylike.report.svg import WARNING

RANDOM_TITLE = "random features: the network was not trained"
WIDE_PX = 520
"""Width of a figure that has its row for itself."""
FEW_DECADES = 2.5
"""Below this span a logarithmic axis is also labelled at 2 and 5."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short_number(value: float) -> str:
    """1500 -> 1.5k, 2000000 -> 2M; small ones as they are."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def power_of_ten(value: float) -> str:
    """0.001 -> 10⁻³, 0.002 -> 2·10⁻³."""
    if value <= 0:
        return ""
    exponent = math.log10(value)
    floor = math.floor(exponent + 1e-9)
    digit = round(value / 10**floor)
    return ("" if digit == 1 else f"{digit}·") + "10" + str(floor).translate(SUPERSCRIPTS)


def format_ticks(axes: Axes, which: str, text: Callable[[float], str]) -> None:
    """Write the ticks of axis `which`, x or y, by `text`; on a logarithmic one at round numbers alone."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if axis.get_scale() == "log":
        low, high = sorted(axis.get_view_interval())
        few = math.log10(high / low) < FEW_DECADES if low > 0 else False
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())


def say_random(axes: Axes, random_weights: bool) -> None:
    """Title the figure with a warning where the features come from random weights."""
    if random_weights:
        axes.set_title(RANDOM_TITLE, color=WARNING)
