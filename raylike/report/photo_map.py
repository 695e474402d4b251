"""Which photos a network sees as alike: the nearest of each, and all of them on a plane.

Features are first projected onto the principal axes of a sample, a file of the table at a time, so that
memory does not grow with their width. The plane is t-SNE (van der Maaten and Hinton, JMLR 9, 2008); the
same photos and seed give the same map. Knows the features table and arrays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.report.photo_facts import MAP_SIDE
from raylike.workspace import Workspace

AXES = 50
"""Principal axes kept: what t-SNE's authors advise, and enough to tell photos apart."""
SAMPLE = 500
"""Photos that the axes are fitted to."""
PERPLEXITY = 30.0
MIN_PHOTOS = 12
NOISE = 1e-6
"""Of the greatest variance: axes with less are rounding of float32."""
EARLY_ITERATIONS, ITERATIONS = 200, 400
"""Fewer than openTSNE's 250 and 500: beyond, points hardly move."""
MANY = 5000
"""From so many photos on, threads are worth their start."""


def project(
    workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The photos' unmirrored features on `AXES` axes, and which photos have any.

    Parameters
    ----------
    ids : sorted, (n,)

    Returns
    -------
    float32 array of shape (n, at most AXES), 0 where there are none; bool array of shape (n,)
    """
    wanted = np.zeros(ids.size, bool)
    wanted[np.linspace(0, ids.size - 1, min(SAMPLE, ids.size)).astype(int)] = True
    sample = [rows[wanted[places]] for places, rows in read_features(workspace, table, layer, ids)]
    if not sample or not sum(map(len, sample)):
        return np.zeros((ids.size, 0), np.float32), np.zeros(ids.size, bool)
    mean, axes = principal_axes(np.concatenate(sample))
    projected = np.zeros((ids.size, axes.shape[1]), np.float32)
    there = np.zeros(ids.size, bool)
    for places, rows in read_features(workspace, table, layer, ids):
        projected[places] = (rows - mean) @ axes
        there[places] = True
    return projected, there


def principal_axes(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (d,) of rows (n, d), and their first principal axes (d, at most AXES), of length 1.

    By the n x n Gram matrix, which is smaller than d x d. The greatest entry of an axis is positive.
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    variances, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    kept = [k for k in np.argsort(-variances)[:AXES] if variances[k] > NOISE * max(variances.max(), 1e-30)]
    axes = centred.T @ (vectors[:, kept] / np.sqrt(variances[kept])).astype(np.float32)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean, np.asarray(axes * signs, np.float32)


def read_features(
    workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Places in `ids` (sorted) and unmirrored features, a file at a time."""
    if not workspace.exists(table):
        return
    in_force = feature_rows.in_force(workspace, table)
    for file in workspace.files(table):
        found = workspace.read_file(file, ["post_id", "flipped", feature_rows.RECIPE, layer]).filter(in_force)
        posts = np.array(found.column("post_id").to_pylist(), dtype=str)
        places = np.minimum(np.searchsorted(ids, posts), ids.size - 1)
        kept = (ids[places] == posts) & ~found.column("flipped").to_numpy() if posts.size else posts == ""
        features = found.column(layer).combine_chunks().flatten().to_numpy()
        yield places[kept], features.reshape(posts.size, -1)[kept]


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


def nearest(
    rows: NDArray[np.float32], accounts: NDArray[np.str_], query: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of other accounts that are most alike to row `query`, and the cosine of each."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    cosines = rows @ rows[query] / (lengths * lengths[query])
    cosines[accounts == accounts[query]] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:count]
    best = best[np.isfinite(cosines[best])]
    return best, cosines[best].astype(np.float64)
