"""Stage features: what a backbone makes of every labelled photo, plain and mirrored.

Photos stream through Ray Data past model processes. A process decodes, computes and writes Parquet
parts itself: 64 kB of features a photo never travel, only each part's entry comes back to be
committed.

A photo is computed once. Each row says which file (`sha256`) by which recipe (`Backbone.recipe`) it was
computed from; rows stay when their post is no longer labelled and when the recipe changes, and count
again when either comes back (`feature_rows.py`). A post whose very file was computed for another post
gets a copy of that row. Only rows of a post whose file has become another one are taken out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actors.metrics import StageMetrics
from raylike import cluster, feature_rows, photo_stream, tables
from raylike.commits import Commit, Part
from raylike.config import FeaturesSettings
from raylike.stage import StageContext, StageReport
from raylike.workspace import Workspace

if TYPE_CHECKING:
    import ray

    from raylike.vision.backbones import Backbone, Precision

UNITS_PER_PART = 4
"""Row groups of photos that become one Parquet part at most: 16 MiB of AlexNet's layers, both ways round."""


@dataclass(frozen=True)
class Job:
    """What a model process is told besides the network's weights."""

    table: str
    weights: str
    recipe: str
    precision: Precision
    settings: FeaturesSettings


@dataclass(frozen=True)
class Photo:
    """A decoded photo: whose, the hash of its file, and uint8 pixels (side, side, 3), RGB."""

    post_id: str
    sha256: str
    crop: NDArray[np.uint8]


class ExtractFeatures:
    """A backbone in a process of its own: photos in, entries of written Parquet parts out."""

    def __init__(
        self, backbone_ref: ray.ObjectRef[Backbone], pool: cluster.Pool, workspace: Workspace, job: Job
    ) -> None:
        import ray
        import torch

        from raylike.vision import decode, networks

        decode.use_threads(1)
        torch.set_num_threads(pool.threads)
        backbone = ray.get(backbone_ref)
        self._device = torch.device("cuda" if pool.num_gpus else "cpu")
        self._extract = networks.extractor(backbone, job.precision).to(self._device)
        self._layers, self._framing = backbone.layers, backbone.framing
        self._workspace = workspace
        self._job = job
        self._orientations = (False, True) if job.settings.mirrored else (False,)
        # With a GPU, threads decode ahead of it. Without one they would only share the model's processor.
        self._decoders = ThreadPoolExecutor(pool.threads) if pool.num_gpus else None
        self._metrics = StageMetrics("features")

    def __call__(self, turn: pa.Table) -> pa.Table:
        """Compute and write the features of the photos of some units (`photo_stream.in_turns`)."""
        seen = Counter[bool]()
        rows: dict[bool, list[pa.Table]] = {flipped: [] for flipped in self._orientations}
        units = [unit for row in turn.to_pylist() for unit in row["units"]]
        photos = self._decoded(units, seen)
        while batch := list(islice(photos, self._job.settings.batch_size)):
            crops = np.stack([photo.crop for photo in batch])
            for flipped in self._orientations:
                rows[flipped].append(self._rows(batch, crops, flipped))
        self._metrics.done(seen[True])
        self._metrics.failed("undecodable", seen[False])
        part = Part("", 0, 0)
        if seen[True]:
            tables = [table for flipped in self._orientations for table in rows[flipped]]
            part = self._workspace.write_part(self._job.table, pa.concat_tables(tables))
        return pa.table(
            {
                "path": [part.path],
                "byte_size": [part.byte_size],
                "rows": [part.rows],
                "photos": [seen[True]],
                "undecodable": [seen[False]],
            }
        )

    def _decoded(self, units: list[photo_stream.Unit], seen: Counter[bool]) -> Iterator[Photo]:
        """The photos that can be decoded; `seen` counts those that can, and those that cannot."""
        files = photo_stream.read(self._workspace, units)
        look = map if self._decoders is None else self._decoders.map
        for photo in look(self._look, files):
            seen[photo is not None] += 1
            if photo is not None:
                yield photo

    def _look(self, post: tuple[str, bytes]) -> Photo | None:
        from raylike.vision.crops import preprocess

        post_id, file = post
        crop = preprocess(file, self._framing.square_px, self._framing.input_px)
        return None if crop is None else Photo(post_id, hashlib.sha256(file).hexdigest(), crop)

    def _rows(self, batch: list[Photo], crops_NHWC: NDArray[np.uint8], flipped: bool) -> pa.Table:
        import torch

        crops = torch.from_numpy(crops_NHWC).to(self._device)
        with torch.inference_mode():
            layers = self._extract(crops.flip(2) if flipped else crops)
        n = len(batch)
        columns = {
            layer: _fixed_size_lists(values.cpu().numpy())
            for layer, values in zip(self._layers, layers, strict=True)
        }
        return pa.table(
            {
                "post_id": [photo.post_id for photo in batch],
                "flipped": [flipped] * n,
                "weights": [self._job.weights] * n,
                "sha256": [photo.sha256 for photo in batch],
                "recipe": [self._job.recipe] * n,
                **columns,
            }
        )


