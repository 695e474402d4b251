"""The learning set's photos in one file: any of them by one read, as a network is to be shown them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raylike.learning import machine_cache, pack
from raylike.learning.batches import Batch
from raylike.learning.pack import Pack
from raylike.vision import crops
from raylike.vision.backbones import Framing
from raylike.workspace import Workspace
from tests.pictures import encode
from tests.unit.stages.learning_workspace import NOW, write

IDS = np.array(["a", "b", "c"])
FRAMING = Framing(square_px=32, input_px=24)


def picture(seed: int) -> NDArray[np.uint8]:
    """Smooth, so that JPEG hardly changes it."""
    across, down = np.meshgrid(np.arange(80), np.arange(60))
    return np.stack([across * 2, down * 3, np.full_like(down, 40 * seed)], axis=2).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, bytes]:
    """Photo b cannot be decoded."""
    files = {"c": encode(picture(2)), "a": encode(picture(1)), "b": b"no picture"}
    columns: dict[str, Sequence[Any]] = {
        "post_id": list(files), "bytes": list(files.values()), "byte_size": [1] * 3,
        "fetched_at": [NOW] * 3, "status": ["ok"] * 3,
    }  # fmt: skip
    write(tmp_path, "images", columns)
    return files


def packed(path: Path) -> Pack:
    return pack.prepare(Workspace(path), IDS, FRAMING, "source")


def test_each_photo_is_cropped_and_mirrored_as_asked(tmp_path: Path, photos: dict[str, bytes]) -> None:
    found = packed(tmp_path)
    assert found.there.tolist() == [True, False, True]
    rows, mirrored = np.array([2, 0]), np.array([False, True])
    shown = found.shown(Batch(rows, mirrored, np.array([[0.0, 1.0], [1.0, 0.0]])))
    c, a = (crops.central_square(photos[post], 32) for post in ("c", "a"))
    assert c is not None
    assert a is not None
    for seen, expected in zip(shown, [c[:24, 8:], a[8:, :24][:, ::-1]], strict=True):
        assert np.abs(seen.astype(int) - expected).max() < 12


def test_it_is_written_once_and_makes_way_for_another_learning_set(
    tmp_path: Path, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = packed(tmp_path)
    with monkeypatch.context() as patched:
        patched.delattr(pack, "_write")
        assert packed(tmp_path).path == first.path
    other = pack.prepare(Workspace(tmp_path), IDS[:1], FRAMING, "another")
    assert other.path.is_file()
    assert not first.path.is_file()


def test_what_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        machine_cache.once(Workspace(tmp_path), "source", "name", ".npy", full)
    assert not [path for path in (tmp_path / "cache" / "inputs").iterdir() if path.suffix != ".lock"]
