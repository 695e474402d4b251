"""A stand-in for S3 in a process of its own, with faults on request.

In a process of its own because the library beneath Delta tables holds Python's interpreter lock while it
waits for S3: a server in a thread of the same process could never answer.

    POST /-/faults   {"fail": 3, "status": 503, "delay_s": 0.2, "lose": 1, "read_only": false}

`fail`: so many requests are refused with `status`. `lose`: so many writes are carried out and not answered.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FAULTS_PATH = "/-/faults"
NONE = {"fail": 0, "status": 503, "delay_s": 0.0, "lose": 0, "read_only": False}
WRITES = frozenset({"PUT", "POST", "DELETE"})
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class FaultyS3:
    """The WSGI application: faults first, then moto. Writes go one at a time, so that conditions hold."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._faults: dict[str, Any] = dict(NONE)
        self._one_write = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == FAULTS_PATH:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self._faults = {**NONE, **json.loads(body)}
            start_response("200 OK", [("Content-Length", "0")])
            return []
        time.sleep(self._faults["delay_s"])
        is_write = environ["REQUEST_METHOD"] in WRITES
        if self._takes("fail"):
            return _refuse(environ, start_response, f"{self._faults['status']} Fault", "SlowDown")
        if is_write and self._faults["read_only"]:
            return _refuse(environ, start_response, "403 Forbidden", "AccessDenied")
        if not is_write:
            return self._app(environ, start_response)  # type: ignore[no-any-return]
        with self._one_write:
            answer = self._app(environ, start_response)
        if self._takes("lose"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer  # type: ignore[no-any-return]

    def _takes(self, fault: str) -> bool:
        self._faults[fault] -= 1
        return bool(self._faults[fault] >= 0)


def _refuse(
    environ: dict[str, Any], start_response: Callable[..., Any], status: str, code: str
) -> list[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))])
    return [text]


class S3Server:
    """The server as tests see it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true"}

    def bucket(self) -> str:
        """Make a fresh, empty bucket and return its address."""
        name = f"studies-{uuid.uuid4().hex[:12]}"
        self._send("PUT", f"/{name}", b"")
        return f"s3://{name}"

    def faults(self, **faults: Any) -> None:
        """From now on, these faults and no others; see the module."""
        self._send("POST", FAULTS_PATH, json.dumps(faults).encode())

    def _send(self, method: str, path: str, body: bytes) -> None:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start the server, and end it with the block."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **CREDENTIALS},
        text=True,
    )
    assert process.stdout is not None
    try:
        yield S3Server(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    app = FaultyS3(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve()
