"""What a run says on a terminal, in a log and to a program."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli.progress import JsonEvents, LiveLine, PlainLines, Speaker, Tally, duration, finished_line, speaking
from raylike.progress import Progress


class Clock:
    """A clock that stands still until it is told otherwise."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


SUMMARY: dict[str, Any] = {
    "rows_in": 2400, "rows_out": 2400, "seconds": 27.1, "up_to_date": False,
    "skipped": {}, "failed": {"undecodable": 3}, "notes": ["device: cpu (no GPU found)"],
}  # fmt: skip


def work(progress: Progress, clock: Clock, seconds: int = 27) -> None:
    """A stage of 2,400 photos, advancing once a second."""
    progress.stage_started("faces")
    progress.expect(2400, "photos")
    for _ in range(seconds):
        clock.now_s += 1
        progress.advance(88, undecodable=0)
    progress.advance(2400 - 88 * seconds, undecodable=3)
    progress.stage_finished("faces", SUMMARY)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_finished_stage_leaves_one_line() -> None:
    tally = Tally("faces", 0.0, unit="photos", done=2400)
    assert finished_line(tally, SUMMARY) == "faces      2,400 photos in 27.1 s (89/s), 3 undecodable"


def test_a_stage_with_nothing_to_do_says_so() -> None:
    assert finished_line(Tally("faces", 0.0), {"up_to_date": True, "rows_out": 5}) == "faces      up to date"


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    work(PlainLines(out, clock), clock)
    assert out.getvalue().splitlines() == [
        "faces      880/2,400 photos, 88/s, 17.3 s left",
        "faces      1,760/2,400 photos, 88/s, 7.3 s left",
        "faces      2,400 photos in 27.1 s (89/s), 3 undecodable",
        "           device: cpu (no GPU found)",
    ]


def test_a_silent_stage_gets_its_lines_too() -> None:
    out, clock = io.StringIO(), Clock()
    plain = PlainLines(out, clock)
    plain.stage_started("classify")
    for _ in range(25):
        clock.now_s += 1
        plain.tick()
    assert out.getvalue().splitlines() == ["classify   10.0 s so far", "classify   20.0 s so far"]


def test_programs_get_one_json_object_a_line_and_progress_twice_a_second_at_most() -> None:
    out, clock = io.StringIO(), Clock()
    events = JsonEvents(out, clock)
    events.run_started("20261125T091201-571126")
    events.note("hello")
    events.stage_started("faces")
    events.expect(1000, "photos")
    for _ in range(1000):
        clock.now_s += 0.01
        events.advance()
    events.stage_finished("faces", SUMMARY)
    events.run_finished({"report": "report/index.html"})
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    kinds = [event["event"] for event in said]
    assert kinds[:3] == ["run_started", "note", "stage_started"]
    assert {event["run"] for event in said} == {"20261125T091201-571126"}
    times = [datetime.fromisoformat(event["time"]) for event in said]
    assert times == sorted(times)
    assert times[0].utcoffset() == timedelta(0)
    assert kinds[-2:] == ["stage_finished", "done"]
    progress = [event for event in said if event["event"] == "progress"]
    assert 15 <= len(progress) <= 21
    assert progress[-1]["rate_hz"] == pytest.approx(100, rel=0.02)
    assert said[-2]["failed"] == {"undecodable": 3}
    assert said[-1]["report"] == "report/index.html"


class Terminal(io.StringIO):
    """Text that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_keeps_the_summary_and_nothing_of_the_moving_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, clock = Terminal(), Clock()
    live = LiveLine(out, clock)
    live.start()
    work(live, clock)
    live.stop()
    assert "faces      2,400 photos in 27.1 s (89/s), 3 undecodable" in out.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    out, clock = Terminal(), Clock()
    live = LiveLine(out, clock)
    live.start()
    work(live, clock)
    live.stop()
    assert "\x1b[3" not in out.getvalue(), "a colour"


@pytest.mark.parametrize(
    ("as_json", "err", "kind"),
    [(True, Terminal(), JsonEvents), (False, Terminal(), LiveLine), (False, io.StringIO(), PlainLines)],
)
def test_the_speaker_fits_the_listener(as_json: bool, err: io.StringIO, kind: type[Speaker]) -> None:
    with speaking(as_json=as_json, err=err, out=io.StringIO()) as speaker:
        assert type(speaker) is kind


def test_how_a_stage_stands_is_said_beside_how_far_it_is() -> None:
    out, events, clock = io.StringIO(), io.StringIO(), Clock()
    for speaker in (PlainLines(out, clock), JsonEvents(events, clock)):
        clock.now_s = 100
        speaker.stage_started("finetune")
        speaker.expect(40, "iterations")
        speaker.state("loss 0.612")
        clock.now_s += 10
        speaker.advance(20)
    assert out.getvalue() == "finetune   20/40 iterations, 2/s, 10.0 s left, loss 0.612\n"
    assert json.loads(events.getvalue().splitlines()[-1])["state"] == "loss 0.612"
