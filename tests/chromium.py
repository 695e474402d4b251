"""A headless Chromium with one tab, driven as a person would: it drops files, pastes, points, presses keys.

Over Chromium's own DevTools protocol, which takes no driver and no package besides aiohttp: Playwright's
wheel is 165 MB unpacked. What a page complains of (errors, refusals by its policy) is kept in `complaints`.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
WHY_NONE = f"no browser here: none of {', '.join(NAMES)}"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE_S = 30.0
"""For anything that a page is to do; a start of Chromium takes about a second."""
POLL_S = 0.05
COPY_ONLY = 1
"""The effect of a drag, in the protocol's bits."""


def axe() -> str:
    """axe-core's script, if the package that brings it is installed."""
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        return ""
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")


class Tab:
    """A page in the browser."""

    def __init__(self, run: Callable[[Any], Any], socket: aiohttp.ClientWebSocketResponse) -> None:
        self._run = run
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol; fails the test where Chromium refuses it."""
        found: dict[str, Any] = self._run(asyncio.wait_for(self._call(method, parameters), PATIENCE_S))
        return found

    def open(self, address: str) -> None:
        """Go there, and wait until all of it has been loaded."""
        self.call("Page.navigate", url=address)
        self.until(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression, or the promise that it is, comes to in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait for an expression to be true in the page; what it came to."""
        end = time.monotonic() + PATIENCE_S
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"never came true: {expression}\n{self.complaints}"
            time.sleep(POLL_S)
        return found

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is in the window, once it has been scrolled to."""
        box = self.value(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            "it.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = it.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return box[0], box[1]

    def drop(self, selector: str, *files: Path) -> None:
        """Drag files over an element and let go."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": COPY_ONLY}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def paste(self, png: bytes) -> None:
        """Copy a picture and press Ctrl+V."""
        self.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        self.call("Page.bringToFront")
        self.value(
            f"(async () => {{ const bytes = Uint8Array.from(atob('{base64.b64encode(png).decode()}'),"
            "(letter) => letter.charCodeAt(0));"
            "await navigator.clipboard.write([new ClipboardItem({'image/png':"
            "new Blob([bytes], {type: 'image/png'})})]); })()"
        )
        key = {"key": "v", "code": "KeyV", "modifiers": 2, "windowsVirtualKeyCode": 86}
        self.call("Input.dispatchKeyEvent", type="keyDown", commands=["paste"], **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`mouseMoved`, `mousePressed`, `mouseReleased` or `mouseWheel`."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """The left button, down and up."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key, on what has the focus."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, full: bool = False) -> bytes:
        """What is to be seen, as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        return base64.b64decode(answer["data"])

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._listen(message.get("method", ""), message.get("params", {}))

    def _listen(self, event: str, told: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in {"error", "assert", "warning"}:
            self.complaints.append(" ".join(str(part.get("value")) for part in told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(told["entry"]["text"])


@contextmanager
def opened(profile: Path, width: int = 900, height: int = 1000) -> Iterator[Tab]:
    """A tab of a new browser, which ends with the block.

    Parameters
    ----------
    profile : an empty folder
    width, height : of the window, px
    """
    assert BROWSER is not None
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        "about:blank",
    ]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser,
        asyncio.Runner() as runner,
    ):
        try:
            session = runner.run(_session())
            try:
                address = runner.run(_tab(session, _port(profile, browser)))
                socket = runner.run(_connect(session, address))
                yield Tab(runner.run, socket)
                runner.run(socket.close())
            finally:
                runner.run(session.close())
        finally:
            browser.terminate()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _connect(session: aiohttp.ClientSession, address: str) -> aiohttp.ClientWebSocketResponse:
    return await session.ws_connect(address, max_msg_size=0)


async def _tab(session: aiohttp.ClientSession, port: int) -> str:
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = await answer.json(content_type=None)
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")


def _port(profile: Path, browser: subprocess.Popen[bytes]) -> int:
    """Where Chromium listens: it writes that down once it does."""
    told, end = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_S
    while not (told.exists() and os.path.getsize(told)):
        assert browser.poll() is None, "Chromium has ended"
        assert time.monotonic() < end, "Chromium does not start"
        time.sleep(POLL_S)
    return int(told.read_text(encoding="ascii").split()[0])
