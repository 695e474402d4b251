"""Photos out of a request's body, within limits, and in memory alone: nothing touches a disk.

Knows HTTP bodies: one photo as it is, or several as multipart/form-data. Knows nothing of what photos are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from raylike.serving.problems import Problem

OVERHEAD_BYTES = 16_384
"""Room for the headers of a form's parts."""


@dataclass(frozen=True)
class UploadLimits:
    """What a request may hold.

    Attributes
    ----------
    max_bytes : of a photo
    max_photos : in a request
    max_body_bytes : of all its photos
    max_held_bytes : of all requests that are under way; what comes beyond is told to come back
    timeout_s : until all of it has come
    """

    max_bytes: int
    max_photos: int = 32
    max_body_bytes: int = 100_000_000
    max_held_bytes: int = 400_000_000
    timeout_s: float = 30.0


class Held:
    """How many bytes of bodies are in memory now, over all requests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    @contextmanager
    def counting(self) -> Iterator[Callable[[int], None]]:
        """Count a request's bytes until the block ends.

        What is given counts more of them, and raises `Problem` where there would be too many.
        """
        mine = 0

        def count(more: int) -> None:
            nonlocal mine
            if self._bytes + more > self._most:
                raise Problem(503, "busy", "too many photos are under way already")
            mine += more
            self._bytes += more

        try:
            yield count
        finally:
            self._bytes -= mine


class _InMemory(MultiPartParser):
    """Parses what has already been let in, so that no part is moved to a file."""

    spool_max_size = 2**40


async def photos_of(
    request: Request, limits: UploadLimits, count: Callable[[int], None]
) -> list[tuple[str, bytes]]:
    """The photos in a request, each with its name; `count` is told of the bytes as they come.

    Raises
    ------
    Problem : if there is none, or there are too many, too large or too slow to come
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    most = limits.max_body_bytes + OVERHEAD_BYTES if form else limits.max_bytes
    try:
        async with asyncio.timeout(limits.timeout_s):
            body = await _body(request, most, count)
    except TimeoutError:
        raise Problem(408, "timeout", f"not complete after {limits.timeout_s:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "truncated", "the connection ended early") from None
    photos = await _parts(request, body, limits) if form else [("photo", body)]
    if not any(data for _, data in photos):
        raise Problem(400, "no_photo", "send a photo as the body, or photos as files of a form")
    return photos


async def _body(request: Request, most: int, count: Callable[[int], None]) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise Problem(413, "too_large", f"{announced} bytes announced, {most} allowed")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise Problem(413, "too_large", f"more than {most} bytes")
        count(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _parts(request: Request, body: bytes, limits: UploadLimits) -> list[tuple[str, bytes]]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = _InMemory(request.headers, whole(), max_files=limits.max_photos, max_fields=8)
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, "bad_form", error.message) from None
    except (KeyError, ValueError) as error:
        raise Problem(400, "bad_form", f"no form can be read: {error}") from None
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    found = [(file.filename or "photo", await file.read()) for file in files]
    await form.close()
    for name, data in found:
        if len(data) > limits.max_bytes:
            raise Problem(413, "too_large", f"{name[:80]}: {len(data)} bytes, {limits.max_bytes} allowed")
    return found
