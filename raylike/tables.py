"""The name, key, columns and units of every table in a workspace.

Stages meet in these tables and nowhere else. Knows Arrow schemas. Knows nothing of where tables lie
(`workspace.py`) or of who writes them (`pipeline.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class TableSpec:
    """One table: what a row is, which columns name it, what the columns hold.

    At most `group_rows` rows lie together in the Parquet files that workers write, and can be read alone;
    fewer where they would be more than `group_bytes`, since a group is what one process takes at a time.
    """

    name: str
    row: str
    key: tuple[str, ...]
    schema: pa.Schema
    group_rows: int = 64 * 1024
    group_bytes: int | None = None

    def empty(self) -> pa.Table:
        """A table with these columns and no row."""
        return self.schema.empty_table()

    def rows_together(self, rows: int, byte_size: int) -> int:
        """How many of `rows` rows, `byte_size` bytes in memory, lie together; at least one."""
        if self.group_bytes is None or byte_size <= self.group_bytes:
            return self.group_rows
        return max(1, min(self.group_rows, rows * self.group_bytes // byte_size))

    def conform(self, data: pa.Table) -> pa.Table:
        """The same data with this table's columns, in order and of its types.

        Raises `ValueError` where a column is missing or a required one holds nulls.
        """
        table = data.select(self.schema.names).cast(self.schema)
        for field in self.schema:
            if not field.nullable and table.column(field.name).null_count:
                raise ValueError(f"table {self.name}: column {field.name} has nulls")
        return table


def _column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


def _optional(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return _column(name, kind, meaning, nullable=True)


POSTS = TableSpec(
    "posts",
    "a photo somebody posted",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "the network's own id"),
            _column("provider", pa.string(), "the source's name"),
            _column("user_id", pa.string(), "the account that posted it; empty where nobody says"),
            _column("created_at", UTC_MICROSECONDS, "when it was posted, UTC"),
            _column("collected_at", UTC_MICROSECONDS, "when its likes were read, UTC"),
            _column("image_url", pa.string(), "http(s) address, or a path for imported files"),
            _optional("width", pa.int32(), "px, as the network says"),
            _optional("height", pa.int32(), "px, as the network says"),
            _column("likes", pa.int64(), "count"),
            _optional("comments", pa.int64(), "count"),
            _column("tags", pa.list_(pa.string()), "without #"),
            _optional("caption", pa.string(), "as posted"),
            _optional("permalink", pa.string(), "the post's page"),
            _optional("followers", pa.int64(), "of its account, where the network tells them with the post"),
            _optional("following", pa.int64(), "likewise"),
            _optional("media_count", pa.int64(), "likewise"),
        ]
    ),
)

READINGS = TableSpec(
    "readings",
    "a post's counts at one moment; `raylike collect --refresh` adds one for each post",
    ("post_id", "collected_at"),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("collected_at", UTC_MICROSECONDS, "when they were read, UTC"),
            _optional("likes", pa.int64(), "count; empty unless status is ok and the network says"),
            _optional("comments", pa.int64(), "likewise"),
            _column("status", pa.string(), "ok, gone"),
        ]
    ),
)

USERS = TableSpec(
    "users",
    "an account, as looked up",
    ("user_id",),
    pa.schema(
        [
            _column("user_id", pa.string(), "the network's own id"),
            _optional("followers", pa.int64(), "count; empty unless status is ok"),
            _optional("following", pa.int64(), "count"),
            _optional("media_count", pa.int64(), "count of posts"),
            _column("looked_up_at", UTC_MICROSECONDS, "UTC"),
            _column("status", pa.string(), "ok, private, gone, failed"),
        ]
    ),
)

COHORT = TableSpec(
    "cohort",
    "a collected post, kept or dropped by the filter on followers",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("user_id", pa.string(), "as in posts"),
            _optional("followers", pa.int64(), "of its account; empty where not known"),
            _column("likes", pa.int64(), "count"),
            _optional("ratio", pa.float64(), "likes / followers"),
            _column("kept", pa.bool_(), "whether later stages see it"),
            _column("reason", pa.string(), "why not; empty when kept"),
        ]
    ),
)

IMAGES = TableSpec(
    "images",
    "a photo, downloaded or refused",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _optional("bytes", pa.large_binary(), "the file as served; empty unless status is ok"),
            _optional("format", pa.string(), "jpeg, png or webp, from the first bytes"),
            _optional("width", pa.int32(), "px, from the file's header"),
            _optional("height", pa.int32(), "px, from the file's header"),
            _column("byte_size", pa.int64(), "bytes read"),
            _optional("sha256", pa.string(), "hex, of the bytes"),
            _column("fetched_at", UTC_MICROSECONDS, "UTC"),
            _column("status", pa.string(), "ok, or the kind of failure"),
            _optional("error", pa.string(), "the failure in words"),
        ]
    ),
    group_rows=64,  # ordinary photos: about 6 MB
    group_bytes=16 * 1024 * 1024,
)

POINT = pa.struct([pa.field("x", pa.float32()), pa.field("y", pa.float32())])

FACE = pa.struct(
    [
        pa.field("x", pa.float32()),
        pa.field("y", pa.float32()),
        pa.field("width", pa.float32()),
        pa.field("height", pa.float32()),
        pa.field("confidence", pa.float32()),
        pa.field("area_fraction", pa.float32()),
        pa.field("landmarks", pa.list_(POINT)),
    ]
)

FACES = TableSpec(
    "faces",
    "a photo with all faces that the detector proposed, before any cut",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("detector", pa.string(), "haar, yunet, ..."),
            _optional("model", pa.string(), "SHA-256 of the detector's model file, hex; empty without one"),
            _column("n_faces", pa.int32(), "count, before the cut"),
            _column("faces", pa.list_(FACE), "boxes and landmarks in px of the upright photo, best first"),
            _column("confidence", pa.float32(), "of the best face; -inf without one"),
            _column("area_fraction", pa.float32(), "of the largest face; 0 without one"),
            _optional("phash", pa.string(), "64-bit perceptual hash, hex; empty where it has none"),
            _column("status", pa.string(), "ok, or undecodable"),
        ]
    ),
)

LABELS = TableSpec(
    "labels",
    "a photo of a person, labelled good or bad",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("user_id", pa.string(), "as in posts"),
            _column("ratio", pa.float64(), "likes / followers"),
            _column("label", pa.int8(), "1: good, by the chosen label design"),
            _column("threshold", pa.float64(), "median ratio of the training photos"),
            _column("fold", pa.int32(), "cross-validation fold of a training photo; -1 for test"),
            _column("split", pa.string(), "train or test"),
        ]
    ),
)

LABEL_DESIGNS = TableSpec(
    "label_designs",
    "a labelled photo under each label design that has something to say of it, written with labels",
    ("post_id", "design"),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("design", pa.string(), "ratio_median, rank_in_follower_groups, ..."),
            _column("label", pa.int8(), "1: good"),
            _optional("pair", pa.int32(), "number of its pair, for same_user_pairs"),
        ]
    ),
)

DUPLICATES = TableSpec(
    "duplicates",
    "a photo of a person that is a copy of another, written with labels",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("duplicate_of", pa.string(), "the first posted of its copies, by post_id"),
            _column("kind", pa.string(), "duplicate: the same bytes as that one; near duplicate"),
            _column("bits", pa.int32(), "in which the perceptual hashes of these two differ"),
        ]
    ),
)

FIGURES = (
    _column("evaluation", pa.string(), "cross-validation or test"),
    _column("n", pa.int64(), "photos scored"),
    _column("positive_rate", pa.float64(), "share of label 1: the AP of chance"),
    _column("ap", pa.float64(), "average precision"),
    _column("ap_low", pa.float64(), "2.5 % of the bootstrap over users"),
    _column("ap_high", pa.float64(), "97.5 %"),
    _column("roc_auc", pa.float64(), "area under the ROC curve"),
    _column("roc_auc_low", pa.float64(), "2.5 %"),
    _column("roc_auc_high", pa.float64(), "97.5 %"),
    _column("accuracy", pa.float64(), "share right at the model's own threshold"),
    _column("accuracy_low", pa.float64(), "2.5 %"),
    _column("accuracy_high", pa.float64(), "97.5 %"),
    _column("spearman", pa.float64(), "rank correlation of score and likes per follower"),
    _column("spearman_low", pa.float64(), "2.5 %"),
    _column("spearman_high", pa.float64(), "97.5 %"),
    _column("pair_accuracy", pa.float64(), "of pairs of an account's photos, ordered as their likes"),
    _column("pair_accuracy_low", pa.float64(), "2.5 %; not a number without such pairs"),
    _column("pair_accuracy_high", pa.float64(), "97.5 %"),
)
"""Columns of whatever is scored."""

RESULTS = TableSpec(
    "results",
    "a model on a set of features, scored one way",
    ("model", "features", "evaluation"),
    pa.schema(
        [
            _column("model", pa.string(), "LinearSVC, RandomForest, SVM by SGD, fine-tuned, oracle, ..."),
            _column("features", pa.string(), "fc6, fc7, pixels, metadata, truth"),
            *FIGURES,
            _column("weights", pa.string(), "pretrained, random, or none: what the features came from"),
            _column("parameters", pa.string(), "JSON"),
            _column("seconds", pa.float64(), "to fit and score"),
        ]
    ),
)

DESIGN_RESULTS = TableSpec(
    "design_results",
    "LinearSVC on one layer under a label design, scored one way, written with results",
    ("design", "evaluation"),
    pa.schema(
        [
            _column("design", pa.string(), "as in label_designs"),
            _column("features", pa.string(), "the layer: fc7"),
            *FIGURES,
            _column("c", pa.float64(), "the SVM's C, chosen by cross-validation"),
        ]
    ),
)

DIFFERENCES = TableSpec(
    "differences",
    "two models compared on the same photos and the same resamples, written with results",
    ("model", "features", "other_model", "other_features", "evaluation"),
    pa.schema(
        [
            _column("model", pa.string(), "as in results"),
            _column("features", pa.string(), "as in results"),
            _column("other_model", pa.string(), "as in results"),
            _column("other_features", pa.string(), "as in results"),
            _column("evaluation", pa.string(), "cross-validation or test"),
            _column("difference", pa.float64(), "AP of the first less AP of the other"),
            _column("low", pa.float64(), "2.5 % of the bootstrap over users; above 0: the first is better"),
            _column("high", pa.float64(), "97.5 %; below 0: the other is better"),
        ]
    ),
)

SWEEP = TableSpec(
    "sweep",
    "LinearSVC at one C",
    ("features", "c"),
    pa.schema(
        [
            _column("features", pa.string(), "fc6 or fc7"),
            _column("c", pa.float64(), "the SVM's C"),
            _column("ap", pa.float64(), "average precision, cross-validated"),
            _column("ap_low", pa.float64(), "2.5 % of the bootstrap over users"),
            _column("ap_high", pa.float64(), "97.5 %"),
            _column("accuracy", pa.float64(), "cross-validated"),
        ]
    ),
)

CURVES = TableSpec(
    "curves",
    "one look at a network in training",
    ("run", "iteration"),
    pa.schema(
        [
            _column("run", pa.string(), "finetune"),
            _column("iteration", pa.int64(), "training steps done"),
            _column("loss", pa.float64(), "mean training loss since the last look"),
            _column("lr", pa.float64(), "learning rate of the pretrained layers"),
            _column("validation_ap", pa.float64(), "average precision on the validation fold"),
            _column("photos_per_s", pa.float64(), "trained on since the last look"),
        ]
    ),
)

TRIALS = TableSpec(
    "trials",
    "one trial of the search, judged on the validation fold",
    ("trial",),
    pa.schema(
        [
            _column("trial", pa.int32(), "number, in order of start"),
            _column("model", pa.string(), "network; or a linear model and its layer"),
            _optional("lr", pa.float64(), "learning rate of the pretrained layers"),
            _optional("weight_decay", pa.float64(), "L2"),
            _optional("trainable", pa.string(), "which layers moved, as in finetune.trainable"),
            _optional("schedule", pa.string(), "of the learning rate"),
            _optional("batch_size", pa.int64(), "photos per step"),
            _optional("label_smoothing", pa.float64(), "share of a label spread over both classes"),
            _optional("c", pa.float64(), "of a linear model: the best C"),
            _column("iterations", pa.int64(), "done before it ended or was stopped; 0 of a linear model"),
            _column("validation_ap", pa.float64(), "the last one"),
            _column("best_validation_ap", pa.float64(), "the best one"),
            _column("stopped_early", pa.bool_(), "by the scheduler"),
            _column("seconds", pa.float64(), "of training"),
        ]
    ),
)

SCORES = TableSpec(
    "scores",
    "a test photo, ranked by a model",
    ("model", "post_id"),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("model", pa.string(), "which model ranks"),
            _column("probability", pa.float64(), "of being liked above the median"),
            _column("rank", pa.int64(), "1 is best"),
        ]
    ),
)

PREDICTIONS = TableSpec(
    "predictions",
    "a photo's score by a model, out of fold or on the test set",
    ("model", "features", "post_id"),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("model", pa.string(), "as in results"),
            _column("features", pa.string(), "as in results"),
            _column("evaluation", pa.string(), "cross-validation or test"),
            _column("score", pa.float64(), "decision value; more is better"),
            _column("probability", pa.float64(), "calibrated on training folds (Platt)"),
        ]
    ),
)

REPORT = TableSpec(
    "report",
    "a file of the report",
    ("file",),
    pa.schema(
        [
            _column("file", pa.string(), "path below report/"),
            _column("byte_size", pa.int64(), "bytes"),
            _column("sha256", pa.string(), "hex"),
        ]
    ),
)

RUNS = TableSpec(
    "runs",
    "one stage of one run",
    ("run", "stage"),
    pa.schema(
        [
            _column("run", pa.string(), "run id"),
            _column("stage", pa.string(), "name"),
            _column("started_at", UTC_MICROSECONDS, "UTC"),
            _column("seconds", pa.float64(), "wall clock"),
            _column("memory_peak_mib", pa.float64(), "all processes of the run together, while it ran"),
            _column("rows_in", pa.int64(), "items considered"),
            _column("rows_out", pa.int64(), "items written"),
            _column("skipped", pa.string(), "JSON: reason -> count"),
            _column("failed", pa.string(), "JSON: reason -> count"),
            _column("notes", pa.string(), "JSON: list of texts"),
            _column("settings", pa.string(), "JSON: the resolved settings"),
            _column("versions", pa.string(), "JSON: raylike, Python, Ray, torch"),
        ]
    ),
)

FEATURES = "features/"
"""Begins the name of every features table: one for each backbone and choice of layers."""

EMBEDDING = "embedding"
"""The layer that is taken where none is named: what a network's last layer is given, pooled."""

