"""`raylike faces --curve`: what each cut would keep, from stored detections.

Knows how to print a curve. Looks at no photo.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from cli.options import resolved

if TYPE_CHECKING:
    from raylike.learning.face_curve import Share


def show_curve(params: Mapping[str, Any]) -> None:
    """Print photos kept at each cut and, with labels, precision and recall.

    Raises
    ------
    InputDataError : if no photo was looked at, or the labels cannot be used
    """
    from raylike.learning.face_curve import curve
    from raylike.workspace import Workspace

    found = curve(Workspace(params["workspace"]), resolved(params).settings.faces)
    if params["as_json"]:
        typer.echo(json.dumps(dataclasses.asdict(found)))
        return
    judged = found.points[0].precision is not None
    typer.echo(f"{found.n_photos:,} photos, by {found.detector}; * is the cut in force", err=True)
    if judged:
        unknown = f"; {found.n_unknown:,} labels of photos not looked at" if found.n_unknown else ""
        typer.echo(f"{found.n_labelled:,} of them labelled, 95 % intervals{unknown}", err=True)
    heads = f"  {'precision':<21}  {'recall':<21}".rstrip() if judged else ""
    typer.echo(f"{'confidence':>10}  {'kept':>9}{heads}")
    for point in found.points:
        mark = "*" if point.chosen else " "
        shares = [_text(share) for share in (point.precision, point.recall) if share is not None]
        line = f"{point.min_confidence:>10g}{mark} {point.kept:>9,}"
        typer.echo("  ".join([line, *(f"{text:<21}" for text in shares)]).rstrip())


def _text(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})"


def check_options(params: Mapping[str, Any]) -> None:
    """Refuse labels that nothing would be compared with."""
    if params.get("truth") is not None and not params["curve"]:
        raise typer.BadParameter("needs --curve", param_hint="--truth")
