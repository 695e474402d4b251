"""What goes past Python lands in the log; what Python says still reaches its reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BODY = """
import os, subprocess, sys
from pathlib import Path
from cli.native_output import native_stderr_in
print("before", file=sys.stderr)
with native_stderr_in(Path(sys.argv[1])):
    os.write(2, b"native\\n")
    subprocess.run([sys.executable, "-c", "import sys; print('child', file=sys.stderr)"], check=True)
    print("python", file=sys.stderr)
os.write(2, b"after\\n")
"""


def run(log: Path) -> str:
    command = [sys.executable, "-c", BODY, str(log)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_native_lines_and_children_go_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "native.log"
    assert run(log) == "before\npython\nafter\n"
    assert log.read_text() == "native\nchild\n"


def test_where_there_is_no_place_for_a_log_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, not a folder")
    assert run(tmp_path / "logs" / "native.log") == "before\nnative\nchild\npython\nafter\n"


def test_only_data_reach_stdout(tmp_path: Path) -> None:
    body = """
import os, sys
from pathlib import Path
from cli.native_output import native_stderr_in, stdout_for_data
with native_stderr_in(Path(sys.argv[1])), stdout_for_data() as data:
    print("library")
    os.write(1, b"native\\n")
    print("data", file=data)
print("path")
"""
    log = tmp_path / "native.log"
    command = [sys.executable, "-c", body, str(log)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "data\npath\n"
    assert sorted(log.read_text().splitlines()) == ["library", "native"]