FEATURE_LAYERS = {"alexnet": {"fc6": 4096, "fc7": 4096}}
"""Layers that are taken where none are named, and their widths, of backbones that have other ones than
`embedding`."""

WIDTH_KEY = b"width"
"""Metadata of a layer's column: Delta Lake keeps no lengths of lists."""


def feature_layers(backbone: str, layers: Sequence[str] = ()) -> tuple[str, ...]:
    """The layers that are taken of a backbone: those named, else its own."""
    return tuple(layers) or tuple(FEATURE_LAYERS.get(backbone, (EMBEDDING,)))


def features_name(backbone: str, layers: Sequence[str] = ()) -> str:
    """The name of a features table: `features/BACKBONE`, and the layers where they are not its own.

    What a folder's name should not hold, such as the colon of `timm:NAME`, becomes a dash.
    """
    taken = feature_layers(backbone, layers)
    words = [backbone] if taken == feature_layers(backbone) else [backbone, *taken]
    return FEATURES + re.sub(r"[^A-Za-z0-9._-]", "-", "-".join(words))


def features(name: str, layers: Mapping[str, int]) -> TableSpec:
    """The features table `name`: a row for each photo, orientation and recipe; layers by width."""
    return TableSpec(
        name,
        "a photo as the backbone sees it, plain or mirrored, by one recipe",
        ("post_id", "flipped", "recipe"),
        pa.schema(
            [
                _column("post_id", pa.string(), "as in posts"),
                _column("flipped", pa.bool_(), "mirrored left to right"),
                _column("weights", pa.string(), "pretrained, random from the seed, or a file's sha256"),
                _column("sha256", pa.string(), "of the photo's file, hex"),
                _column("recipe", pa.string(), "hash of backbone, weights, preprocessing and precision"),
                *(_layer(layer, width) for layer, width in layers.items()),
            ]
        ),
    )


