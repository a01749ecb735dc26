"""A real browser without a window, told what to do over its DevTools pipe."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, Literal

NAMES = ("chromium", "chromium-browser", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, on pages of our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)
WATCHED = {"Network.requestWillBeSent", "Log.entryAdded", "Runtime.consoleAPICalled"}


def find_browser() -> str | None:
    """Return the browser of this host, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab. `told` holds the requests, console lines and errors since it was opened."""

    def __init__(self, to: BufferedWriter, answers: BufferedReader) -> None:
        self._to = to
        self._answers = answers
        self._number = 0
        self._rest = b""
        self._session = ""
        self.told: list[dict[str, Any]] = []
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        attached = self._do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._do(f"{domain}.enable")

    def show(
        self,
        file: Path,
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
        media: Literal["", "print"] = "",
    ) -> None:
        """Open a file in a window of that width, and wait until it is drawn."""
        self._do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._do("Emulation.setEmulatedMedia", media=media, features=features)
        self._do("Page.navigate", url=file.resolve().as_uri())
        while self.ask("document.readyState") != "complete":
            pass

    def ask(self, script: str) -> Any:
        """Return what a script, which the page itself knows nothing of, answers."""
        answer = self._do(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen, as PNG; `whole` is all of the page, however long."""
        return b64decode(self._do("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def printed(self) -> bytes:
        """Return the page as it is printed, as PDF."""
        return b64decode(self._do("Page.printToPDF", printBackground=False)["data"])

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            if said.get("method") in WATCHED:
                self.told.append(said)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = self._answers.read1()
            assert data, "the browser ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def opened(browser: str, profile: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own, and end it."""
    its_input, to = os.pipe()
    answers, its_output = os.pipe()
    # The browser reads from 3 and writes to 4.
    command = f'exec "$@" 3<&{its_input} 4>&{its_output}'
    process = subprocess.Popen(
        ["bash", "-c", command, "-", browser, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(its_input, its_output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_input)
    os.close(its_output)
    try:
        with os.fdopen(to, "wb") as told, os.fdopen(answers, "rb") as said:
            yield Page(told, said)
    finally:
        process.terminate()
        process.wait(timeout=30)
