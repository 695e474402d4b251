"""The served page in a real browser: photos are scored, ranked and drawn under the page's own policy.

A script that plays the visitor comes from the server, as the policy asks; and sends back what it saw.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from raylike.serving.app import create_app, rendered
from tests.unit.report.test_browser import BROWSER, BROWSERS, axe
from tests.unit.scoring.fakes import patched
from tests.unit.serving.test_app import ABOUT, LIMITS, ready, score

VISITOR = """
addEventListener("load", async () => {
  const seen = {}, files = [];
  for (const [name, side] of [["small", 60], ["large", 200]]) {
    const answer = await fetch(`/photo?side=${side}`);
    files.push(new File([await answer.blob()], name, {type: "image/png"}));
  }
  files.push(new File(["no photo"], "bad", {type: "image/png"}));
  await score(files);
  seen.status = status.textContent;
  seen.told = [...results.children].map((item) => item.textContent);
  const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
  seen.size = [canvas.width, canvas.height];
  seen.colours = new Set(pen.getImageData(0, 0, canvas.width, canvas.height).data).size;
  const pasted = new DataTransfer();
  pasted.items.add(files[0]);
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: pasted}));
  seen.pasting = status.textContent;
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (window.axe) {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    seen.faults = found.violations.map((fault) => `${fault.impact} ${fault.id}: ${fault.nodes[0].html}`);
  }
  await fetch("/seen", {method: "POST", body: JSON.stringify(seen)});
});
"""


class Visit:
    """The address to visit, and what the visitor saw there."""

    def __init__(self) -> None:
        self.address = ""
        self.over = threading.Event()
        self.seen: dict[str, Any] = {}


@pytest.fixture
def visit() -> Iterator[Visit]:
    app = create_app(score, ready, ABOUT, LIMITS)
    found = Visit()

    @app.get("/visit")
    async def page() -> HTMLResponse:
        page = rendered("page.html.j2", about=ABOUT, limits=LIMITS)
        return HTMLResponse(page.replace("</head>", '<script src="/visitor.js" defer></script></head>'))

    @app.get("/visitor.js")
    async def visitor() -> Response:
        return Response(axe() + VISITOR, media_type="text/javascript")

    @app.get("/photo")
    async def photo(side: int) -> Response:
        return Response(patched(256, 256, 0, 0, side), media_type="image/png")

    @app.post("/seen")
    async def seen(request: Request) -> None:
        found.seen = json.loads(await request.body())
        found.over.set()

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        found.address = f"http://127.0.0.1:{listening.getsockname()[1]}/visit"
        yield found
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(BROWSER is None, reason=f"no browser here: none of {', '.join(BROWSERS)}")
def test_a_visitor_sees_photos_scored_ranked_and_drawn(visit: Visit, tmp_path: Path) -> None:
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--window-size=500,900", "--remote-debugging-port=0", visit.address,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        came_back = visit.over.wait(120)
        browser.terminate()
    assert came_back
    seen = visit.seen
    assert seen["status"] == "Done, the best first."
    large, small, bad = seen["told"]
    assert re.match(r"1\. large.*Better than \d+ % of photos.*Raised by", large)
    assert small.startswith("2. small")
    assert bad.startswith("bad: not scored, ")
    assert seen["size"] == [256, 256]
    assert seen["colours"] > 10
    assert seen["pasting"] == "Looking at the photo…"
    assert seen["wide"] <= 0
    assert seen.get("faults", []) == []
