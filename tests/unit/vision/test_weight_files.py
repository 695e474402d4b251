"""A user's own file of weights: read without running code, and refused in one line where it does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raylike.errors import ConfigError, InputDataError, RaylikeError
from raylike.vision import alexnet, loading, weight_files

SMALL = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


def alexnet_file(path: Path, seed: int = 5) -> Path:
    state = alexnet.random_state(alexnet.SHAPES, seed)
    save_file({name: torch.from_numpy(values) for name, values in state.items()}, path)
    return path


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_either_format_is_read(tmp_path: Path, suffix: str, wrapped: bool) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file(SMALL, path)
    else:
        torch.save({"state_dict": SMALL, "epoch": 3} if wrapped else SMALL, path)
    read = weight_files.read(path)
    assert read.keys() == SMALL.keys()
    assert torch.equal(read["layer.weight"], SMALL["layer.weight"])


def test_a_files_hash_is_the_name_of_its_weights(tmp_path: Path) -> None:
    path = alexnet_file(tmp_path / "net.safetensors")
    backbone = loading.load("alexnet", "imagenet", 0, allow_random=False, weights_file=path)
    assert backbone.weights == f"sha256:{weight_files.sha256(path)}"
    assert np.array_equal(
        backbone.state["classifier.4.weight"],
        alexnet.random_state(alexnet.SHAPES, 5)["classifier.4.weight"],
    )
    other = alexnet_file(tmp_path / "other.safetensors", seed=6)
    changed = loading.load("alexnet", "imagenet", 0, allow_random=False, weights_file=other)
    assert backbone.recipe("fp32") != changed.recipe("fp32")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def refused(path: Path, network: str = "alexnet") -> RaylikeError:
    with pytest.raises(RaylikeError) as raised:
        loading.load(network, "imagenet", 0, allow_random=False, weights_file=path)
    assert "\n" not in raised.value.what
    return raised.value


@pytest.mark.parametrize("saved_by", ["torch", "pickle"])
def test_code_in_a_file_is_never_run(tmp_path: Path, saved_by: str) -> None:
    path, marker = tmp_path / "net.pth", tmp_path / "was run"
    trapped = {"layer.weight": Trap(marker)}
    if saved_by == "torch":
        torch.save(trapped, path)
    else:
        path.write_bytes(pickle.dumps(trapped))
    error = refused(path)
    assert (error.exit_code, "Python code" in error.what) == (65, True)
    assert not marker.exists()


def test_a_whole_network_saved_as_python_objects_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    assert refused(tmp_path / "net.pth").exit_code == 65


@pytest.mark.parametrize("network", ["alexnet", "resnet18"])
def test_another_architecture_is_refused_with_the_first_difference(tmp_path: Path, network: str) -> None:
    pytest.importorskip("torchvision")
    save_file(SMALL, tmp_path / "net.safetensors")
    error = refused(tmp_path / "net.safetensors", network)
    assert error.exit_code == 65
    assert f"another network than {network}" in error.what
    assert "is missing" in error.what


def test_another_shape_is_refused(tmp_path: Path) -> None:
    state = alexnet.random_state(alexnet.SHAPES, 0)
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    save_file({**tensors, "classifier.6.weight": torch.zeros(2, 4096)}, tmp_path / "net.safetensors")
    assert (
        "classifier.6.weight is 2x4096, where alexnet has 1000x4096"
        in refused(tmp_path / "net.safetensors").what
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    assert refused(path).exit_code == 65


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_a_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    save_file(SMALL, path) if suffix == ".safetensors" else torch.save(SMALL, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert isinstance(refused(path), InputDataError)


def test_a_file_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    error = refused(tmp_path / "nothing.pth")
    assert isinstance(error, ConfigError)
    assert error.exit_code == 2