def run(context: StageContext) -> StageReport:
    """Compute the features of the labelled photos that have none yet.

    Raises
    ------
    ConfigError : for a network, layer or file that there is not, a GPU that is not there
    InputDataError : for a file that holds another network, or code
    ServiceUnavailable : if trained weights cannot be had
    """
    from raylike.vision import backbones, loading

    workspace, settings = context.workspace, context.settings.features
    backbone = loading.load(
        settings.backbone,
        settings.weights,
        context.settings.seed,
        settings.allow_random,
        settings.weights_file,
        settings.layers,
    )
    notes = (backbone.note,) if backbone.note else ()
    gpu = cluster.gpus(context.settings.device) > 0
    precision = backbones.precision(settings.precision, gpu=gpu)
    recipe = backbone.recipe(precision)
    table = tables.features_name(settings.backbone, settings.layers)
    commit = context.commit.partial(
        {
            feature_rows.WEIGHTS: backbone.weights,
            feature_rows.RECIPE: recipe,
            feature_rows.MIRRORED: settings.mirrored,
        }
    )
    _put_in_force(workspace, table, backbone, commit)

    files = _files(workspace)
    known = _computed(workspace, table, settings.mirrored)
    outdated = {
        post
        for post, file in _computed(workspace, table).items()
        if post in files and (context.forced or post not in known or files[post] not in (None, file))
    }
    _take_out(workspace, table, outdated, commit)
    known = {post: file for post, file in known.items() if post not in outdated}
    todo, copies = _plan(files, known)
    context.progress.expect(len(todo) + len(copies), "photos")
    undecodable = 0
    if todo:
        job = Job(table, backbone.weights, recipe, precision, settings)
        entries = _extract(context, backbone, job, todo)
        del backbone  # 230 MiB, of which the workers will have a copy
        for entry in entries:
            if entry["rows"]:
                part = Part(entry["path"], entry["byte_size"], entry["rows"])
                workspace.commit_parts(table, [part], commit)
            undecodable += entry["undecodable"]
            context.progress.advance(entry["photos"])
    if copies:
        copied = _copy(workspace, table, copies, commit)
        undecodable += len(copies) - copied  # what they are copies of could not be decoded either
        context.progress.advance(copied)
    workspace.seal(table, context.commit.with_state(commit.state))
    return StageReport(
        rows_in=len(files),
        rows_out=len(files.keys() & _computed(workspace, table).keys()),
        failed={"undecodable": undecodable} if undecodable else {},
        notes=notes,
    )


def _put_in_force(workspace: Workspace, table: str, backbone: Backbone, commit: Commit) -> None:
    """Make the table if need be, and let the rows of the commit's recipe count from now on."""
    from raylike.vision import networks

    known = tables.FEATURE_LAYERS.get(backbone.name, {})
    layers = known if set(backbone.layers) == set(known) else networks.widths(backbone)
    workspace.make(tables.features(table, layers), commit)
    last = workspace.last_commit(table)
    changed = last is None or {**last.state, **commit.state} != last.state
    workspace.seal(table, commit, other_rows=changed)


