"""Every run leaves its events in the workspace's logs, how it ended included, whatever it shows."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.journal import JOURNAL, journal
from cli.progress import JsonEvents, PlainLines
from raylike.errors import ServiceUnavailable

RUN = "20261125T091201-571126"


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]


def test_what_is_shown_is_kept_too(tmp_path: Path) -> None:
    out = io.StringIO()
    for _ in range(2):  # a second run adds to the first
        with journal(tmp_path / "logs", PlainLines(out)) as speaker:
            speaker.run_started(RUN)
            speaker.stage_started("faces")
            speaker.expect(3, "photos")
            speaker.advance(3, undecodable=1)
            speaker.state("slow")
            speaker.note("hello")
            speaker.stage_finished("faces", {"rows_out": 3, "seconds": 1.0})
            speaker.run_finished({"report": "report/index.html"})
    said = events(tmp_path / "logs")
    kinds = ["run_started", "stage_started", "progress", "note", "stage_finished", "done"]
    assert [event["event"] for event in said] == 2 * kinds
    assert {event["run"] for event in said} == {RUN}
    assert out.getvalue().count("hello") == 2


@pytest.mark.parametrize(
    ("error", "code"), [(ServiceUnavailable("no answer", "http://a.test"), 69), (KeyboardInterrupt(), 130)]
)
def test_how_a_run_ended_is_kept(tmp_path: Path, error: BaseException, code: int) -> None:
    def run() -> None:
        with journal(tmp_path, PlainLines(io.StringIO())) as speaker:
            speaker.run_started(RUN)
            raise error

    with pytest.raises(type(error)):
        run()
    assert [(event["event"], event["run"]) for event in events(tmp_path)] == [
        ("run_started", RUN),
        ("error", RUN),
    ]
    assert events(tmp_path)[-1]["exit_code"] == code


def test_a_run_goes_on_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = io.StringIO()
    with journal(tmp_path / "file" / "logs", JsonEvents(out)) as speaker:
        speaker.note("hello")
    assert "hello" in out.getvalue()
    (tmp_path / JOURNAL).symlink_to("/dev/full")
    with journal(tmp_path, JsonEvents(out)) as speaker:
        speaker.note("still here")
    assert "still here" in out.getvalue()
