"""The folder of a model, `models/NAME/`: written whole, read only if it is what it says it is.

- `model.safetensors`: all weights of the network
- `config.json`: everything else it takes to use them, and where they came from; written last, with the
  hashes of the other files
- `README.md`: the model card
- `model.onnx`: the same network for other programs, where the extra `onnx` is installed

No file of it can hold code, and none that can is read.

Knows files, safetensors and `whole.py`. Knows nothing of stages or of how the network was trained.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.fs

from raylike.errors import InputDataError
from raylike.vision import weight_files
from raylike.vision.backbones import Backbone, Framing, State
from raylike.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
FORMAT = 1
"""Of the folder; raised when an older raylike can no longer read it."""
AGAIN = "raylike finetune --force finetune writes it anew"


@dataclass(frozen=True)
class Saved:
    """The large files of a model, still in the folder of the run that trained it.

    Attributes
    ----------
    sha256 : of `model.safetensors`
    byte_size : of `model.safetensors`
    initial_sha256 : of the backbone's weights before
    outputs : of the new layer
    onnx_sha256 : of `model.onnx`; empty where there is none
    onnx_difference : greatest one between torch's scores and onnxruntime's
    """

    sha256: str
    byte_size: int
    initial_sha256: str
    outputs: int
    onnx_sha256: str = ""
    onnx_difference: float = 0.0


def save(
    backbone: Backbone,
    tail: Mapping[str, Tensor],
    outputs: int,
    workspace: Workspace,
    folder: str,
    *,
    onnx: bool,
) -> Saved:
    """Write the network's weights, and its ONNX file if wanted, into a folder of the workspace.

    Parameters
    ----------
    backbone : the network before it was trained
    tail, outputs : what was trained of it, as `whole.put_together` takes them
    folder : below the root of the workspace

    Raises
    ------
    CannotWrite : if there is no room for them
    """
    from safetensors import SafetensorError

    from raylike.models.whole import put_together

    network = put_together(backbone, tail, outputs=outputs)
    filesystem, root = workspace.filesystem()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            saved = _write(network, backbone, outputs, Path(temporary), onnx=onnx)
            filesystem.create_dir(f"{root}/{folder}", recursive=True)
            pyarrow.fs.copy_files(temporary, f"{root}/{folder}", pyarrow.fs.LocalFileSystem(), filesystem)
    except (OSError, SafetensorError) as error:
        raise workspace.cannot_write(error, workspace.artifact(folder)) from error
    return saved


def _write(network: nn.Module, backbone: Backbone, outputs: int, folder: Path, *, onnx: bool) -> Saved:
    from safetensors.torch import save_file

    from raylike.models import onnx_file
    from raylike.models.whole import Scorer

    weights, other = folder / WEIGHTS, folder / ONNX
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, weights, {"format": "pt", "backbone": backbone.name, "outputs": str(outputs)})
    digest = weight_files.sha256(weights)
    saved = Saved(digest, weights.stat().st_size, _state_hash(backbone.state), outputs)
    if onnx:
        difference = onnx_file.export(Scorer(network), backbone.framing.input_px, other)
        saved = replace(saved, onnx_sha256=weight_files.sha256(other), onnx_difference=difference)
    return saved


def publish(workspace: Workspace, folder: str, name: str, config: Mapping[str, Any], card: str) -> None:
    """Put a saved model in its place, a whole file at a time; the config, which has their hashes, last.

    Raises
    ------
    CannotWrite : if there is no room for it
    """
    try:
        _publish(workspace, folder, name, config, card)
    except OSError as error:
        raise workspace.cannot_write(error, workspace.artifact("models", name)) from error


def _publish(workspace: Workspace, folder: str, name: str, config: Mapping[str, Any], card: str) -> None:
    filesystem, root = workspace.filesystem()
    target = f"{root}/models/{name}"
    filesystem.create_dir(target, recursive=True)
    with_onnx = [ONNX] if config["onnx"] else []
    if not with_onnx and _is_file(filesystem, f"{target}/{ONNX}"):
        filesystem.delete_file(f"{target}/{ONNX}")
    for file, text in ((CARD, card), (CONFIG, json.dumps(config, indent=2) + "\n")):
        with filesystem.open_output_stream(f"{root}/{folder}/{file}") as stream:
            stream.write(text.encode())
    for file in (WEIGHTS, *with_onnx, CARD, CONFIG):
        filesystem.move(f"{root}/{folder}/{file}", f"{target}/{file}")


def read_config(path: str | Path) -> dict[str, Any]:
    """What a model's folder says of it.

    Raises
    ------
    InputDataError : if it is no model's folder, or of a newer raylike
    """
    try:
        config = json.loads(_read(path, CONFIG))
    except ValueError:
        raise InputDataError(f"{CONFIG} is not JSON", str(path), AGAIN) from None
    if not isinstance(config, dict) or config.get("format", 0) > FORMAT or "backbone" not in config:
        raise InputDataError(f"{CONFIG} is none that this raylike can read", str(path), "upgrade raylike")
    return config


def load_model(path: str | Path, backbone: str | None = None) -> tuple[nn.Sequential, Framing]:
    """A trained network out of its folder, and how photos are framed for it.

    Parameters
    ----------
    path : of the folder `models/NAME`, local or s3://
    backbone : the one that it must be of; None for any

    Returns
    -------
    The network, from uint8 (N, side, side, 3) to (N, outputs); and the framing

    Raises
    ------
    InputDataError : if it is no model's folder, of another backbone, or not what its config says
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from raylike.models.whole import empty

    config = read_config(path)
    name = config["backbone"]
    if backbone is not None and name != backbone:
        raise InputDataError(f"is of the backbone {name}, not {backbone}", str(path), "choose another model")
    data = _read(path, WEIGHTS)
    if hashlib.sha256(data).hexdigest() != config["weights"]["sha256"]:
        raise InputDataError(f"{WEIGHTS} is not the file that {CONFIG} was written for", str(path), AGAIN)
    try:
        tensors = load(data)
    except SafetensorError:
        raise InputDataError(f"{WEIGHTS} is no safetensors file; others are not read", str(path)) from None
    framing = Framing(**{key: _framed(value) for key, value in config["framing"].items()})
    network = empty(name, framing, outputs=config["outputs"])
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    weight_files.checked(tensors, expected, name, Path(str(path)) / WEIGHTS)
    network.load_state_dict(tensors)
    return network.eval(), framing


def _state_hash(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name]).data)
    return digest.hexdigest()


def _framed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read(path: str | Path, file: str) -> bytes:
    text = str(path)
    local = "://" not in text
    filesystem, root = (pyarrow.fs.LocalFileSystem(), text) if local else pyarrow.fs.FileSystem.from_uri(text)
    try:
        with filesystem.open_input_stream(f"{root.rstrip('/')}/{file}") as stream:
            return bytes(stream.read())
    except OSError:
        raise InputDataError(
            f"is no model's folder: it has no {file}", text, "see models/ of a workspace"
        ) from None


def _is_file(filesystem: pyarrow.fs.FileSystem, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == pyarrow.fs.FileType.File)
