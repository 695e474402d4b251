"""A folder of photos, broken files and files that mean harm, with the CSV that lists them for an import.

Every file is of a kind whose fate is known: the import's reason, or the status that download gives it, or
faces where the file must be decoded to tell.
"""

from __future__ import annotations

import csv
import gzip
import os
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tests.pictures import encode, many_scans, photo, png_bomb, scene

NO_SUCH_FILE = "no such file"
UNDECODABLE = "undecodable"
LARGEST_NAME = 255
"""Bytes that a file's name may have on Linux."""

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Kind:
    """One sort of file: how to write it, and what becomes of it.

    Attributes
    ----------
    fate : status in `images` or, for `UNDECODABLE`, in `faces`; or the reason for which `raylike import`
        leaves it out
    write : puts the file at a path; nothing for what is not there
    name : of the file, with `{i}` for its number
    later : done to the file between import and download
    """

    title: str
    fate: str
    write: Write
    name: str = "{i}.jpg"
    later: Write | None = None


@dataclass(frozen=True)
class Folder:
    """What was written.

    Attributes
    ----------
    table : the CSV
    files : path, kind of each file that the CSV names once and without another fault
    bad_rows : the import's reason for each other row
    """

    table: Path
    files: tuple[tuple[Path, Kind], ...]
    bad_rows: tuple[str, ...]

    @property
    def fates(self) -> Counter[str]:
        """How many rows are to end by which cause."""
        return Counter([*(kind.fate for _, kind in self.files), *self.bad_rows])

    def turn(self) -> None:
        """Change the files that change after they were imported."""
        for path, kind in self.files:
            if kind.later:
                kind.later(path)


def write_folder(folder: Path, n: int) -> Folder:
    """Write `n` files, the kinds in turn, and `photos.csv` beside the folder, which names them all."""
    folder.mkdir()
    files: list[tuple[Path, Kind]] = []
    rows: list[dict[str, object]] = []
    for i, kind in enumerate(islice(cycle(KINDS), n)):
        name = kind.name.format(i=f"{i:04d}")
        path = folder / name
        if "\0" not in name:
            path.parent.mkdir(exist_ok=True)
            kind.write(path)
        files.append((path, kind))
        rows.append({"image": name, "likes": i, "followers": 1000, "user_id": f"user{i // 3}"})
    wrong = bad_rows(rows[0])
    table = folder.parent / "photos.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([*rows, *wrong.values()])
    return Folder(table, tuple(files), tuple(wrong))


def bad_rows(good: dict[str, object]) -> dict[str, dict[str, object]]:
    """Rows in which something else is wrong than the photo, by the import's reason."""
    return {
        "duplicate image": good,
        "likes negative": {**good, "image": "a.jpg", "likes": -1},
        "likes not a number": {**good, "image": "b.jpg", "likes": "many"},
        "zero followers": {**good, "image": "c.jpg", "followers": 0},
        "no image": {**good, "image": " "},
    }


def contents(data: bytes) -> Write:
    """The same bytes each time."""

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def varied(make: Callable[[int], bytes]) -> Write:
    """Bytes by the number that the file's name begins with, so that few files of a kind are copies."""

    def write(path: Path) -> None:
        path.write_bytes(make(int(path.name[:4])))

    return write


def absent(_: Path) -> None:
    """Write nothing."""


def padded(path: Path) -> None:
    """A photo with 30 MB of nothing behind it, which takes no room on disk."""
    path.write_bytes(photo())
    os.truncate(path, 30_000_000)


def claims_size(width: int, height: int) -> bytes:
    """A JPEG whose header states another size than it has."""
    data = photo()
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def sixteen_bit() -> bytes:
    """A gray PNG with 65,536 shades."""
    return encode((np.arange(200 * 300, dtype=np.uint32).reshape(200, 300) % 65536).astype(np.uint16), "PNG")


def pipe_instead(path: Path) -> None:
    """A named pipe in the file's place: whoever opens it would wait for a writer for ever."""
    path.unlink()
    os.mkfifo(path)


def folder_instead(path: Path) -> None:
    """A folder in the file's place."""
    path.unlink()
    path.mkdir()


def loop_instead(path: Path) -> None:
    """A link to itself in the file's place."""
    path.unlink()
    path.symlink_to(path)


def unreadable(path: Path) -> None:
    """A photo that nobody may read."""
    path.write_bytes(photo())
    path.chmod(0)


