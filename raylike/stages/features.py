"""Stage features: what a backbone makes of every labelled photo, plain and mirrored.

Photos stream through Ray Data past model processes. A process decodes, computes and writes Parquet
parts itself: 64 kB of features a photo never travel, only each part's entry comes back to be
committed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.metrics import StageMetrics
from raylike import cluster, photo_stream, tables
from raylike.config import FeaturesSettings
from raylike.stage import StageContext, StageReport
from raylike.workspace import Part, Workspace

if TYPE_CHECKING:
    import ray.data

    from raylike.vision.backbones import Backbone

UNITS_PER_PART = 4
"""Row groups of photos that become one Parquet part: 16 MiB of AlexNet's two layers, both ways round."""

PHOTOS_PER_TURN = 64
"""With few photos, parts are smaller, so that all processes end together."""


class ExtractFeatures:
    """A backbone in a process of its own: photos in, entries of written Parquet parts out."""

    def __init__(
        self,
        backbone_ref: ray.ObjectRef[Backbone],
        pool: cluster.Pool,
        workspace: Workspace,
        settings: FeaturesSettings,
    ) -> None:
        import ray
        import torch

        from raylike.vision import decode
        from raylike.vision.networks import FeatureExtractor

        decode.use_threads(1)
        torch.set_num_threads(pool.threads)
        backbone = ray.get(backbone_ref)
        self._device = torch.device("cuda" if pool.num_gpus else "cpu")
        self._extract = FeatureExtractor(backbone).to(self._device).eval()
        self._weights = backbone.weights
        self._table = f"features/{backbone.name}"
        self._workspace = workspace
        self._orientations = (False, True) if settings.mirrored else (False,)
        self._batch_size = settings.batch_size
        self._metrics = StageMetrics("features")

    def __call__(self, units: pa.Table) -> pa.Table:
        """Compute and write the features of the photos of some units."""
        parts = []
        ids, crops, undecodable = self._crops(units)
        for flipped in self._orientations:
            parts += [self._rows(ids, crops, flipped)] if ids else []
        self._metrics.done(len(ids))
        self._metrics.failed("undecodable", undecodable)
        part = self._workspace.write_part(self._table, pa.concat_tables(parts)) if parts else Part("", 0, 0)
        return pa.table(
            {
                "path": [part.path],
                "byte_size": [part.byte_size],
                "rows": [part.rows],
                "photos": [len(ids)],
                "undecodable": [undecodable],
            }
        )

    def _crops(self, units: pa.Table) -> tuple[list[str], NDArray[np.uint8], int]:
        """Ids and uint8 crops of shape (n, height, width, 3) of photos, and how many cannot be decoded."""
        from raylike.vision.crops import preprocess

        ids, crops, undecodable = [], [], 0
        for post_id, photo in photo_stream.read(self._workspace, units.to_pylist()):
            crop = preprocess(photo)
            if crop is None:
                undecodable += 1
                continue
            ids.append(post_id)
            crops.append(crop)
        return ids, np.stack(crops) if crops else np.empty((0, 0, 0, 3), np.uint8), undecodable

    def _rows(self, ids: list[str], crops_NHWC: NDArray[np.uint8], flipped: bool) -> pa.Table:
        import torch

        batches = []
        for start in range(0, len(ids), self._batch_size):
            crops = torch.from_numpy(crops_NHWC[start : start + self._batch_size]).to(self._device)
            with torch.inference_mode():
                layers = self._extract(crops.flip(2) if flipped else crops)
            batches.append([layer.float().cpu().numpy() for layer in layers])
        columns = {
            layer: _fixed_size_lists(np.concatenate(values))
            for layer, values in zip(
                tables.FEATURE_LAYERS["alexnet"], zip(*batches, strict=True), strict=True
            )
        }
        n = len(ids)
        return pa.table({"post_id": ids, "flipped": [flipped] * n, "weights": [self._weights] * n, **columns})


def run(context: StageContext) -> StageReport:
    """Compute the features of the labelled photos that have none yet."""
    from raylike.vision import backbones

    workspace, settings = context.workspace, context.settings.features
    backbone = backbones.load(
        settings.backbone, settings.weights, context.settings.seed, settings.allow_random
    )
    table = f"features/{backbone.name}"
    wanted = workspace.keys("labels")
    state = {"weights": backbone.weights}
    last = workspace.last_commit(table)
    same_weights = last is not None and dict(last.state) == state
    done = workspace.keys(table) if context.resume and same_weights else set()
    if not done:
        workspace.write(table, tables.features(backbone.name).empty(), context.commit.partial(state))
    todo = wanted - done
    context.progress.expect(len(todo), "photos")
    undecodable: Counter[str] = Counter()
    if todo:
        for entry in _extract(context, backbone, todo).iter_rows():
            if entry["rows"]:
                part = Part(entry["path"], entry["byte_size"], entry["rows"])
                workspace.commit_parts(table, [part], context.commit.partial(state))
            undecodable["undecodable"] += entry["undecodable"]
            context.progress.advance(entry["photos"])
    workspace.seal(table, context.commit.with_state(state))
    return StageReport(
        rows_in=len(wanted),
        rows_out=len(wanted & workspace.keys(table)),
        failed={reason: count for reason, count in undecodable.items() if count},
        notes=(backbone.note,) if backbone.note else (),
    )


def _extract(context: StageContext, backbone: Backbone, todo: set[str]) -> ray.data.Dataset:
    """Entries of Parquet parts as they are written, in no particular order."""
    import ray
    from ray.data import ActorPoolStrategy

    settings = context.settings.features
    pool = cluster.plan_pool(
        cluster.cpus(),
        cluster.gpus(context.settings.device),
        n_items=len(todo),
        wanted=settings.actors,
        per_actor=256,
    )
    where = "GPU" if pool.num_gpus else f"{pool.threads} threads"
    context.progress.note(f"features: {pool.size} x {backbone.name} on {where}, {backbone.weights} weights")
    return photo_stream.units(context.workspace, todo, "photos -> features").map_batches(
        ExtractFeatures,
        fn_constructor_args=(ray.put(backbone), pool, context.workspace, settings),
        batch_format="pyarrow",
        batch_size=max(1, min(UNITS_PER_PART, len(todo) // (PHOTOS_PER_TURN * pool.size))),
        compute=ActorPoolStrategy(size=pool.size),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
    )


def _fixed_size_lists(values: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
