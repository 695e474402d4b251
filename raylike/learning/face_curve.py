"""The cut moved over all confidences: photos kept, and how right that is by photos labelled by eye.

Knows the faces table and a CSV of labels. Knows nothing of detectors, of Ray or of plots.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.errors import InputDataError
from raylike.learning import face_cut
from raylike.vision import detectors
from raylike.workspace import Workspace

STEPS = 20
"""About as many cuts as a curve has."""
NAME_COLUMNS = ("post_id", "file")
LABEL_COLUMNS = ("label", "person", "face")
YES = frozenset({"1", "yes", "true", "person", "face"})
NO = frozenset({"0", "no", "false", "none", "noface"})


@dataclass(frozen=True)
class Share:
    """A share of `n` photos with its 95 % interval (Wilson 1927); None and 0 to 1 where there are none."""

    value: float | None
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class CutPoint:
    """What a cut keeps.

    Attributes
    ----------
    min_confidence : the cut
    kept : photos of the faces table
    chosen : whether it is the cut in force
    precision : of the labelled photos that are kept, those with a person; None without labels
    recall : of the labelled photos with a person, those that are kept; None without labels
    """

    min_confidence: float
    kept: int
    chosen: bool
    precision: Share | None = None
    recall: Share | None = None


@dataclass(frozen=True)
class Curve:
    """Cuts from the lowest to the highest, and what they were judged on.

    Attributes
    ----------
    detector : whose confidences these are
    n_photos, n_labelled : photos of the faces table, and those of them that are labelled
    n_unknown : labels of photos that are not in the faces table
    """

    detector: str
    points: tuple[CutPoint, ...]
    n_photos: int
    n_labelled: int
    n_unknown: int


def curve(workspace: Workspace, settings: FacesSettings) -> Curve:
    """The curve of the faces that a workspace holds, with precision and recall if `settings.truth` is set.

    All other parts of the cut (`min_area_fraction`, `min_faces`, `max_faces`) stay as they are set.

    Raises
    ------
    InputDataError : if no photo was looked at, or the labels cannot be used
    """
    faces = workspace.read("faces", ["post_id", "detector", "n_faces", "faces", "confidence", "status"])
    if not faces.num_rows:
        raise InputDataError("no photo was looked at yet", workspace.uri, "first: raylike faces")
    detector = faces.column("detector")[0].as_py()
    settings = settings.model_copy(update={"detector": detector})
    truth = None if settings.truth is None else read_truth(settings.truth, workspace)
    return trace(faces, settings, truth)


def trace(faces: pa.Table, settings: FacesSettings, truth: Mapping[str, bool] | None = None) -> Curve:
    """The curve of some rows of the faces table; `truth` says of a post whether it shows a person."""
    chosen = detectors.min_confidence(settings)
    labels, labelled = _labels(faces.column("post_id").to_pylist(), truth or {})
    points = []
    for at in cuts(faces.column("confidence").to_numpy(), chosen):
        kept = face_cut.cut(faces, settings.model_copy(update={"min_confidence": at})) == face_cut.KEPT
        right = int((kept & labels).sum())
        points.append(
            CutPoint(
                min_confidence=at,
                kept=int(kept.sum()),
                chosen=at == chosen,
                precision=None if truth is None else share(right, int((kept & labelled).sum())),
                recall=None if truth is None else share(right, int(labels.sum())),
            )
        )
    n_labelled = int(labelled.sum())
    return Curve(settings.detector, tuple(points), faces.num_rows, n_labelled, len(truth or {}) - n_labelled)


def cuts(confidences: NDArray[np.floating], chosen: float) -> list[float]:
    """Round numbers from the faintest face to the surest, and the cut in force among them."""
    known = confidences[np.isfinite(confidences)].astype(np.float64)
    if not known.size:
        return [chosen]
    low, high = float(known.min()), float(known.max())
    step = _round_step((high - low) / STEPS)
    first, last = math.floor(low / step + 1e-6), math.floor(high / step + 1e-6)
    digits = max(0, -math.floor(math.log10(step)))
    return sorted({round(i * step, digits) for i in range(first, last + 1)} | {chosen})


def share(hits: int, n: int) -> Share:
    """`hits` of `n`, with Wilson's interval."""
    from scipy.stats import binomtest

    if not n:
        return Share(None, 0.0, 1.0, 0)
    bounds = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Share(hits / n, float(bounds.low), float(bounds.high), n)


def read_truth(path: Path, workspace: Workspace) -> dict[str, bool]:
    """Read which posts show a person, by post id or by the name of the photo's file.

    The first line names the columns: `post_id` or `file`, and `label`, `person` or `face`; others are
    passed over. A label is 1, yes, true, person or face, or else 0, no, false, none or noface.

    Raises
    ------
    InputDataError : if the file cannot be read, a column is missing, a label is neither, a photo is
        labelled in two ways, or no photo of the workspace is labelled
    """
    labels = _read_csv(path)
    named = workspace.read("posts", ["post_id", "image_url"])
    posts_of: dict[str, list[str]] = {}
    for post_id, url in zip(*(named.column(c).to_pylist() for c in named.column_names), strict=True):
        posts_of.setdefault(PurePosixPath(urlsplit(url).path).name, []).append(post_id)
    known = set(workspace.keys("faces"))
    truth: dict[str, bool] = {}
    for name, shows_person in labels.items():
        # A post id means one photo; a file name may be that of several, each of which it then labels.
        for post_id in [name] if name in known else posts_of.get(name, [name]):
            truth[post_id] = shows_person
    if not known & truth.keys():
        raise InputDataError(
            "labels no photo that was looked at", str(path), "name photos by post_id, or by file name"
        )
    return truth


def _read_csv(path: Path) -> dict[str, bool]:
    """Name -> whether a person is seen."""
    labels: dict[str, bool] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            name = _column(path, columns, NAME_COLUMNS)
            label = _column(path, columns, LABEL_COLUMNS)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                said = (row[label] or "").strip().lower()
                if said not in YES | NO:
                    raise InputDataError(
                        f"{said!r} is no label", where, "write 1 or 0, person or none, face or noface"
                    )
                key = (row[name] or "").strip()
                if labels.setdefault(key, said in YES) is not (said in YES):
                    raise InputDataError(f"{key!r} is labelled in two ways", where, "remove one of the lines")
    except OSError as error:
        raise InputDataError(f"cannot be read: {error.strerror}", str(path)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputDataError(f"is no CSV file: {error}", str(path)) from None
    return labels


def _column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        raise InputDataError(
            f"has no column {' or '.join(wanted)}", str(path), "its first line must name the columns"
        )
    return found


def _labels(
    post_ids: Sequence[str], truth: Mapping[str, bool]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which posts are labelled as a person's, and which are labelled at all; shape (n_posts,) each."""
    labels = np.array([truth.get(post_id, False) for post_id in post_ids], bool)
    return labels, np.array([post_id in truth for post_id in post_ids], bool)


def _round_step(at_least: float) -> float:
    """The next 1, 2 or 5 times a power of ten; 1 for nothing."""
    if at_least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= at_least * (1 - 1e-9))
