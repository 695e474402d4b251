"""The linear model that is kept: all it takes to score a photo that no table knows.

A folder of the workspace, `models/linear/`: `model.json`, which says what the model is and names the file
of its arrays with its hash, and that file, in safetensors. The arrays come first and the JSON last, each at
once; so a reader finds the old model or the new one.

Knows arrays, the calibration, and the workspace's files. Knows nothing of photos or of fitting.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.fs
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from raylike.errors import InputDataError
from raylike.learning import linear
from raylike.learning.calibration import Platt
from raylike.learning.scaling import Scale
from raylike.place import Place

FOLDER = "models/linear"
TOLD = "model.json"
FORMAT = 1
"""Of the folder; a model of another format is not read."""


@dataclass(frozen=True)
class Source:
    """Whose activations the model reads: what `loading.load` needs, and the recipe that must come out of it.

    Attributes
    ----------
    layer : the one of `layers` that the model reads
    layers : as `features.layers`
    weights : `pretrained`, `random`, or `sha256:` and the hash of `weights_file`
    recipe : of the rows that the model was fitted to; None where they did not say
    mirrored : a photo's score is the mean over itself and its mirror image
    """

    backbone: str
    layer: str
    layers: tuple[str, ...]
    weights: str
    weights_file: str | None
    seed: int
    recipe: str | None
    mirrored: bool


@dataclass(frozen=True)
class LinearModel:
    """Scores rows of one layer, and says what a score is worth.

    Attributes
    ----------
    name : of the model, as in `results`
    design : the label design that it learned
    weights : (d + 1,) float32, the last is the bias
    platt : from a score to the probability of being good, fitted out of fold
    held_out : scores of the test photos, which this very model has not seen, ascending, (n,)
    n_accounts : whose photos these are
    """

    name: str
    design: str
    source: Source
    weights: NDArray[np.float32]
    scale: Scale
    platt: Platt
    held_out: NDArray[np.float64]
    n_accounts: int

    def score(self, orientations: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of activations (orientations, n, d), the mean over the orientations."""
        values = [linear.decide(self.scale.apply(rows), self.weights) for rows in orientations]
        mean: NDArray[np.float64] = np.mean(values, axis=0, dtype=np.float64)
        return mean


def save(place: Place, model: LinearModel) -> None:
    """Keep a model in the place of the one that was kept before.

    Raises
    ------
    CannotWrite : if the folder cannot be written
    """
    arrays = {
        "weights": model.weights,
        "mean": model.scale.mean,
        "held_out": model.held_out,
    }
    data = safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    sha256 = hashlib.sha256(data).hexdigest()
    file = f"{sha256[:16]}.safetensors"
    told = {
        "format": FORMAT,
        "name": model.name,
        "design": model.design,
        "source": asdict(model.source),
        "spread": model.scale.spread,
        "platt": asdict(model.platt),
        "n_held_out": model.held_out.size,
        "n_accounts": model.n_accounts,
        "file": file,
        "sha256": sha256,
    }
    try:
        _put(place, file, data)
        _put(place, TOLD, json.dumps(told, indent=2).encode())
        _remove_others(place, file)
    except OSError as error:
        raise place.cannot_write(error, place.artifact(FOLDER)) from error


def load(place: Place) -> LinearModel | None:
    """The model that is kept; None if there is none.

    Raises
    ------
    InputDataError : if what is kept cannot be read as a model, or is not what was written
    """
    try:
        said = json.loads(_get(place, TOLD))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _unreadable(place, f"{TOLD}: {error}") from None
    try:
        if said["format"] != FORMAT:
            raise ValueError(f"it is of format {said['format']}, not {FORMAT}")
        data = _get(place, said["file"])
        if hashlib.sha256(data).hexdigest() != said["sha256"]:
            raise ValueError(f"{said['file']} is not what was written")
        return _assembled(said, safetensors.numpy.load(data))
    except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError) as error:
        raise _unreadable(place, f"{type(error).__name__}: {error}") from None


def _assembled(said: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> LinearModel:
    source = {**said["source"], "layers": tuple(said["source"]["layers"])}
    return LinearModel(
        name=said["name"],
        design=said["design"],
        source=Source(**source),
        weights=arrays["weights"],
        scale=Scale(arrays["mean"], said["spread"]),
        platt=Platt(**said["platt"]),
        held_out=arrays["held_out"],
        n_accounts=said["n_accounts"],
    )


def _unreadable(place: Place, why: str) -> InputDataError:
    return InputDataError(
        f"the model cannot be read: {why}",
        place.artifact(FOLDER),
        "write it again: raylike run-all --force classify",
    )


def _put(place: Place, name: str, data: bytes) -> None:
    """Write a file at once: an object appears when it is whole, a file is moved into place."""
    filesystem = place.filesystem()[0]
    folder = place.on_filesystem(place.artifact(FOLDER))
    if place.is_local:
        filesystem.create_dir(folder, recursive=True)
    path = f"{folder}/{name}"
    written = f"{path}.part" if place.is_local else path
    with filesystem.open_output_stream(written) as stream:
        stream.write(data)
    if place.is_local:
        filesystem.move(written, path)


def _get(place: Place, name: str) -> bytes:
    filesystem, path = place.filesystem()[0], place.on_filesystem(place.artifact(FOLDER, name))
    with filesystem.open_input_file(path) as file:
        data: bytes = file.read()
    return data


def _remove_others(place: Place, kept: str) -> None:
    filesystem = place.filesystem()[0]
    folder = pyarrow.fs.FileSelector(place.on_filesystem(place.artifact(FOLDER)))
    for info in filesystem.get_file_info(folder):
        if info.base_name not in (kept, TOLD):
            filesystem.delete_file(info.path)
