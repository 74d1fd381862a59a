"""A browser without a screen for tests of pages: Chromium, driven over its DevTools protocol.

Everything that a page asks anybody for, and everything that its console complains of, is kept.
"""

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# For whoever has no browser: these tests are left out, and say so.
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: PAGES ARE NOT TESTED; apt-get install chromium"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-device-scale-factor=1",
    "--remote-debugging-port=0",
)  # fmt: skip
# Machines that run other tests beside this one draw slowly without a graphics card.
PATIENCE = 90.0


class Browser:
    """One tab. ``requests`` are the addresses of all that pages asked for, ``complaints`` what their consoles said was
    wrong.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        assert CHROMIUM is not None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = self._wait(lambda: self._port(folder / "DevToolsActivePort"), "a browser")
            self._socket = connect(f"ws://127.0.0.1:{port}", max_size=None, proxy=None)
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for part in ("Page", "Runtime", "Network", "Log"):
                self.ask(f"{part}.enable")
            self.ask(
                "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
            )
        except BaseException:
            self.close()
            raise

    _session: str | None = None
    _socket: Any = None

    @staticmethod
    def _port(path: Path) -> str | None:
        port, line, way = (path.read_text() if path.exists() else "").partition("\n")
        return f"{port}{way.strip()}" if line else None

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """One call of the protocol, and its answer."""
        number = next(self._numbers)
        told = {"id": number, "method": method, "params": given}
        self._socket.send(json.dumps(told | ({"sessionId": self._session} if self._session else {})))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        if kind == "Network.webSocketCreated":
            self.requests.append(told["url"])
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"]))[:400])
        if kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.complaints.append(str([each.get("value", each.get("description")) for each in told["args"]])[:400])
        if kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}"[:400])

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"].get("exception")
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait for an expression to become true."""
        self._wait(lambda: self.run(f"Boolean({script})"), script)

    @staticmethod
    def _wait(asked: Callable[[], Any], what: str) -> Any:
        begun = time.monotonic()
        while time.monotonic() < begun + PATIENCE:
            found = asked()
            if found:
                return found
            time.sleep(0.05)
        raise TimeoutError(f"waited {PATIENCE:g} s for {what}")

    def click(self, x: float, y: float) -> None:
        """As a hand with a mouse does."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, words: str) -> None:
        """Click in the middle of the button that says these words."""
        script = (
            "(() => { const found = [...document.querySelectorAll('button,label,[role=tab],[role=option]')].find("
            f"e => e.textContent.trim() === {json.dumps(words)} && e.getBoundingClientRect().width);"
            "if (!found) return null; found.scrollIntoView({block: 'center'});"
            "const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        x, y = self._wait(lambda: self.run(script), f"a button '{words}'")
        self.click(x, y)

    def picture(self, keep: Path | None = None) -> UInt8[np.ndarray, "height width 3"]:
        """What is seen, RGB."""
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        if keep is not None:
            keep.write_bytes(data)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that all tests of a process share."""
    browser = Browser(tmp_path_factory.mktemp("browser"), (1000, 700))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser, on an empty page, with nothing kept."""
    chromium.ask("Page.navigate", url="about:blank")
    chromium.until("location.href === 'about:blank'")
    chromium.requests.clear()
    chromium.complaints.clear()
    return chromium
