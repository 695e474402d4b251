"""Where a workspace lies, a folder or a bucket: its file system, its lock, and what goes wrong there.

Knows files, object stores and the lock of either. Knows nothing of tables.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.fs
from deltalake.exceptions import DeltaError

from raylike.errors import CannotWrite, ConfigError, RaylikeError, TryAgainLater
from raylike.lease import Lease
from raylike.object_store import explained, require_credentials

SCHEMES = ("s3", "gs")


class Place:
    """A folder, or a prefix in a bucket.

    Parameters
    ----------
    uri : a local folder, made when something is first written, or an `s3://bucket/prefix`

    Raises
    ------
    ConfigError : for an address of any other kind
    """

    def __init__(self, uri: str | Path) -> None:
        text = str(uri)
        self.is_local = "://" not in text
        self.uri = str(Path(text).expanduser().absolute()) if self.is_local else text.rstrip("/")
        self._lease: Lease | None = None
        scheme, _, rest = text.partition("://")
        if not self.is_local and (scheme not in SCHEMES or not rest.strip("/")):
            raise ConfigError("is no place for a workspace", text, "a folder, or s3://BUCKET/PREFIX")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def __getstate__(self) -> dict[str, Any]:
        """For workers: all but the lock, which is the driver's."""
        return {**self.__dict__, "_lease": None}

    def artifact(self, *parts: str) -> str:
        """Path or URI of something below it, such as the report."""
        return "/".join([self.uri, *parts])

    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """An Arrow file system, and the root on it.

        Raises
        ------
        CredentialsError, ServiceUnavailable : if a bucket cannot be reached
        """
        if self.is_local:
            return pyarrow.fs.LocalFileSystem(), self.uri
        require_credentials(self.uri)
        try:
            return _remote_filesystem(self.uri)
        except OSError as error:
            raise self.cannot_read(error) from error

    def on_filesystem(self, uri: str) -> str:
        """What lies at a path or URI below this place, as the Arrow file system names it."""
        return self.filesystem()[1] + uri.removeprefix(self.uri)

    def delete_folder(self, folder: str) -> None:
        """Remove what is no table, such as the states of a finished training; nothing if it is not there."""
        filesystem, path = self.filesystem()[0], self.on_filesystem(self.artifact(folder))
        if filesystem.get_file_info(path).type == pyarrow.fs.FileType.Directory:
            filesystem.delete_dir(path)

    def write_file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in its place below this one, whole or not at all; an object has no mode.

        Raises
        ------
        CannotWrite, CredentialsError, ServiceUnavailable : if it cannot be written
        """
        target = self.artifact(name)
        try:
            if self.is_local:
                _replace(Path(target), data, mode)
                return
            filesystem, root = self.filesystem()
            with filesystem.open_output_stream(f"{root}/{name}") as stream:
                stream.write(data)  # an object appears when its upload is complete
        except OSError as error:
            raise self.cannot_write(error, target) from error

    def make_root(self) -> None:
        """Make the folder; a bucket needs none.

        Raises
        ------
        CannotWrite : if it cannot be made or written
        """
        if not self.is_local:
            return
        try:
            Path(self.uri).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"cannot be made: {error.strerror}", self.uri) from None
        if not os.access(self.uri, os.W_OK):
            raise CannotWrite("is not writable", self.uri, "choose another --workspace")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other raylike out until the block ends.

        Raises
        ------
        TryAgainLater : if another process holds it
        CannotWrite, CredentialsError, ServiceUnavailable : if nothing can be written there
        """
        with self._folder_lock() if self.is_local else self._bucket_lock():
            yield

    def check_lock(self) -> None:
        """Raise `TryAgainLater` if this process held the lock and somebody else has taken it meanwhile."""
        if self._lease is not None:
            self._lease.check()

    def cannot_read(self, error: Exception) -> Exception:
        """The error to raise for a library's that came while something was read."""
        return explained(error, self.uri, writing=False) or error

    def cannot_write(self, error: Exception, where: str) -> RaylikeError:
        """The error to raise for a library's that came while something was written at `where`."""
        known = None if self.is_local else explained(error, self.uri, writing=True)
        return known or CannotWrite(
            f"cannot be written: {first_line(error)}", where, "check space and permissions"
        )

    @contextmanager
    def _folder_lock(self) -> Iterator[None]:
        self.make_root()
        with open(Path(self.uri) / ".lock", "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise TryAgainLater(
                    f"is in use by {owner}", self.uri, "wait for it, or name another --workspace"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
            yield

    @contextmanager
    def _bucket_lock(self) -> Iterator[None]:
        require_credentials(self.uri)
        lease = Lease(f"{self.uri}/lock", self.uri)
        try:
            lease.take()
        except (DeltaError, OSError) as error:
            raise self.cannot_write(error, self.uri) from error
        self._lease = lease
        try:
            yield
        finally:
            self._lease = None
            lease.give_back()


def _replace(target: Path, data: bytes, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(mode)
            os.replace(file.name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def first_line(error: BaseException) -> str:
    """The beginning of a library's error, or its kind if it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@lru_cache(maxsize=8)
def _remote_filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Made once for an address: each has connections of its own, and asks where the bucket is."""
    filesystem, root = pyarrow.fs.FileSystem.from_uri(uri)
    return filesystem, root
