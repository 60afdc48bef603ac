"""A headless Chromium without network, driven by its DevTools protocol over a pipe: no driver and no package needed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

#: Seconds that one answer may take; a loaded machine is slow.
PATIENCE = 240.0


def executable() -> str | None:
    """Return the path of Chromium or Chrome, None where there is none on PATH."""
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


class Browser:
    """A browser with one page; ``messages`` collects what the page and its frames report. Use it in a ``with`` block."""

    def __init__(self, program: str, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        self.messages: list[dict[str, Any]] = []
        self._profile, self._program, self._size = profile, program, (width, height)
        self._number = 0
        self._buffer = b""
        self._session: str | None = None

    def __enter__(self) -> Browser:
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def hand_over() -> None:
            # The browser reads commands from descriptor 3 and answers on 4; either may be one of the pipes' own.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]
            for number, end in enumerate(ends, start=3):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [
                self._program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-component-update",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--window-size={self._size[0]},{self._size[1]}",
                f"--user-data-dir={self._profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            close_fds=False,
            preexec_fn=hand_over,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        width, height = self._size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; raise ``RuntimeError`` if the browser refuses it."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + PATIENCE
        while True:
            answer = self._next(limit)
            if answer.get("id") != self._number:
                self.messages.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def _next(self, limit: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {PATIENCE:.0f} s.")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended.")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, path: Path) -> None:
        """Open a local file."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, of a promise what it comes to."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']['exception'].get('description')}")
        return done["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true; a condition that never holds is a ``TimeoutError``."""
        limit = time.monotonic() + PATIENCE
        # The page may be replaced while it is waited for, so it is asked again and again.
        while time.monotonic() < limit:
            value = self.evaluate(
                "new Promise(done => { const look = () => { const value = (() => { try { return "
                f"{expression} }} catch (error) {{ return null }} }})();"
                " value || Date.now() > end ? done(value) : setTimeout(look, 30) };"
                " const end = Date.now() + 2000; look() })"
            )
            if value:
                return value
        raise TimeoutError(f"not within {PATIENCE:.0f} s: {expression}")

    def click(self, text: str, *, within: str = "a, label, button") -> None:
        """Click the first visible element among ``within`` (CSS) whose text is ``text``."""
        found = (
            f"[...document.querySelectorAll({json.dumps(within)})]"
            f".find(part => part.innerText.trim() === {json.dumps(text)})"
        )
        self.wait(found + " !== undefined")
        self.evaluate(found + ".click()")

    def errors(self) -> list[str]:
        """Return what was reported as an error so far: exceptions, console.error, and the browser's own."""
        found = []
        for message in self.messages:
            content = message.get("params", {})
            if message.get("method") == "Runtime.exceptionThrown":
                details = content["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif message.get("method") == "Runtime.consoleAPICalled" and content["type"] in ("error", "assert"):
                found.append(" ".join(str(part.get("value", part.get("description"))) for part in content["args"]))
            elif message.get("method") == "Log.entryAdded" and content["entry"]["level"] == "error":
                found.append(content["entry"]["text"])
        return found

    def requested(self) -> list[str]:
        """Return the address of everything that was asked for, but for data inside the page itself."""
        sent = [m["params"]["request"]["url"] for m in self.messages if m.get("method") == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith("data:")]
