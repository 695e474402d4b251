"""Files of weights: published ones, from torch's cache or downloaded and checked; and a user's own.

`torch.hub` does the same, but needs torch, checks no file that is already there, and waits for ever
on a network that swallows packets. This keeps its folder and its file names, so that either finds
what the other fetched.

Knows files and HTTPS. Of networks, only that theirs are tensors with names and shapes.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import shutil
import tempfile
import threading
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.error import URLError

from numpy.typing import NDArray

from raylike.errors import ConfigError, InputDataError

if TYPE_CHECKING:
    import torch

ANSWER_TIMEOUT_S = 2.0
"""Within this a server must have answered, name look-up and TLS included: offline runs wait no longer."""
STALL_TIMEOUT_S = 30.0
"""Without a byte for this long, a download that has begun is given up."""
SAVE_HINT = "save the network's state_dict() alone, best as .safetensors"


@dataclass(frozen=True)
class WeightFile:
    """Where a file is published, and the first hex digits of its SHA-256."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Its name, as in the URL."""
        return self.url.rpartition("/")[2]


def folder() -> Path:
    """Where torch keeps downloaded weights, by its own variables (`torch.hub.get_dir`)."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    torch_home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(torch_home).expanduser() / "hub" / "checkpoints"


def cached(file: WeightFile) -> Path:
    """Where it is on this machine, or will be."""
    return folder() / file.name


def fetch(file: WeightFile) -> Path:
    """The file on this machine, with the right hash; downloaded if need be.

    Raises
    ------
    OSError : if it is not there and the server does not answer, or answers with something else
    """
    path = cached(file)
    if path.is_file() and sha256(path).startswith(file.sha256):
        return path
    answer = _open(file.url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with answer, tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{file.name}.", delete=False) as part:
        try:
            shutil.copyfileobj(answer, part, 1 << 20)
            part.flush()
            if not sha256(Path(part.name)).startswith(file.sha256):
                raise OSError(f"{file.url} is not the file it was (SHA-256 differs)")
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
    return path


def reach(url: str) -> None:
    """Raise `OSError` within seconds if a server does not answer."""
    _open(url).close()


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a user's file by name: `.safetensors`, or torch's own format. Runs no code from it.

    Raises
    ------
    ConfigError : if there is no such file
    InputDataError : if it holds code, or something else than tensors
    """
    if not path.is_file():
        raise ConfigError("there is no such file", str(path), "see features.weights_file")
    loaded = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for wrapped in ("state_dict", "model"):  # as training scripts save it, beside optimiser and epoch
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapped), Mapping):
            loaded = loaded[wrapped]
    import torch

    if not isinstance(loaded, Mapping) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise InputDataError("holds something else than tensors by name", str(path), SAVE_HINT)
    return dict(loaded)


def checked(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], name: str, path: Path
) -> dict[str, NDArray[Any]]:
    """The tensors of a file as arrays, if their names and shapes are those of the network `name`.

    Raises
    ------
    InputDataError : naming the first difference
    """
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    for key in [*expected, *found]:
        if found.get(key) != expected.get(key):
            has = f"{key} is {_shape(found.get(key))}, where {name} has {_shape(expected.get(key))}"
            raise InputDataError(f"holds another network than {name}: {has}", str(path))
    return {key: (t.float() if t.is_floating_point() else t).numpy() for key, t in tensors.items()}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError:
        raise InputDataError("is no safetensors file, or not all of one", str(path)) from None


def _pickled(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that torch may not know: said in an error, below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" not in str(error):
            raise InputDataError("is no file of weights, or not all of one", str(path), SAVE_HINT) from None
        raise InputDataError("holds Python code, which is never run", str(path), SAVE_HINT) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except Exception:  # torch's reader meets damage with whatever error comes first
        raise InputDataError("is no file of weights, or not all of one", str(path), SAVE_HINT) from None


def _open(url: str) -> IO[bytes]:
    """Begin a download; a thread, since a name look-up cannot be given a time limit."""
    outcome: list[Any] = []

    def connect() -> None:
        try:
            outcome.append(urllib.request.urlopen(url, timeout=STALL_TIMEOUT_S))
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, name="weight-file", daemon=True)
    thread.start()
    thread.join(ANSWER_TIMEOUT_S)
    if not outcome:
        raise TimeoutError(f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
    if isinstance(outcome[0], URLError) and isinstance(outcome[0].reason, OSError):
        raise outcome[0].reason
    if isinstance(outcome[0], Exception):
        raise OSError(str(outcome[0])) from outcome[0]
    answer: IO[bytes] = outcome[0]
    return answer


def sha256(path: Path) -> str:
    """Of a whole file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