def _files(workspace: Workspace) -> dict[str, str | None]:
    """The hash of each labelled post's photo; None where it was not kept, or there is no photo."""
    images = workspace.read("images", ["post_id", "sha256"])
    hashes = dict(zip(images["post_id"].to_pylist(), images["sha256"].to_pylist(), strict=True))
    return {post: hashes.get(post) for post in workspace.keys("labels")}


def _computed(workspace: Workspace, table: str, flipped: bool = False) -> dict[str, str]:
    """The hash of the photo behind each post's rows, of those that count in an orientation.

    No row is mirrored alone: where there are mirrored ones, a part holds both.
    """
    one_a_post = feature_rows.in_force(workspace, table) & (pc.field("flipped") == flipped)
    rows = workspace.read(table, ["post_id", "sha256"], where=one_a_post)
    return dict(zip(rows["post_id"].to_pylist(), rows["sha256"].to_pylist(), strict=True))


def _plan(files: Mapping[str, str | None], known: Mapping[str, str]) -> tuple[set[str], dict[str, str]]:
    """The posts to compute, and those whose file is another post's too: post -> that other."""
    first: dict[str | None, str] = {file: post for post, file in known.items()}
    todo, copies = set(), {}
    for post in sorted(files.keys() - known.keys()):
        file = files[post]
        if file is not None and file in first:
            copies[post] = first[file]
        else:
            todo.add(post)
            first[file] = post
    return todo, copies


def _take_out(workspace: Workspace, table: str, posts: set[str], commit: Commit) -> None:
    """Take the rows that count of some posts out of the table, a file at a time."""
    gone = feature_rows.in_force(workspace, table) & pc.field("post_id").isin(list(posts))
    for file in _with_rows(workspace, table, gone) if posts else ():
        rest = workspace.read_file(file).filter(~gone)
        parts = [workspace.write_part(table, rest)] if rest.num_rows else []
        workspace.commit_parts(table, parts, commit, without=[file], other_rows=True)


def _copy(workspace: Workspace, table: str, copies: Mapping[str, str], commit: Commit) -> int:
    """Give posts the rows of those with the same file, a file of rows at a time; how many posts got them."""
    wanted: dict[str, list[str]] = {}
    for post, source in copies.items():
        wanted.setdefault(source, []).append(post)
    counts = feature_rows.in_force(workspace, table) & pc.field("post_id").isin(list(wanted))
    copied: set[str] = set()
    for file in _with_rows(workspace, table, counts):
        rows = workspace.read_file(file).filter(counts)
        pairs = [(i, post) for i, key in enumerate(rows["post_id"].to_pylist()) for post in wanted[key]]
        posts = [post for _, post in pairs]
        taken = rows.take([i for i, _ in pairs])
        taken = taken.set_column(taken.schema.get_field_index("post_id"), "post_id", pa.array(posts))
        workspace.commit_parts(table, [workspace.write_part(table, taken)], commit)
        copied.update(posts)
    return len(copied)


def _with_rows(workspace: Workspace, table: str, condition: pc.Expression) -> list[str]:
    """The table's files that hold rows of which a condition on the key is true."""
    return [
        file
        for file in workspace.files(table)
        if workspace.read_file(file, ["post_id", "flipped", "recipe"]).filter(condition).num_rows
    ]


def _extract(
    context: StageContext, backbone: Backbone, job: Job, todo: set[str]
) -> Iterator[Mapping[str, Any]]:
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
        node_cpus=cluster.node_cpus(),
    )
    where = "GPU" if pool.num_gpus else f"{pool.threads} threads"
    context.progress.note(
        f"features: {pool.size} x {backbone.name} on {where}, {job.precision}, {backbone.weights} weights"
    )
    reference = ray.put(backbone)
    del backbone
    turns = photo_stream.in_turns(
        context.workspace, todo, "photos -> features", pool.size, UNITS_PER_PART
    ).map_batches(
        ExtractFeatures,
        fn_constructor_args=(reference, pool, context.workspace, job),
        batch_format="pyarrow",
        batch_size=None,
        compute=ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
    )
    # Without prefetching: it hands over an entry only when the next one is there.
    for entries in turns.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
        yield from entries.to_pylist()


def _fixed_size_lists(values: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
