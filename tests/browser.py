"""Opens a page in a real headless Chromium and writes down what happened there.

    visit = open_in_browser(path, ask={"rows": "document.querySelectorAll('tr').length"})
    assert visit.console_errors == ()

Spoken to over the DevTools protocol on a loopback port. Where no Chromium is found the calling
test is skipped, but in CI it fails: there scripts/browser has put one.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_S = 90.0
"""A browser that says nothing for so long is broken."""

OPTIONS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
    "--disable-component-update", "--no-default-browser-check", "--hide-scrollbars",
    "--log-level=3",
)  # fmt: skip

# A plot is what plotly was told to draw, whether or not it did: then it has no size and no marks.
PLOTS = """
[...document.querySelectorAll("script[data-plot]")].map(block => {
  const place = document.getElementById(block.dataset.plot);
  const box = place.querySelector("svg.main-svg")?.getBoundingClientRect();
  const drawn = "g image, g path.js-line, g path.js-fill, g .point, canvas";
  const marks = [...place.querySelectorAll(drawn)].filter(mark => {
    const size = mark.getBoundingClientRect();
    return !mark.closest(".legend") && (size.width > 0 || size.height > 0);
  });
  return {id: place.id, width: box?.width ?? 0, height: box?.height ?? 0, marks: marks.length};
})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    id: str
    width: float
    height: float
    marks: int
    """Lines, areas, points and pictures drawn in it that have a size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserVisit:
    title: str
    text: str
    """What a reader sees."""
    console_errors: tuple[str, ...]
    """console.error, exceptions that nobody caught, and what the browser itself complains of:
    a refused script, a failed request."""
    dialogs: tuple[str, ...]
    """Messages of alert, confirm and prompt."""
    requests: tuple[str, ...]
    """Addresses that the page asked for, itself and its data: apart."""
    plots: tuple[Plot, ...]
    answers: Mapping[str, Any]
    """Name -> value of each expression of ``ask``."""


def open_in_browser(
    path: Path,
    *,
    ask: Mapping[str, str] | None = None,
    width: int = 1280,
    picture: Path | None = None,
) -> BrowserVisit:
    """Visit a file. ``ask`` names JavaScript expressions, evaluated in order after it has loaded;
    ``picture`` gets a PNG of the whole page."""
    with (
        tempfile.TemporaryDirectory() as profile,
        _browser(profile) as address,
        connect(address, max_size=None, proxy=None, open_timeout=LIMIT_S) as socket,
    ):
        return _Tab(socket, width).visit(path, ask or {}, picture)


def chromium() -> str:
    """The browser's path; without one the calling test is skipped, or fails in CI."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        message = "no Chromium is installed; on Debian and Ubuntu scripts/browser installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def _browser(profile: str) -> Iterator[str]:
    """A running browser; the address at which it listens."""
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    command = [chromium(), *OPTIONS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if match := re.search(r"listening on (ws://\S+)", line):
                yield match.group(1)
                return
        pytest.fail(f"the browser did not start:\n{''.join(said)}")
    finally:
        process.kill()
        process.communicate()


class _Tab:
    def __init__(self, socket: ClientConnection, width: int) -> None:
        self._socket, self._last, self._session = socket, 0, {}
        self._errors: list[str] = []
        self._dialogs: list[str] = []
        self._requests: list[str] = []
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")
        attached = self._call("Target.attachToTarget", **target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def visit(self, path: Path, ask: Mapping[str, str], picture: Path | None) -> BrowserVisit:
        address = path.resolve().as_uri()
        self._loaded = False
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._take(json.loads(self._socket.recv(timeout=LIMIT_S)))
        plots = [Plot(**values) for values in self._evaluate(PLOTS)]
        answers = {name: self._evaluate(expression) for name, expression in ask.items()}
        if picture is not None:
            self._photograph(picture)
        return BrowserVisit(
            title=self._evaluate("document.title"),
            text=self._evaluate("document.body.innerText"),
            console_errors=tuple(self._errors),
            dialogs=tuple(self._dialogs),
            requests=tuple(url for url in self._requests if url != address),
            plots=tuple(plots),
            answers=answers,
        )

    def _evaluate(self, expression: str) -> Any:
        reply = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def _photograph(self, picture: Path) -> None:
        page = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": page["width"], "height": page["height"], "scale": 1}
        shot = self._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        picture.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        mine = self._last
        self._send(mine, method, params)
        while True:
            message = json.loads(self._socket.recv(timeout=LIMIT_S))
            if message.get("id") == mine:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._take(message)

    def _send(self, number: int, method: str, params: Mapping[str, Any]) -> None:
        request = {"id": number, "method": method, "params": params} | self._session
        self._socket.send(json.dumps(request))

    def _take(self, message: Mapping[str, Any]) -> None:
        """Write down an event."""
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Page.javascriptDialogOpening":
            self._dialogs.append(params["message"])
            self._last += 1
            self._send(self._last, "Page.handleJavaScriptDialog", {"accept": True})
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self._errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            words = (str(item.get("value", item.get("description"))) for item in params["args"])
            self._errors.append(" ".join(words))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self._errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            self._requests += [] if url.startswith(("data:", "blob:")) else [url]
