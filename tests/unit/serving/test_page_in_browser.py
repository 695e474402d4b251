"""What somebody does with the served page: drops photos, pastes one, reads what became of them.

Real input in a real browser, under the page's own policy; who scores is a model that likes green.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn

from raylike.scoring.results import Neighbour, PhotoScore, Wanted
from raylike.serving.app import create_app
from tests import chromium
from tests.chromium import Tab
from tests.pictures import photo
from tests.unit.scoring.fakes import green_scorer, patched
from tests.unit.serving.test_app import ABOUT, LIMITS, ready

pytestmark = pytest.mark.skipif(chromium.BROWSER is None, reason=chromium.WHY_NONE)
DONE = "document.getElementById('status').textContent.startsWith('Done')"
TOLD = "[...document.querySelectorAll('#results > li')].map((item) => item.textContent)"
COLOURS = """(() => {
  const canvas = document.querySelector('#results canvas'), pen = canvas.getContext('2d');
  const {data} = pen.getImageData(0, 0, canvas.width, canvas.height), found = {};
  for (let at = 0; at < data.length; at += 4) {
    const name = `${data[at]} ${data[at + 1]} ${data[at + 2]}`;
    found[name] = (found[name] ?? 0) + 1;
  }
  return found;
})()"""
CROP_GREEN = "0 200 120"
"""Of the frame around the best crop; no other pixel of these photos has it."""


NEAR = (Neighbour("p1", 0.93, True, photo(160, 160)), Neighbour("", 0.5, False, None))
FAULTS = """axe.run(document, {resultTypes: ["violations"]}).then((found) =>
  found.violations.map((fault) => `${fault.impact} ${fault.id}: ${fault.nodes[0].html}`))"""


async def score(photos: Sequence[tuple[str, bytes]], wanted: Wanted) -> list[PhotoScore]:
    """By how green they are; all are alike to the same two."""
    found = green_scorer().score(photos, wanted)
    return [replace(one, neighbours=NEAR if wanted.neighbours else None) for one in found]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = create_app(score, ready, ABOUT, LIMITS)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium.opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(browser: Tab, address: str) -> Iterator[Tab]:
    """The page, newly opened; at the end it must not have complained."""
    browser.open(address)
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    for name, side in (("small.png", 60), ("large.png", 200), ("middle.png", 120)):
        (folder / name).write_bytes(patched(256, 256, 0, 0, side))
    (folder / "letter.jpg").write_text("Dear all, this is no photo.\n", encoding="utf-8")
    return {path.name: path for path in folder.iterdir()}


def test_a_dropped_photo_is_scored_and_shows_heat_and_crop(page: Tab, photos: dict[str, Path]) -> None:
    page.drop("#drop", photos["small.png"])
    page.until(DONE)
    (told,) = page.value(TOLD)
    assert re.search(r"small\.png.*Better than \d+ % of photos from accounts like these", told)
    assert "Raised by top left" in told
    assert re.search(r"The best crop, framed in green, is better than \d+ %", told)
    colours = page.value(COLOURS)
    assert colours[CROP_GREEN] > 100
    raised = [c for c in colours if (rgb := [*map(int, c.split())])[0] > 60 > rgb[2]]
    assert len(raised) > 10, "the heat map's orange fades, so it has many shades"
    assert page.value("document.querySelector('#results canvas').getAttribute('aria-label')")


def test_several_are_shown_the_best_first_and_what_is_no_photo_says_so(
    page: Tab, photos: dict[str, Path]
) -> None:
    page.drop("#drop", *(photos[name] for name in ("small.png", "letter.jpg", "large.png", "middle.png")))
    page.until(DONE)
    told = page.value(TOLD)
    names = [re.findall(r"\w+\.(?:png|jpg)", text)[0] for text in told]
    assert names == ["large.png", "middle.png", "small.png", "letter.jpg"]
    assert [text[:2] for text in told[:3]] == ["1.", "2.", "3."]
    points = [int(re.findall(r"Better than (\d+)", text)[0]) for text in told[:3]]
    assert points == sorted(points, reverse=True)
    assert points[0] > points[2]
    assert told[3].startswith("letter.jpg: not scored, ")


def test_a_pasted_photo_is_scored(page: Tab, photos: dict[str, Path]) -> None:
    page.paste(photos["middle.png"].read_bytes())
    page.until(DONE)
    (told,) = page.value(TOLD)
    assert re.search(r"Better than \d+ %", told)


def test_a_text_file_by_a_photos_name_is_refused_in_words(page: Tab, photos: dict[str, Path]) -> None:
    page.drop("#drop", photos["letter.jpg"])
    said = page.until("/^Not scored/.test(document.getElementById('status').textContent) && "
                      "document.getElementById('status').textContent")  # fmt: skip
    assert re.fullmatch(r"Not scored: .*\w\.", said)
    assert page.value(TOLD) == []
    # The browser itself notes every answer that is an error; this one is meant.
    assert [line for line in page.complaints if "415" not in line] == []
    page.complaints.clear()


def test_the_next_photo_takes_the_place_of_the_last(page: Tab, photos: dict[str, Path]) -> None:
    page.drop("#drop", photos["small.png"])
    page.until(DONE)
    page.drop("#drop", photos["large.png"])
    page.until(f"{DONE} && /large/.test({TOLD}[0])")
    assert len(page.value(TOLD)) == 1


def test_neighbours_are_shown_with_what_became_of_them(page: Tab, photos: dict[str, Path]) -> None:
    page.drop("#drop", photos["small.png"])
    page.until(DONE)
    entries = "[...document.querySelectorAll('figure li')]"
    assert page.value(f"{entries}.map((entry) => entry.textContent)") == [
        "0.93, liked more than most",
        "0.50, liked less than most",
    ]
    assert page.value(f"{entries}.map((entry) => entry.querySelectorAll('canvas').length)") == [1, 0]


def test_it_fits_a_phone_and_axe_finds_no_fault(page: Tab, photos: dict[str, Path]) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    page.drop("#drop", photos["small.png"], photos["large.png"])
    page.until(DONE)
    assert page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    if script := chromium.axe():
        page.value(script)
        assert page.value(FAULTS) == []
