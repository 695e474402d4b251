"""`raylike score`: how well photos would do, and why.

Knows how to print results. Knows nothing of how they come about (`raylike/scoring`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options as o
from cli.launch import ELSEWHERE, set_up_logging
from cli.native_output import native_stderr_in
from raylike.errors import CannotWrite, InputDataError

if TYPE_CHECKING:
    from raylike.config import Settings
    from raylike.scoring.results import Box, Influence, PhotoScore, Wanted
    from raylike.scoring.scorer import Scorer
    from raylike.scoring.sources import Source
    from raylike.workspace import Workspace

DETAILED = 20
"""Photos up to which explanations and crops are looked for unasked."""


def score(
    ctx: typer.Context,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Files, folders of photos, http(s) addresses.")
    ],
    workspace: o.WorkspaceOption = o.DEFAULT_WORKSPACE,
    scoring_model: o.ScoringModelOption = None,
    explain: Annotated[
        bool | None,
        typer.Option("--explain/--no-explain", help="What raised and lowered it. [default: up to 20 photos]"),
    ] = None,
    crops: Annotated[
        bool | None,
        typer.Option("--crops/--no-crops", help="Look for the best crop. [default: up to 20 photos]"),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Draw heat map, faces and crop; of several photos, in this folder."),
    ] = None,
    allow_private_addresses: o.PrivateAddressesOption = None,
    config: o.ConfigOption = None,
    assignments: o.SetOption = [],  # noqa: B006  # typer hands over a new list
    as_json: o.JsonOption = False,
    verbose: o.VerboseOption = False,
    debug: o.DebugOption = False,
) -> None:
    """Score photos with the model that a run has trained.

    Example: raylike score holiday.jpg --save heat.png
    """
    from raylike.scoring import running, sources
    from raylike.scoring.results import Wanted
    from raylike.workspace import Workspace

    set_up_logging(verbose=verbose)
    settings = o.resolved(ctx.params).settings
    place = Workspace(workspace)
    with ExitStack() as stack:
        if not verbose:
            stack.enter_context(native_stderr_in(ELSEWHERE))
        scorer, notes = running.open_scorer(place, settings, scoring_model)
        found = sources.expand(photos)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        few = len(found) <= DETAILED
        wanted = Wanted(
            explanation=few or save is not None if explain is None else explain,
            crop=few if crops is None else crops,
        )
        results = _results(stack, found, scorer, place, settings, wanted, scoring_model, save)
        n_scored = _print_json(results, scorer, notes) if as_json else _print(results, scorer, len(found))
    if not n_scored:
        raise InputDataError(f"none of {len(found)} photos could be scored", "", "the reasons are above")


def _results(
    stack: ExitStack,
    found: Sequence[Source],
    scorer: Scorer,
    workspace: Workspace,
    settings: Settings,
    wanted: Wanted,
    model: str | None,
    save: Path | None,
) -> Iterator[PhotoScore]:
    """Results in order: of many photos by Ray, unless pictures are to be drawn."""
    from raylike.scoring import running, sources
    from raylike.serving import many

    if len(found) >= many.MANY and save is None:
        from raylike.cluster import Session

        session = Session(settings.ray.model_copy(update={"address": "local", "dashboard": False}))
        stack.callback(session.stop)
        session.wait()
        make = partial(running.scorer, workspace, settings, model)
        yield from many.score_many(found, make, sources.reader(settings), wanted)
        return
    for number, (result, data) in enumerate(
        running.score_each(found, sources.reader(settings), scorer, wanted), 1
    ):
        if save is not None and isinstance(data, bytes) and result.score is not None:
            _draw(data, result, save if len(found) == 1 else save / _file_name(number, result.photo))
        yield result


def _file_name(number: int, photo: str) -> str:
    return f"{number:04d}-{Path(_printable(photo)).stem[:80].replace('/', '_')}.png"


def _draw(data: bytes, result: PhotoScore, path: Path) -> None:
    from raylike.scoring import picture

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.drawn(data, result))
    except OSError as error:
        raise CannotWrite(
            f"cannot be written: {error.strerror}", str(path), "choose another --save"
        ) from None


def _print_json(results: Iterator[PhotoScore], scorer: Scorer, notes: Sequence[str]) -> int:
    """One object a line; returns how many photos were scored."""
    n_scored = 0
    told = {"model": scorer.model.name, "measured_against": str(scorer.model.standard), "notes": list(notes)}
    for result in results:
        n_scored += result.score is not None
        typer.echo(json.dumps({**result.as_json(), **told}))
    return n_scored


def _print(results: Iterator[PhotoScore], scorer: Scorer, n_photos: int) -> int:
    """For people: a paragraph for one photo, a table for several."""
    if n_photos == 1:
        result = next(results)
        _print_one(result)
        found = [result]
    else:
        found = list(results)
        _print_table(found)
    n_scored = sum(result.score is not None for result in found)
    if n_scored:
        typer.echo(f"by {scorer.model.name}, against {scorer.model.standard}", err=True)
    return n_scored


def _print_one(result: PhotoScore) -> None:
    name = _printable(result.photo)
    if result.percentile is None:
        typer.echo(f"{name}: {result.status}: {result.error}")
        return
    typer.echo(f"{name}: better than {result.percentile:.0f} % of photos from accounts like these")
    typer.echo(f"  probability of being liked  {result.probability:.2f}")
    if result.faces is not None:
        typer.echo(f"  faces       {'; '.join(_box(face.box) for face in result.faces) or 'none'}")
    if result.explanation is not None:
        typer.echo(f"  raised by   {_parts(result.explanation.raised) or 'nothing in particular'}")
        typer.echo(f"  lowered by  {_parts(result.explanation.lowered) or 'nothing in particular'}")
    if result.crop is not None:
        typer.echo(f"  best crop   {_box(result.crop.box)}: better than {result.crop.percentile:.0f} %")


def _print_table(results: Sequence[PhotoScore]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("photo", overflow="fold")
    table.add_column("better than", justify="right", no_wrap=True)
    table.add_column("faces", justify="right")
    detailed = any(result.explanation for result in results)
    cropped = any(result.crop for result in results)
    for title in [*(["raised by", "lowered by"] if detailed else []), *(["best crop"] if cropped else [])]:
        table.add_column(title, overflow="fold")
    for result in results:
        cells = [_printable(result.photo)]
        if result.percentile is None:
            cells += ["-", "", f"{result.status}: {result.error}"][: len(table.columns) - 1]
            if len(table.columns) == 3:
                cells[0] += f" ({result.status}: {result.error})"
        else:
            cells += [f"{result.percentile:.0f} %", "" if result.faces is None else str(len(result.faces))]
            if detailed:
                parts = result.explanation
                cells += ["", ""] if parts is None else [_parts(parts.raised), _parts(parts.lowered)]
            if cropped:
                crop = result.crop
                cells.append("" if crop is None else f"{_box(crop.box)}: {crop.percentile:.0f} %")
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)


def _parts(parts: Sequence[Influence]) -> str:
    return ", ".join(f"{part.where} ({part.points:+.0f})" for part in parts)


def _box(box: Box) -> str:
    return f"{box.width} x {box.height} at {box.x}, {box.y}"


def _printable(name: str) -> str:
    """A name without what could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