def layers_of(schema: pa.Schema) -> dict[str, int]:
    """The layers in a features table and their widths, from what its columns say of themselves."""
    found = {field.name: (field.metadata or {}).get(WIDTH_KEY) for field in schema}
    return {layer: int(width) for layer, width in found.items() if width is not None}


def _layer(name: str, width: int) -> pa.Field:
    meaning = "activations after ReLU" if name in FEATURE_LAYERS["alexnet"] else "activations, pooled"
    column = _column(name, pa.list_(pa.float32(), width), f"{width} {meaning}")
    return column.with_metadata({**column.metadata, WIDTH_KEY: str(width).encode()})


ALEXNET = features(features_name("alexnet"), FEATURE_LAYERS["alexnet"])
FINETUNE_RESULTS = replace(RESULTS, name="finetune_results")
FINETUNE_PREDICTIONS = replace(PREDICTIONS, name="finetune_predictions")

TABLES: dict[str, TableSpec] = {
    table.name: table
    for table in (
        POSTS, READINGS, USERS, COHORT, IMAGES, FACES, LABELS, LABEL_DESIGNS, DUPLICATES, ALEXNET,
        RESULTS, DESIGN_RESULTS, DIFFERENCES, SWEEP, PREDICTIONS, FINETUNE_RESULTS, FINETUNE_PREDICTIONS,
        CURVES, TRIALS, SCORES, REPORT, RUNS,
    )
}  # fmt: skip
"""Every table by name, but for the features of backbones other than the default: those say of themselves
what they hold."""
