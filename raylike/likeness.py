"""Which photos a network sees as alike: its features on a few axes, and the cosine between them.

Features are projected onto the principal axes of a sample, a file of the table at a time, so that memory does
not grow with their width. Knows the features table and arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raylike import feature_rows
from raylike.workspace import Workspace

AXES = 50
"""Principal axes kept: what t-SNE's authors advise, and enough to tell photos apart."""
SAMPLE = 500
"""Photos that the axes are fitted to."""
NOISE = 1e-6
"""Of the greatest variance: axes with less are rounding of float32."""


@dataclass(frozen=True)
class Projected:
    """Photos on axes.

    Attributes
    ----------
    rows : float32 array of shape (n, at most AXES), 0 where a photo has no features
    there : which have any, (n,)
    mean, axes : what was taken off, (d,), and the axes, (d, at most AXES)
    """

    rows: NDArray[np.float32]
    there: NDArray[np.bool_]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def place(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (n, d) of other photos on the same axes."""
        return np.asarray((features - self.mean) @ self.axes, np.float32)


def project(workspace: Workspace, table: str, layer: str, ids: NDArray[np.str_]) -> Projected:
    """The photos' unmirrored features on `AXES` axes.

    Parameters
    ----------
    ids : sorted, (n,)
    """
    wanted = np.zeros(ids.size, bool)
    wanted[np.linspace(0, ids.size - 1, min(SAMPLE, ids.size)).astype(int)] = True
    sample = [rows[wanted[places]] for places, rows in read_features(workspace, table, layer, ids)]
    there = np.zeros(ids.size, bool)
    if not sample or not sum(map(len, sample)):
        none = np.zeros((0, 0), np.float32)
        return Projected(np.zeros((ids.size, 0), np.float32), there, none.ravel(), none)
    mean, axes = principal_axes(np.concatenate(sample))
    found = Projected(np.zeros((ids.size, axes.shape[1]), np.float32), there, mean, axes)
    for places, rows in read_features(workspace, table, layer, ids):
        found.rows[places] = found.place(rows)
        there[places] = True
    return found


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


def most_alike(
    rows: NDArray[np.float32], query: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows (n, d) of greatest cosine with `query` (d,), and these cosines, greatest first."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    cosines = rows @ query / (lengths * max(float(np.linalg.norm(query)), 1e-12))
    best = np.argsort(-cosines, kind="stable")[:count]
    return best, cosines[best].astype(np.float64)


def nearest(
    rows: NDArray[np.float32], accounts: NDArray[np.str_], query: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of other accounts that are most alike to row `query`, and the cosine of each."""
    others = np.flatnonzero(accounts != accounts[query])
    best, cosines = most_alike(rows[others], rows[query], count)
    return others[best], cosines
