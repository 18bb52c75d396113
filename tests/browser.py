"""A headless Chromium, driven through its own protocol over a pipe: no package is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
ABSENT = "no Chromium is installed here: install chromium to test the page as a reader sees it"


class Browser:
    """One page in one browser; ``errors`` holds what its console complained about."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte.
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        options += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_child} 4>&{from_child}', "chromium", CHROMIUM, *options,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_child, from_child), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._buffer, self._number, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._session = ""
        self.send("Browser.close")
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium went away"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        values = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(values["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        self.loaded = message.get("method") == "Page.loadEventFired" or getattr(self, "loaded", False)
        return message

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, fragment: str = "") -> None:
        """Show a file, and wait until it is loaded; ``fragment`` is what its address ends with after a #."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.errors.clear()
        self.requests.clear()
        self.loaded = False
        self.send("Page.navigate", url=path.resolve().as_uri() + (f"#{fragment}" if fragment else ""))
        while not self.loaded:
            self._next()
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def contrast(self, selectors: list[str]) -> dict[str, float]:
        """Return the contrast (WCAG 2.2) between the text and the ground of the first element of each selector."""
        found: dict[str, float] = self.run(
            """((names) => {
              const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
              const light = (colours) => {
                canvas.clearRect(0, 0, 1, 1);
                for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
                  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const grounds = (node) => {
                const under = [];
                for (let n = node; n; n = n.parentElement) under.unshift(getComputedStyle(n).backgroundColor);
                return under;
              };
              return Object.fromEntries(names.filter((name) => document.querySelector(name)).map((name) => {
                const node = document.querySelector(name), under = grounds(node);
                const a = light(under), b = light([...under, getComputedStyle(node).color]);
                return [name, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
              }));
            })"""
            f"({json.dumps(selectors)})"
        )
        return found

    def picture(self, path: Path) -> None:
        """Save what the whole page looks like."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
