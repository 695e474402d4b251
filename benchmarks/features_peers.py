"""What `features.py` is measured against: the same photos through bare torch, PySpark 4 and Daft.

Run as a script by an interpreter that has what the contender needs; imports nothing of raylike:

    python features_peers.py bare|spark|daft PLAN WEIGHTS OUTPUT SHARE SHARES

PLAN is JSON with the Parquet `files` and the `precision`; WEIGHTS are AlexNet's as .npz. Decoding, cropping
and layers are the same as ours, in plain calls of OpenCV and torch: fp32 or bf16 as asked, channels last,
batches of 32, one thread a process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

BATCH = 32
PART = 256


class Model:
    """AlexNet to fc7, in the quickest way torch has on this processor."""

    def __init__(self, weights: str, precision: str) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        state = {name: torch.from_numpy(values) for name, values in np.load(weights).items()}
        layers: list[nn.Module] = []
        pooled = {"features.0", "features.3", "features.10"}
        shapes = {"features.0": (11, 4, 2), "features.3": (5, 1, 2), "features.6": (3, 1, 1),
                  "features.8": (3, 1, 1), "features.10": (3, 1, 1)}  # fmt: skip
        for name, (kernel, stride, padding) in shapes.items():
            weight = state[f"{name}.weight"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, stride, padding)
            conv.weight.data, conv.bias.data = weight, state[f"{name}.bias"]  # type: ignore[union-attr]
            layers += [conv, nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(3, 2)] if name in pooled else []
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.convolutions = nn.Sequential(*layers).to(self.dtype, memory_format=torch.channels_last).eval()
        self.linear = [
            (state[f"classifier.{i}.weight"].to(self.dtype), state[f"classifier.{i}.bias"].to(self.dtype))
            for i in (1, 4)
        ]
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.scale, self.shift = (1 / (255 * std)).view(1, 3, 1, 1), (mean / std).view(1, 3, 1, 1)

    def __call__(self, crops: np.ndarray[Any, Any], flipped: bool) -> list[np.ndarray[Any, Any]]:
        """fc6 and fc7 of uint8 (n, 224, 224, 3)."""
        with torch.inference_mode():
            x = torch.from_numpy(crops)
            x = (x.flip(2) if flipped else x).permute(0, 3, 1, 2).float() * self.scale - self.shift
            x = self.convolutions(x.to(self.dtype)).flatten(1)
            found = []
            for weight, bias in self.linear:
                x = torch.relu_(nn.functional.linear(x, weight, bias))
                found.append(x.float().numpy())
        return found


def crop(file: bytes) -> np.ndarray[Any, Any]:
    """The central 224 px of 256, decoded at half size."""
    picture = cv2.imdecode(
        np.frombuffer(file, np.uint8), cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION
    )
    square = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR)[16:240, 16:240]
    return cv2.cvtColor(square, cv2.COLOR_BGR2RGB)


def table(ids: list[str], files: list[bytes], model: Model) -> pa.Table:
    """Rows of both orientations, batch by batch."""
    rows = []
    for start in range(0, len(ids), BATCH):
        crops = np.stack([crop(file) for file in files[start : start + BATCH]])
        part = ids[start : start + BATCH]
        for flipped in (False, True):
            layers = [pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4096)
                      for values in model(crops, flipped)]  # fmt: skip
            rows.append(
                pa.table([part, [flipped] * len(part), *layers], ["post_id", "flipped", "fc6", "fc7"])
            )
    return pa.concat_tables(rows)


def bare(files: list[str], model: Model, output: Path, share: int, shares: int) -> None:
    """Every `shares`-th row group, from bytes to Parquet."""
    groups = [(file, i) for file in files for i in range(pq.ParquetFile(file).num_row_groups)]
    mine = groups[share::shares]
    for start in range(0, len(mine), PART // 64):
        ids: list[str] = []
        photos: list[bytes] = []
        for file, index in mine[start : start + PART // 64]:
            rows = pq.ParquetFile(file).read_row_group(index, ["post_id", "bytes"])
            ids += rows["post_id"].to_pylist()
            photos += rows["bytes"].to_pylist()
        path = output / f"bare-{share}-{start}.parquet"
        pq.write_table(table(ids, photos, model), path, compression="lz4", use_dictionary=False)


_MODELS: dict[str, Model] = {}


def _model(weights: str, precision: str) -> Model:
    """One model a process, made when its first rows come."""
    return _MODELS.setdefault(weights, _MODELS.get(weights) or Model(weights, precision))


def spark(files: list[str], weights: str, precision: str, output: Path, shares: int) -> dict[str, Any]:
    """`mapInPandas` over the files, a local session with a core for each process."""
    import pandas as pd
    import pyspark
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    started = time.perf_counter()
    session = (
        SparkSession.builder.master(f"local[{shares}]")
        .config("spark.driver.memory", "8g")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH))
        .config("spark.sql.files.maxPartitionBytes", str(16 * 2**20))
        .config("spark.sql.parquet.compression.codec", "lz4_raw")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.range(10).count()
    up = time.perf_counter()
    folder = str(Path(__file__).parent)

    def extract(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        sys.path.insert(0, folder)
        import features_peers

        model = features_peers._model(weights, precision)
        for frame in frames:
            ids, photos = frame["post_id"].tolist(), [bytes(file) for file in frame["bytes"]]
            found = features_peers.table(ids, photos, model)
            columns: dict[str, Any] = {
                "post_id": found["post_id"].to_pylist(),
                "flipped": found["flipped"].to_pylist(),
            }
            for layer in ("fc6", "fc7"):
                columns[layer] = list(found[layer].combine_chunks().flatten().to_numpy().reshape(-1, 4096))
            yield pd.DataFrame(columns)

    schema = "post_id string, flipped boolean, fc6 array<float>, fc7 array<float>"
    photos = session.read.parquet(*files).select("post_id", "bytes")
    photos.mapInPandas(extract, schema).write.parquet(str(output))
    seconds = time.perf_counter() - up
    session.stop()
    return {"version": pyspark.__version__, "seconds": seconds, "start_s": up - started}


def daft(files: list[str], weights: str, precision: str, output: Path, shares: int) -> dict[str, Any]:
    """A class of batch functions with a process for each core."""
    started = time.perf_counter()
    import daft as library
    from daft import DataType, col

    up = time.perf_counter()
    lists = DataType.fixed_size_list(DataType.float32(), 4096)
    struct = DataType.struct({"fc6": lists, "fc7": lists, "fc6_flipped": lists, "fc7_flipped": lists})

    @library.cls(max_concurrency=shares, use_process=True)
    class Extract:
        def __init__(self) -> None:
            self.model = Model(weights, precision)

        @library.method.batch(return_dtype=struct, batch_size=PART)
        def __call__(self, photos: library.Series) -> Any:
            files_ = photos.to_pylist()
            found = table([""] * len(files_), files_, self.model)
            plain, mirrored = (found.filter(pc.equal(found["flipped"], side)) for side in (False, True))
            arrays = [t[layer].combine_chunks() for t in (plain, mirrored) for layer in ("fc6", "fc7")]
            names = ["fc6", "fc7", "fc6_flipped", "fc7_flipped"]
            return pa.StructArray.from_arrays(arrays, names)

    photos = library.read_parquet(files).select("post_id", "bytes")
    both = photos.with_column("found", Extract()(col("bytes"))).select("post_id", "found")
    names = {False: ("fc6", "fc7"), True: ("fc6_flipped", "fc7_flipped")}
    both = both.collect()
    sides = [
        both.select(
            col("post_id"), library.lit(flipped).alias("flipped"), col("found").get(fc6).alias("fc6"),
            col("found").get(fc7).alias("fc7"),
        )
        for flipped, (fc6, fc7) in names.items()
    ]  # fmt: skip
    sides[0].concat(sides[1]).write_parquet(str(output))
    return {"version": library.__version__, "seconds": time.perf_counter() - up, "start_s": up - started}


def main(name: str, plan: str, weights: str, output: str, share: str, shares: str) -> None:
    told = json.loads(Path(plan).read_text())
    files, precision = told["files"], told["precision"]
    if name == "bare":
        bare(files, Model(weights, precision), Path(output), int(share), int(shares))
        return
    contender = {"spark": spark, "daft": daft}[name]
    print(json.dumps(contender(files, weights, precision, Path(output), int(shares))))


if __name__ == "__main__":
    main(*sys.argv[1:])
