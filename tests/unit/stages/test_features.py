"""The stage features: what was computed once is not computed again, and what is no longer right is.

The model runs in this process; Ray is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray

from raylike import cluster, feature_rows, photo_stream
from raylike.commits import Commit
from raylike.stage import StageContext, StageReport
from raylike.stages import features
from raylike.tables import features_name
from raylike.vision.backbones import Backbone
from raylike.workspace import Workspace
from tests.pictures import photo
from tests.unit.stages.learning_workspace import NOW, context, write

ALEXNET = "features/alexnet"


def write_photos(path: Path, photos: dict[str, bytes], labelled: list[str] | None = None) -> None:
    """Tables `images`, and `labels` of the posts named."""
    ids, files = list(photos), list(photos.values())
    write(path, "images", {
        "post_id": ids, "bytes": files, "byte_size": [len(file) for file in files],
        "sha256": [hashlib.sha256(file).hexdigest() for file in files],
        "fetched_at": [NOW] * len(ids), "status": ["ok"] * len(ids),
    })  # fmt: skip
    chosen = ids if labelled is None else labelled
    n = len(chosen)
    write(path, "labels", {
        "post_id": chosen, "user_id": chosen, "ratio": [0.1] * n, "label": [i % 2 for i in range(n)],
        "threshold": [0.1] * n, "fold": [0] * n, "split": ["train"] * n,
    })  # fmt: skip


@dataclass
class Computed:
    """Which posts went through the model, run by run."""

    runs: list[list[str]] = field(default_factory=list)

    def take(self) -> list[str]:
        """Those since the last look."""
        posts = sorted(post for run in self.runs for post in run)
        self.runs.clear()
        return posts


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    """The stage with its model in this process, watched."""
    record = Computed()

    def extract(
        about: StageContext, backbone: Backbone, job: features.Job, todo: set[str]
    ) -> Iterator[dict[str, Any]]:
        record.runs.append(sorted(todo))
        pool = cluster.Pool(size=1, num_cpus=1, num_gpus=0, threads=1)
        model = features.ExtractFeatures(backbone, pool, about.workspace, job)
        yield from model(pa.table({"units": [photo_stream.plan(about.workspace, todo)]})).to_pylist()

    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(cluster, "gpus", lambda device: 0)
    monkeypatch.setattr(features, "_extract", extract)
    return record


def run(path: Path, *, seed: int = 0, forced: bool = False, **settings: Any) -> StageReport:
    asked = context(path, "features", seed=seed, features={"weights": "random", **settings})
    return features.run(replace(asked, forced=forced))


def counting(path: Path, table: str = ALEXNET) -> Any:
    """The rows that count, in the order of post and orientation."""
    workspace = Workspace(path)
    rows = workspace.read(table, where=feature_rows.in_force(workspace, table)).to_pandas()
    return rows.sort_values(["post_id", "flipped"], ignore_index=True)


PHOTOS = {f"post{i}": photo(300, 260, 20 * i) for i in range(3)}


def test_a_row_for_each_photo_and_orientation_says_what_it_was_made_of(
    workspace_path: Path, computed: Computed
) -> None:
    write_photos(workspace_path, PHOTOS)
    report = run(workspace_path)
    rows = counting(workspace_path)
    assert (report.rows_in, report.rows_out, report.failed) == (3, 3, {})
    assert rows[["post_id", "flipped"]].to_numpy().tolist() == [[p, f] for p in PHOTOS for f in (False, True)]
    assert rows["sha256"].tolist()[::2] == [hashlib.sha256(file).hexdigest() for file in PHOTOS.values()]
    assert rows["fc6"].map(len).eq(4096).all()
    assert not np.array_equal(rows["fc7"][0], rows["fc7"][1])


def test_a_recipe_that_comes_back_costs_nothing(workspace_path: Path, computed: Computed) -> None:
    write_photos(workspace_path, PHOTOS)
    workspace = Workspace(workspace_path)
    run(workspace_path)
    first, version = counting(workspace_path), workspace.last_commit(ALEXNET)
    assert computed.take() == list(PHOTOS)
    run(workspace_path, seed=1)
    assert computed.take() == list(PHOTOS)
    other = counting(workspace_path)
    assert len(other) == len(first)
    assert not np.array_equal(other["fc6"][0], first["fc6"][0])
    run(workspace_path)
    assert computed.take() == []
    assert counting(workspace_path).equals(first)
    now = workspace.last_commit(ALEXNET)
    assert version is not None
    assert now is not None
    assert now.data_version > version.data_version, "what reads the table must look again"
    run(workspace_path)
    again = workspace.last_commit(ALEXNET)
    assert again is not None
    assert again.data_version == now.data_version


def test_photos_that_are_labelled_again_are_not_computed_again(
    workspace_path: Path, computed: Computed
) -> None:
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    computed.take()
    write_photos(workspace_path, PHOTOS, labelled=["post0"])
    assert run(workspace_path).rows_out == 1
    write_photos(workspace_path, PHOTOS)
    assert run(workspace_path).rows_out == 3
    assert computed.take() == []


def test_another_source_in_the_same_workspace_costs_nothing_on_the_way_back(
    workspace_path: Path, computed: Computed
) -> None:
    """Its posts are others, and one of them shows a photo that is known already."""
    elsewhere = {"toot1": photo(280, 280, 99), "toot2": PHOTOS["post1"]}
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    first = counting(workspace_path)
    computed.take()
    write_photos(workspace_path, elsewhere)
    assert run(workspace_path).rows_out == 2
    assert computed.take() == ["toot1"]
    write_photos(workspace_path, PHOTOS)
    assert run(workspace_path).rows_out == 3
    write_photos(workspace_path, elsewhere)
    assert run(workspace_path).rows_out == 2
    assert computed.take() == []
    rows = counting(workspace_path)
    assert rows[rows["post_id"].isin(list(PHOTOS))].reset_index(drop=True).equals(first)


def test_mirrored_rows_are_kept_while_they_are_not_wanted(workspace_path: Path, computed: Computed) -> None:
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    first = counting(workspace_path)
    computed.take()
    assert run(workspace_path, mirrored=False).rows_out == 3
    assert not counting(workspace_path)["flipped"].any()
    write_photos(workspace_path, {**PHOTOS, "new": photo(300, 300, 7)})
    run(workspace_path, mirrored=False)
    assert computed.take() == ["new"]
    run(workspace_path)
    assert computed.take() == ["new"], "of it alone there is no mirrored row yet"
    rows = counting(workspace_path)
    assert rows[rows["post_id"] != "new"].reset_index(drop=True).equals(first)
    assert len(rows) == 8


def test_the_same_file_under_another_post_is_computed_once(workspace_path: Path, computed: Computed) -> None:
    twice = {**PHOTOS, "reposted": PHOTOS["post1"], "again": PHOTOS["post1"]}
    write_photos(workspace_path, twice)
    assert run(workspace_path).rows_out == 5
    assert len(computed.take()) == 3
    later = {**twice, "later": PHOTOS["post2"]}
    write_photos(workspace_path, later)
    assert run(workspace_path).rows_out == 6
    assert computed.take() == []
    rows = counting(workspace_path).set_index(["post_id", "flipped"])
    for flipped in (False, True):
        assert np.array_equal(rows.loc[("again", flipped), "fc7"], rows.loc[("post1", flipped), "fc7"])
        assert np.array_equal(rows.loc[("later", flipped), "fc6"], rows.loc[("post2", flipped), "fc6"])


def test_a_post_with_another_file_is_computed_anew(workspace_path: Path, computed: Computed) -> None:
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    before = counting(workspace_path)
    computed.take()
    write_photos(workspace_path, {**PHOTOS, "post1": photo(200, 300, 77)})
    run(workspace_path)
    assert computed.take() == ["post1"]
    rows = counting(workspace_path)
    assert len(rows) == 6
    changed = [not np.array_equal(a, b) for a, b in zip(rows["fc6"], before["fc6"], strict=True)]
    assert changed == [False, False, True, True, False, False]


def test_forced_all_are_computed_anew(workspace_path: Path, computed: Computed) -> None:
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    computed.take()
    run(workspace_path, forced=True)
    assert computed.take() == list(PHOTOS)
    assert len(counting(workspace_path)) == 6


def test_photos_that_cannot_be_decoded_are_counted(workspace_path: Path, computed: Computed) -> None:
    write_photos(workspace_path, {**PHOTOS, "broken": b"no photo", "copy": b"no photo"})
    report = run(workspace_path)
    assert (report.rows_in, report.rows_out, report.failed) == (5, 3, {"undecodable": 2})


def test_another_backbone_has_a_table_of_its_own(workspace_path: Path, computed: Computed) -> None:
    pytest.importorskip("torchvision")
    write_photos(workspace_path, PHOTOS)
    run(workspace_path)
    run(workspace_path, backbone="resnet18", layers="embedding,layer3", mirrored=False)
    table = features_name("resnet18", ("embedding", "layer3"))
    assert table == "features/resnet18-embedding-layer3"
    workspace = Workspace(workspace_path)
    assert table in workspace.names()
    rows = counting(workspace_path, table)
    assert rows["embedding"].map(len).tolist() == [512] * 3
    assert rows["layer3"].map(len).tolist() == [256] * 3
    assert workspace.table(table).spec.schema.field("layer3").type.list_size == 256
    assert len(counting(workspace_path)) == 6


def test_a_table_of_an_older_raylike_is_made_anew(workspace_path: Path, computed: Computed) -> None:
    from deltalake import write_deltalake

    write_photos(workspace_path, PHOTOS)
    old = pa.table(
        {"post_id": ["post0"], "flipped": [False], "weights": ["random"], "fc6": [[1.0]], "fc7": [[1.0]]}
    )
    write_deltalake(f"{workspace_path}/tables/{ALEXNET}", old)
    assert run(workspace_path).rows_out == 3
    assert len(counting(workspace_path)) == 6


@pytest.mark.parametrize(
    ("n", "processes", "sizes"),
    [
        (0, 2, []),
        (1, 8, [1]),
        (16, 2, [4, 3, 2, 1, 1, 1, 1, 1, 1, 1]),
        (20, 1, [4, 4, 4, 4, 2, 1, 1]),
        (79, 2, [*[4] * 16, 3, 3, 2, *[1] * 7]),
    ],
)
def test_turns_grow_smaller_towards_the_end(n: int, processes: int, sizes: list[int]) -> None:
    units = [{"row_group": i} for i in range(n)]
    turns = photo_stream.turns(units, processes, most=4)
    assert [len(turn) for turn in turns] == sizes
    assert [unit for turn in turns for unit in turn] == units


@pytest.mark.parametrize(
    ("backbone", "layers", "name"),
    [
        ("alexnet", (), "features/alexnet"),
        ("alexnet", ("fc6", "fc7"), "features/alexnet"),
        ("alexnet", ("fc7",), "features/alexnet-fc7"),
        ("resnet50", (), "features/resnet50"),
        ("resnet50", ("embedding",), "features/resnet50"),
        ("timm:resnet50.a1_in1k", (), "features/timm-resnet50.a1_in1k"),
    ],
)
def test_a_table_is_named_after_its_backbone(backbone: str, layers: tuple[str, ...], name: str) -> None:
    assert features_name(backbone, layers) == name


def test_a_killed_run_goes_on_where_it_ended(
    workspace_path: Path, computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(workspace_path, {**PHOTOS, "reposted": PHOTOS["post0"]})
    with monkeypatch.context() as killed:
        killed.setattr(features, "_copy", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(workspace_path)
    assert len(computed.take()) == 3
    assert run(workspace_path).rows_out == 4
    assert computed.take() == []


def test_rows_without_a_recipe_in_force_all_count(workspace_path: Path) -> None:
    workspace = Workspace(workspace_path)
    schema = workspace.spec(ALEXNET).schema
    wide = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4096, np.float32)), 4096)
    columns = [["post0"], [False], ["random"], ["0"], ["r"], wide, wide]
    workspace.write(ALEXNET, pa.table(columns, schema=schema), Commit("features", "x"))
    assert len(counting(workspace_path)) == 1
