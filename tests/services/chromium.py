"""A real headless Chromium, spoken to over a pipe: what a page asks for, says and looks like.

The Chrome DevTools Protocol needs no driver and no WebSocket with `--remote-debugging-pipe`: the
browser reads messages from descriptor 3 and writes them to 4, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 60.0

PLUMBING = """
import fcntl, os, sys
to_it, from_it, *command = sys.argv[1:]
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in (to_it, from_it)]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
    os.close(end)
os.execv(command[0], command)
"""
"""Puts the pipes where Chromium looks for them, and becomes Chromium."""


def installed():
    """The path of a Chromium; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install -y chromium")
    return found


@dataclass
class Seen:
    """What a page did while it was open.

    Attributes:
        requests: Addresses it asked for, the page itself among them.
        complaints: What the console said, errors and refusals among it.
        dialogs: Texts of the boxes that it opened.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


class Browser:
    """One process with one empty tab; a context manager."""

    def __init__(self, program, profile):
        to_it, self._write = os.pipe()
        self._read, from_it = os.pipe()
        command = [
            *(program, "--headless=new", "--no-first-run", "--disable-gpu", "--hide-scrollbars"),
            *("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"),
            *(f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLUMBING, str(to_it), str(from_it), *command],
            pass_fds=(to_it, from_it),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._buffer = b""
        self._last = 0
        self._session = None
        self._events = []
        self.seen = Seen()

    def __enter__(self):
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self):
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = answer["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def __exit__(self, *_):
        self._session = None
        with suppress(OSError, TimeoutError):
            self.call("Browser.close")
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method, **params):
        """The result of one command; events that come before it are noted."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def open(self, address, width=1200, *, dark=False):
        """Go there, wait until all is loaded, and give what was seen on the way."""
        self.seen = Seen()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._note(self._next())
        self.evaluate("new Promise(done => setTimeout(done, 100))")
        return self.seen

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page; its own policy does not bind us."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path):
        """The whole page as a PNG file."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print(self, path):
        """The page as it is printed."""
        answer = self.call("Page.printToPDF", printBackground=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _next(self):
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("Chromium does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise OSError("Chromium has ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        name, params = event.get("method"), event.get("params", {})
        self._events.append(name)
        if name == "Network.requestWillBeSent":
            self.seen.requests.append(params["request"]["url"])
        elif name == "Runtime.consoleAPICalled":
            self.seen.complaints.append(json.dumps(params["args"]))
        elif name == "Runtime.exceptionThrown":
            self.seen.complaints.append(params["exceptionDetails"]["text"])
        elif name == "Log.entryAdded":
            self.seen.complaints.append(params["entry"]["text"])
        elif name == "Page.javascriptDialogOpening":
            self.seen.dialogs.append(params["message"])
            self._last += 1  # a command whose answer nobody waits for: the page stands still
            answer = {"id": self._last, "method": "Page.handleJavaScriptDialog"}
            answer |= {"params": {"accept": True}, "sessionId": self._session}
            os.write(self._write, json.dumps(answer).encode() + b"\0")
