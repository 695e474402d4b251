"""The page in a real browser: its script runs under its own policy, the map moves, axe-core finds no fault.

One start of headless Chromium does everything: a script that plays the reader is added to a copy of the
page, and to its policy by hash; what it saw comes back in the page's title.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import subprocess
from typing import Any

import pytest

from tests.chromium import BROWSER, WHY_NONE, axe

READER = """
window.requestAnimationFrame = (draw) => setTimeout(draw, 16);  // a page that is dumped gets one frame alone
const seen = {}, at = (selector) => document.querySelector(selector);
const map = at(".map > canvas"), status = at("[role=status]"), select = at("[data-map-filter]");
const press = (key) => map.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
const picture = () => map.toDataURL();
const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)));
addEventListener("load", async () => {
  await frame();
  seen.mapIsThere = !at(".map").hidden;
  const whole = picture();
  press("+"); await frame();
  seen.zooms = picture() !== whole;
  press("0"); await frame();
  seen.showsAllAgain = picture() === whole;
  select.value = "good"; select.dispatchEvent(new Event("change")); await frame();
  seen.filters = picture() !== whole;
  press("n");
  seen.first = status.textContent;
  press("p");
  seen.last = status.textContent;
  const gallery = at("[data-gallery-filter]"), visible = () =>
    [...document.querySelectorAll("#galleries .photo")].filter((photo) => photo.offsetParent).length;
  seen.photos = visible();
  gallery.value = "bad"; gallery.dispatchEvent(new Event("change"));
  seen.badPhotos = visible();
  gallery.value = ""; gallery.dispatchEvent(new Event("change"));
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (window.axe) {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    seen.faults = found.violations.map((fault) => `${fault.impact} ${fault.id}: ${fault.nodes[0].html}`);
  }
  document.title = JSON.stringify(seen);
});
"""


@pytest.fixture(scope="module")
def seen(written: tuple[str, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a reader with a phone sees."""
    if BROWSER is None:
        pytest.skip(WHY_NONE)
    folder = tmp_path_factory.mktemp("browser")
    script = axe().replace("</script", "<\\/script") + READER
    named = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = written[0].replace("script-src ", f"script-src 'sha256-{named}' ", 1)
    page = page.replace("</body>", f"<script>{script}</script></body>")
    (folder / "page.html").write_text(page, encoding="utf-8", newline="")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--window-size=500,900", "--virtual-time-budget=20000", "--dump-dom", (folder / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(html.unescape(title[1]))
    return found


def test_the_map_is_there_and_moves(seen: dict[str, Any]) -> None:
    assert seen["mapIsThere"]
    assert seen["zooms"]
    assert seen["showsAllAgain"]
    assert seen["filters"]


def test_keys_go_through_the_photos_and_say_what_they_are(seen: dict[str, Any]) -> None:
    assert re.fullmatch(
        r"Scored above \d+ % of photos; in truth liked above the median\. A \w+ photo\.", seen["first"]
    )
    assert int(re.findall(r"\d+", seen["first"])[0]) > int(re.findall(r"\d+", seen["last"])[0])


def test_galleries_can_be_filtered(seen: dict[str, Any], written: tuple[str, dict[str, Any]]) -> None:
    gallery = written[1]["gallery"]
    photos = [p for part in ("best", "worst", "continuum", "overrated", "underrated") for p in gallery[part]]
    assert seen["photos"] == len(photos) + gallery["n_ends"]  # the best stand among the hundred, too
    assert 0 < seen["badPhotos"] < seen["photos"]


def test_a_phone_need_not_scroll_sideways(seen: dict[str, Any]) -> None:
    assert seen["wide"] <= 0


def test_axe_finds_no_fault(seen: dict[str, Any]) -> None:
    if "faults" not in seen:
        pytest.skip("axe-core-python is not installed")
    assert seen["faults"] == []