def truncated(kind: str) -> bytes:
    """The first half of a file."""
    data = encode(scene(640, 480), kind)
    return data[: len(data) // 2]


def good(i: int) -> bytes:
    return photo(320, 240, shade=i % 50)


RANDOM = np.random.default_rng(0).bytes(20_000)
HTML = b"<!DOCTYPE html><html><title>Log in</title></html>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"

KINDS = (
    Kind("photo", "ok", varied(good)),
    Kind("photo", "ok", varied(good), "sub folder/{i}.jpg"),
    Kind("photo named .txt", "ok", varied(good), "{i}.txt"),
    Kind("line break in its name", "ok", varied(good), "{i} line\nbreak.jpg"),
    Kind("other scripts in its name", "ok", varied(good), "{i} çaña 写真 🙂 \u202egnp.jpg"),
    Kind("quotes and commas in its name", "ok", varied(good), '{i} "a", b; c.jpg'),
    Kind("the longest name", "ok", varied(good), "{i}" + "x" * (LARGEST_NAME - 8) + ".jpg"),
    Kind("a copy", "ok", contents(photo(shade=7))),
    Kind("CMYK", "ok", varied(lambda i: encode(scene(shade=i % 50), mode="CMYK"))),
    Kind("progressive", "ok", varied(lambda i: encode(scene(shade=i % 50), progressive=True))),
    Kind("turned by EXIF", "ok", varied(lambda i: encode(scene(), orientation=1 + i % 8))),
    Kind("16 bit", "ok", contents(sixteen_bit()), "{i}.png"),
    Kind("transparent", "ok", varied(lambda i: encode(scene(shade=i % 50), "PNG", "RGBA")), "{i}.png"),
    Kind("palette", "ok", varied(lambda i: encode(scene(shade=i % 50), "PNG", "P")), "{i}.png"),
    Kind("WebP", "ok", varied(lambda i: encode(scene(shade=i % 50), "WEBP")), "{i}.webp"),
    Kind("a page behind the photo", "ok", contents(photo() + HTML)),
    Kind("link to a photo", "ok", lambda path: path.symlink_to(path.parent / "0000.jpg")),
    Kind("no bytes", "not_an_image", contents(b"")),
    Kind("one byte", "not_an_image", contents(b"\xff")),
    Kind("the first bytes of a JPEG", "not_an_image", contents(b"\xff\xd8\xff")),
    Kind("the first bytes of a PNG", "not_an_image", contents(b"\x89PNG\r\n\x1a\n")),
    Kind("a page", "not_an_image", contents(HTML)),
    Kind("SVG", "not_an_image", contents(SVG)),
    Kind("GIF", "not_an_image", contents(encode(scene(), "GIF"))),
    Kind("BMP", "not_an_image", contents(encode(scene(), "BMP"))),
    Kind("TIFF", "not_an_image", contents(encode(scene(), "TIFF"))),
    Kind("PDF", "not_an_image", contents(b"%PDF-1.7\n" + RANDOM)),
    Kind("gzip of a photo", "not_an_image", contents(gzip.compress(photo()))),
    Kind("gzip bomb", "not_an_image", contents(gzip.compress(bytes(10_000_000)))),
    Kind("random bytes", "not_an_image", contents(RANDOM)),
    Kind("link to /etc/passwd", "not_an_image", lambda path: path.symlink_to("/etc/passwd")),
    Kind("JPEG of size 0", "not_an_image", contents(claims_size(0, 0))),
    Kind("half a JPEG", "truncated", contents(truncated("JPEG"))),
    Kind("half a PNG", "truncated", contents(truncated("PNG"))),
    Kind("half a WebP", "truncated", contents(truncated("WEBP"))),
    Kind(
        "random bytes behind a PNG's header",
        UNDECODABLE,
        contents(encode(scene(), "PNG")[:60] + RANDOM + b"IEND"),
    ),
    Kind("600 scans", "too_many_scans", contents(many_scans(600))),
    Kind("1 x 1 px", "too_small", contents(photo(1, 1))),
    Kind("2,000 x 3 px", "too_small", contents(photo(2000, 3))),
    Kind("PNG of 50,000 x 50,000 px", "too_many_pixels", contents(png_bomb())),
    Kind("JPEG that claims 65,535 x 65,535 px", "too_many_pixels", contents(claims_size(65535, 65535))),
    Kind("30 MB", "too_large", padded),
    Kind("nobody may read it", "ok" if os.geteuid() == 0 else "unreadable", unreadable),
    Kind("deleted after import", "gone", varied(good), later=Path.unlink),
    Kind("a pipe after import", "not_an_image", varied(good), later=pipe_instead),
    Kind("a folder after import", "unreadable", varied(good), later=folder_instead),
    Kind("a loop after import", "unreadable", varied(good), later=loop_instead),
    Kind("not there", NO_SUCH_FILE, absent),
    Kind("longer than names can be", NO_SUCH_FILE, absent, "{i}" + "x" * 300 + ".jpg"),
    Kind("a zero byte in its name", NO_SUCH_FILE, absent, "{i}\0.jpg"),
    Kind("a pipe", NO_SUCH_FILE, os.mkfifo),
    Kind("a folder", NO_SUCH_FILE, Path.mkdir),
    Kind("a loop of links", NO_SUCH_FILE, lambda path: path.symlink_to(path)),
    Kind("a link to nothing", NO_SUCH_FILE, lambda path: path.symlink_to("/nowhere")),
)
"""Every kind once. The first is an ordinary photo."""
