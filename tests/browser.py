"""A real browser, by its DevTools protocol over a pipe: what a page asks for, complains of, and shows.

https://chromedevtools.github.io/devtools-protocol/; it talks to nobody, and needs no driver.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_SECONDS = 60
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)  # fmt: skip


def program():
    """The browser to test with; None where there is none."""
    return os.environ.get("TEST_BROWSER_PROGRAM") or next(filter(None, map(shutil.which, NAMES)), None)


def is_required():
    return os.environ.get("TEST_BROWSER") == "required"


class Browser:
    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="browser-")
        (reads, self._to), (self._from, writes) = os.pipe(), os.pipe()
        # It reads from 3 and writes to 4: numbers that are others' here.
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (reads, writes)]
        start = f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        words = ["bash", "-c", start, program(), *OPTIONS, f"--user-data-dir={self._folder}", "about:blank"]
        self._process = subprocess.Popen(
            words, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._folder},
        )  # fmt: skip
        for each in (reads, writes, *theirs):
            os.close(each)
        self._left, self._sent, self.events = b"", 0, []

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.send("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def send(self, method, session=None, **parameters):
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda said: said.get("id") == message["id"])
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait_for(self, method):
        return self._until(lambda said: said.get("method") == method, of=self.events)

    def _until(self, is_it, of=()):
        until = time.monotonic() + ANSWER_SECONDS
        for said in of:
            if is_it(said):
                return said
        while True:
            while b"\0" in self._left:
                one, self._left = self._left.split(b"\0", 1)
                said = json.loads(one)
                if "method" in said:
                    self.events.append(said)
                if is_it(said):
                    return said
            ready, _, _ = select.select([self._from], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser says nothing"
            some = os.read(self._from, 1 << 20)
            assert some, "the browser has ended"
            self._left += some

    @contextlib.contextmanager
    def opened(self, path, *, width, height=900, scheme="light", media=""):
        """The page of a file, as a window of that width shows it."""
        self.events.clear()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable", session)
        self.send(
            "Emulation.setDeviceMetricsOverride", session, width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", session, media=media, features=features)
        self.events.clear()
        self.send("Page.navigate", session, url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")
        try:
            yield Page(self, session)
        finally:
            self.send("Target.closeTarget", targetId=target)


class Page:
    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def ask(self, expression):
        """What a script of ours finds in the page; the page's policy is for those of others."""
        found = self._browser.send("Runtime.evaluate", self._session, expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def requests(self):
        return [said["params"]["request"]["url"] for said in self._of("Network.requestWillBeSent")]

    def complaints(self):
        """What stands in the console."""
        names = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [said["params"] for name in names for said in self._of(name)]

    def _of(self, method):
        self.ask("0")  # what was said before is here with the answer
        return [said for said in self._browser.events if said["method"] == method]

    def screenshot(self, *, whole=True, height=None):
        size = self._browser.send("Page.getLayoutMetrics", self._session)["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        more = {"captureBeyondViewport": True, "clip": clip} if whole else {}
        return base64.b64decode(self._browser.send("Page.captureScreenshot", self._session, **more)["data"])

    def pdf(self):
        return base64.b64decode(self._browser.send("Page.printToPDF", self._session, printBackground=True)["data"])
