"""The cut on stored detections: which photos show a person.

Detectors propose faces with a confidence and all are kept in the faces table, so the cut can be moved
without looking at a photo again. Knows the faces table's columns. Of detectors, knows only that each
has a default cut.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raylike.config import FacesSettings
from raylike.vision import detectors

KEPT = ""
UNDECODABLE = "undecodable"
NO_FACE = "no face"
BELOW_CUT = "no face above the cut"
TOO_FEW = "too few faces"
TOO_MANY = "too many faces"


def count_faces(faces: pa.Table, settings: FacesSettings) -> NDArray[np.int64]:
    """Faces of each photo that count: confident and large enough; shape (rows of `faces`,)."""
    lists = faces.column("faces").combine_chunks()
    boxes = pc.list_flatten(lists)
    owner = pc.list_parent_indices(lists).to_numpy()
    confidence = pc.struct_field(boxes, "confidence").to_numpy(zero_copy_only=False)
    area = pc.struct_field(boxes, "area_fraction").to_numpy(zero_copy_only=False)
    counts = (confidence >= detectors.min_confidence(settings)) & (area >= settings.min_area_fraction)
    return np.bincount(owner[counts], minlength=faces.num_rows)


def cut(faces: pa.Table, settings: FacesSettings) -> NDArray[np.str_]:
    """Why each photo of the faces table is left out, "" if it stays; shape (rows,)."""
    proposed = faces.column("n_faces").to_numpy()
    counted = count_faces(faces, settings)
    undecodable = pc.not_equal(faces.column("status"), "ok").to_numpy()
    most = np.inf if settings.max_faces is None else settings.max_faces
    return np.select(
        [undecodable, proposed == 0, counted == 0, counted < settings.min_faces, counted > most],
        [UNDECODABLE, NO_FACE, BELOW_CUT, TOO_FEW, TOO_MANY],
        KEPT,
    )
