"""A real browser, headless Chromium, told what to do by its DevTools protocol over a pipe.

Source: Chrome DevTools Protocol (chromedevtools.github.io/devtools-protocol), domains Target, Page, Runtime,
Log, Network, Input, Emulation; ``--remote-debugging-pipe``: requests are read from descriptor 3, answers and
events written to 4, each a JSON object and a NUL.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.waiting import HANG_GUARD_S

PROGRAMS: Final = ("chromium-headless-shell", "chromium", "google-chrome")


def browser_program() -> str | None:
    """The browser of this machine, or ``None``."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page in a browser of its own.

    Attributes:
        troubles: What the console has of the page: exceptions, errors, warnings, breaches of its policy.
        requests: Addresses that it asked for.
    """

    def __init__(self, folder: Path, *, width: int = 1280, height: int = 900) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self._folder = folder
        self._size = (width, height)
        self._number = 0
        self._received = bytearray()
        self._events: deque[dict[str, Any]] = deque()
        self._session: str | None = None

    def __enter__(self) -> Self:
        program = browser_program()
        if program is None:
            raise FileNotFoundError("no Chromium")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        # The descriptors are said by their numbers, which a shell can give them; sh only those of one digit.
        words = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._folder / 'profile'}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", program, *words],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(self._folder)},
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, TimeoutError, EOFError):
            self._session = None
            self._tell("Browser.close")
        self._end()

    def _end(self) -> None:
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _attach(self) -> None:
        width, height = self._size
        target = self._tell("Target.createTarget", url="about:blank", width=width, height=height)["targetId"]
        self._session = self._tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._tell(f"{domain}.enable")
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    # ------------------------------------------------------------ what a test does

    def open(self, file: Path, *, scheme: str = "light", script: bool = True) -> None:
        """Load a file; dark or light."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._tell("Emulation.setEmulatedMedia", features=features)
        self._tell("Emulation.setScriptExecutionDisabled", value=not script)
        self._tell("Page.navigate", url=file.as_uri())
        self._await_event("Page.loadEventFired")
        if script:
            self.settle()

    def settle(self) -> None:
        """Wait until what was asked to be drawn is drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; of a promise, what it gives.

        The page's policy holds for the page; this comes by the debugger.
        """
        told = self._tell(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"])
        return told["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + HANG_GUARD_S
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            self.settle()

    def type_into(self, selector: str, text: str) -> None:
        """Put the cursor into a field, clear it, and type."""
        self.evaluate(
            f"(() => {{ const f = document.querySelector({json.dumps(selector)});"
            " f.focus(); f.select(); })()"
        )
        self._tell("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = False) -> None:
        """Send ``mouseMoved``, ``mousePressed`` or ``mouseReleased`` at a place of the window."""
        button = {} if kind == "mouseMoved" and not pressed else {"button": "left", "clickCount": 1}
        self._tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=int(pressed), **button)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move and let go."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, pressed=True)
        self.mouse("mouseMoved", *end, pressed=True)
        self.mouse("mouseReleased", *end)
        self.settle()

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write what is seen, or all of the page, as PNG."""
        told = self._tell("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = self._tell("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            told = self._tell("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(told["data"]))

    # ------------------------------------------------------------ the pipe

    def _tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        request: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        answer = self._receive(lambda message: message.get("id") == number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _await_event(self, method: str) -> None:
        while self._events:
            if self._events.popleft()["method"] == method:
                return
        self._receive(lambda message: message.get("method") == method)

    def _receive(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + HANG_GUARD_S
        while True:
            while (end := self._received.find(b"\0")) >= 0:
                message: dict[str, Any] = json.loads(self._received[:end])
                del self._received[: end + 1]
                self._note(message)
                if is_wanted(message):
                    return message
                if "method" in message:
                    self._events.append(message)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._from, 1 << 16)
            if not data:
                raise EOFError("the browser is gone")
            self._received += data

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.troubles.append(details.get("exception", details).get("description", details["text"]))
            case "Runtime.consoleAPICalled":
                self.troubles.append(f"console.{parameters['type']}: {parameters['args']}")
            case "Log.entryAdded":
                self.troubles.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case _:
                pass
