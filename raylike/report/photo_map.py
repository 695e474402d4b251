"""All photos on a plane, those close together that a network sees as alike.

The plane is t-SNE (van der Maaten and Hinton, JMLR 9, 2008); the same photos and seed give the same map.
Knows arrays.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from raylike.report.photo_facts import MAP_SIDE

PERPLEXITY = 30.0
MIN_PHOTOS = 12
EARLY_ITERATIONS, ITERATIONS = 200, 400
"""Fewer than openTSNE's 250 and 500: beyond, points hardly move."""
MANY = 5000
"""From so many photos on, threads are worth their start."""


def lay_out(rows: NDArray[np.float32], seed: int) -> tuple[NDArray[np.int64], float] | None:
    """Places (n, 2) on the plane, 0 to MAP_SIDE each way, for rows (n, d); and the perplexity taken.

    None for fewer than MIN_PHOTOS rows, which have no neighbourhoods to speak of.
    """
    if len(rows) < MIN_PHOTOS or rows.shape[1] < 2:
        return None
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    places = _embed(rows, perplexity, seed)
    places -= places.min(axis=0)
    return np.rint(places * (MAP_SIDE / places.max())).astype(np.int64), perplexity


def _embed(rows: NDArray[np.float32], perplexity: float, seed: int) -> NDArray[np.float64]:
    """t-SNE of rows, (n, 2): by openTSNE; where it has no wheel by scikit-learn, which is slower."""
    try:
        import openTSNE  # here: it takes a second
    except ImportError:
        from sklearn import manifold

        slower = manifold.TSNE(perplexity=perplexity, random_state=seed)
        return np.asarray(slower.fit_transform(rows), np.float64)
    tsne = openTSNE.TSNE(
        perplexity=perplexity,
        early_exaggeration_iter=EARLY_ITERATIONS,
        n_iter=ITERATIONS,
        neighbors="exact" if len(rows) < MANY else "annoy",
        n_jobs=1 if len(rows) < MANY else os.cpu_count() or 1,
        random_state=seed,
    )
    return np.asarray(tsne.fit(rows), np.float64)
