"""Arguments become photos: files, folders in order, addresses with the guards of downloads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from raylike.config import resolve
from raylike.errors import InputDataError
from raylike.scoring import sources
from raylike.scoring.scorer import Unread
from raylike.scoring.sources import Reader
from tests.pictures import photo


class Photos(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/photo.jpg"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(photo() if found else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Photos) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def reader(**sections: object) -> Reader:
    return sources.reader(resolve(dict(sections), environ={}).settings)


def test_a_folder_is_walked_in_order_without_what_hides(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.jpg", ".hidden/d.jpg", "a/.e.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [
        Path(source.place).relative_to(tmp_path).as_posix() for source in sources.expand([str(tmp_path)])
    ]
    assert names == ["a/c.jpg", "b.jpg", "notes.txt"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="no file"):
        sources.expand([str(tmp_path)])


def test_what_is_no_photo_file_has_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(1001))
    (tmp_path / "good").write_bytes(b"abc")
    paths = [str(tmp_path / name) for name in ("pipe", "large", "good", "missing")] + ["nul\0byte"]
    found = reader(download={"max_bytes": 1000}).read(sources.expand(paths))
    assert [data if isinstance(data, bytes) else data.status for _, data in found] == [
        "unreadable", "too_large", b"abc", "gone", "unreadable",
    ]  # fmt: skip


def test_addresses_are_fetched_in_order(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    given = [f"{server}/photo.jpg", str(tmp_path / "file"), f"{server}/none.jpg"]
    found = reader(source={"allow_private_addresses": True}).read(sources.expand(given))
    assert [data if isinstance(data, bytes) else data.status for _, data in found] == [
        photo(),
        b"abc",
        "gone",
    ]


@pytest.mark.parametrize("scheme", ["http", "file", "ftp"])
def test_private_addresses_and_other_schemes_are_refused(server: str, scheme: str) -> None:
    url = f"{server}/photo.jpg".replace("http", scheme, 1)
    ((_, data),) = reader().read(sources.expand([url]))
    assert isinstance(data, Unread)
    assert data.status == "refused_address"


def test_a_password_in_an_address_is_not_shown() -> None:
    (source,) = sources.expand(["https://me:secret@example.org/a.jpg"])
    assert "secret" not in source.name
    assert "secret" in source.place
