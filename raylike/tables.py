"""The name, key, columns and units of every table in a workspace.

Stages meet in these tables and nowhere else. Knows Arrow schemas. Knows nothing of where tables lie
(`workspace.py`) or of who writes them (`pipeline.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class TableSpec:
    """One table: what a row is, which columns name it, what the columns hold.

    `group_rows` rows lie together in the Parquet files that workers write, and can be read alone.
    """

    name: str
    row: str
    key: tuple[str, ...]
    schema: pa.Schema
    group_rows: int = 64 * 1024

    def empty(self) -> pa.Table:
        """A table with these columns and no row."""
        return self.schema.empty_table()

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
            _optional("phash", pa.string(), "64-bit perceptual hash, hex"),
            _column("fetched_at", UTC_MICROSECONDS, "UTC"),
            _column("status", pa.string(), "ok, or the kind of failure"),
            _optional("error", pa.string(), "the failure in words"),
        ]
    ),
    group_rows=64,  # about 6 MB: what one process takes at a time
)

FACE = pa.struct(
    [
        pa.field("x", pa.float32()),
        pa.field("y", pa.float32()),
        pa.field("width", pa.float32()),
        pa.field("height", pa.float32()),
        pa.field("confidence", pa.float32()),
        pa.field("area_fraction", pa.float32()),
    ]
)

FACES = TableSpec(
    "faces",
    "a photo with all faces that the detector proposed, before any cut",
    ("post_id",),
    pa.schema(
        [
            _column("post_id", pa.string(), "as in posts"),
            _column("detector", pa.string(), "haar, ..."),
            _column("n_faces", pa.int32(), "count, before the cut"),
            _column("faces", pa.list_(FACE), "boxes in px of the upright photo, best confidence first"),
            _column("confidence", pa.float32(), "of the best face; -inf without one"),
            _column("area_fraction", pa.float32(), "of the largest face; 0 without one"),
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
            _column("label", pa.int8(), "1: above the threshold"),
            _column("threshold", pa.float64(), "median ratio of the training photos"),
            _column("fold", pa.int32(), "cross-validation fold of a training photo; -1 for test"),
            _column("split", pa.string(), "train or test"),
        ]
    ),
)

RESULTS = TableSpec(
    "results",
    "a model on a set of features, scored one way",
    ("model", "features", "evaluation"),
    pa.schema(
        [
            _column("model", pa.string(), "LinearSVC, RandomForest, SVM by SGD, fine-tuned, oracle, ..."),
            _column("features", pa.string(), "fc6, fc7, pixels, metadata, truth"),
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
            _column("weights", pa.string(), "pretrained, random, or none: what the features came from"),
            _column("parameters", pa.string(), "JSON"),
            _column("seconds", pa.float64(), "to fit and score"),
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
    "one trial of the search",
    ("trial",),
    pa.schema(
        [
            _column("trial", pa.int32(), "number, in order of start"),
            _column("lr", pa.float64(), "learning rate of the pretrained layers"),
            _column("weight_decay", pa.float64(), "L2"),
            _column("iterations", pa.int64(), "done before it ended or was stopped"),
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

FEATURE_LAYERS = {"alexnet": {"fc6": 4096, "fc7": 4096}}
"""Layers and their widths, by backbone."""


def features(backbone: str) -> TableSpec:
    """The features of one backbone: a row for each photo and each of its two orientations."""
    layers = [
        _column(layer, pa.list_(pa.float32(), width), f"{width} activations after ReLU")
        for layer, width in FEATURE_LAYERS[backbone].items()
    ]
    return TableSpec(
        f"features/{backbone}",
        "a photo as the backbone sees it, plain or mirrored",
        ("post_id", "flipped"),
        pa.schema(
            [
                _column("post_id", pa.string(), "as in posts"),
                _column("flipped", pa.bool_(), "mirrored left to right"),
                _column("weights", pa.string(), "pretrained, or random from the seed"),
                *layers,
            ]
        ),
    )


FINETUNE_RESULTS = replace(RESULTS, name="finetune_results")
FINETUNE_PREDICTIONS = replace(PREDICTIONS, name="finetune_predictions")

TABLES: dict[str, TableSpec] = {
    table.name: table
    for table in (
        POSTS, READINGS, USERS, COHORT, IMAGES, FACES, LABELS, features("alexnet"), RESULTS, SWEEP,
        PREDICTIONS, FINETUNE_RESULTS, FINETUNE_PREDICTIONS, CURVES, TRIALS, SCORES, REPORT, RUNS,
    )
}  # fmt: skip
"""Every table by name."""
