"""What the model looks at: both ends of the ranking with patches covered, and other parts of them cut.

Scored by the model that the workspace keeps, the best linear one. Knows photos and that model. Knows nothing
of HTML.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from raylike import photo_stream
from raylike.config import Settings
from raylike.errors import RaylikeError
from raylike.report.facts import Gallery
from raylike.report.photo_facts import Occlusion, Occlusions
from raylike.vision import crops, occlusion
from raylike.workspace import Workspace


def explain(workspace: Workspace, settings: Settings, gallery: Gallery | None) -> Occlusions | None:
    """Cover patches of the first photos of both ends; None where model or network is not to be had."""
    count = settings.report.explained
    if gallery is None or not count:
        return None
    from raylike.scoring import models  # here: it brings torch

    try:
        model = models.opened(workspace)
    except RaylikeError:
        return None
    framing, unit = model.framing, float(model.standard.held_out.std()) or 1.0
    shown = {photo.rank: photo.picture for photo in gallery.best[:count] + gallery.worst[:count]}
    files = _files(workspace, [number for number in shown.values() if number is not None])
    found = []
    for rank, number in sorted(shown.items()):
        square = None
        if number in files:
            square = crops.preprocess(files[number], framing.square_px, framing.input_px)
        if square is not None:
            found.append(_occlusion(rank, number, square, lambda some: model.score(some) / unit))
    margin = (1 - framing.input_px / framing.square_px) / 2
    return Occlusions(model.name, margin, tuple(found))


def _files(workspace: Workspace, numbers: Collection[int]) -> dict[int, bytes]:
    """The photos' files by number."""
    posts = sorted(workspace.keys("labels"))
    wanted = {posts[number]: number for number in numbers}
    read = photo_stream.read(workspace, photo_stream.plan(workspace, wanted))
    return {wanted[post]: photo for post, photo in read}


def _occlusion(rank: int, number: int | None, square: NDArray[np.uint8], score: occlusion.Score) -> Occlusion:
    patches, parts = occlusion.changes(score, square)
    return Occlusion(
        picture=number,
        rank=rank,
        change=tuple(tuple(row) for row in patches.round(4).tolist()),
        crops={name: round(change, 4) for name, change in parts.items()},
    )
