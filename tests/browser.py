"""A headless Chromium that tests open a page in, over its own pipe: no driver, no port, no network."""

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")


class Tab:
    """A page that is open: what it asked for and complained of, by what a person can do."""

    def __init__(self, asks, answers, profile: Path):
        self._asks, self._answers, self._profile, self._ids = asks, answers, profile, itertools.count(1)
        self.events: list[dict] = []
        self._session = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        asked = next(self._ids)
        request = {"id": asked, "method": method, "params": params, **self._session}
        self._asks.write(json.dumps(request).encode() + b"\0")
        self._asks.flush()
        return self._read(lambda message: message.get("id") == asked)["result"]

    def _read(self, wanted) -> dict:
        while True:
            text = bytearray()
            while (byte := self._answers.read(1)) != b"\0":
                assert byte, "Chromium has ended"
                text += byte
            message = json.loads(text)
            assert "error" not in message, message
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message

    def open(self, path: Path, width: int = 1440, height: int = 900, media: str = "", dark: bool = False) -> None:
        metrics = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read(lambda message: message.get("method") == "Page.loadEventFired")
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    def run(self, script: str):
        """The value of an expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def choose(self, selector: str, value: str) -> None:
        """Set a field as a person does, so that its form hears of it."""
        element = f"document.querySelector({json.dumps(selector)})"
        events = "".join(
            f"{element}.dispatchEvent(new Event('{name}', {{bubbles: true}}));" for name in ("input", "change")
        )
        self.run(f"{element}.value = {json.dumps(value)}; {events} 0")

    def point(self, selector: str, click: bool = False) -> None:
        """Move the mouse to the middle of an element, or click there."""
        box = f"document.querySelector({json.dumps(selector)})"
        x, y = self.run(
            f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}}), (() => {{ const b = {box}"
            ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        code = {"Enter": 13, "Tab": 9}.get(key, 0)
        more = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, whole: bool = True) -> bytes:
        """The page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def print(self) -> bytes:
        """The page as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def requests(self) -> list[str]:
        """What was asked for since the page was opened."""
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]  # fmt: skip

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the content-security-policy refused."""
        logged = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        thrown = [str(event["params"]) for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        return [entry["text"] for entry in logged if entry["level"] in ("error", "warning")] + thrown


@contextmanager
def open_browser(profile: Path) -> Iterator[Tab]:
    """A browser with a profile of its own, ended with the block."""
    asks_from, asks_to = os.pipe()
    answers_from, answers_to = os.pipe()

    def place_pipes() -> None:
        ends = os.dup(asks_from), os.dup(answers_to)  # out of the way of 3 and 4
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(words, preexec_fn=place_pipes, close_fds=False, stderr=subprocess.DEVNULL)
    os.close(asks_from)
    os.close(answers_to)
    with os.fdopen(asks_to, "wb") as asks, os.fdopen(answers_from, "rb") as answers:
        try:
            yield Tab(asks, answers, profile)
        finally:
            process.terminate()
            process.wait(30)
