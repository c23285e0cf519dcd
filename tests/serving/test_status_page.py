"""The status page in a real browser."""

import base64
import io
import json
import shutil
import socket
import struct
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from fbamatte.rpc.client import Client
from fbamatte.serving import observer
from fbamatte.testing import serve_in_process
from serving.helpers import frame, wait_until

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium; on Debian: apt-get install chromium")


class Tab:
    """A tab of a headless browser, spoken to in the DevTools protocol."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(item for item in json.load(answer) if item["type"] == "page")
        path = page["webSocketDebuggerUrl"].split("/", 3)[3]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(bytes(16)).decode()
        self._socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline() not in {b"\r\n", b""}:
            pass
        self._number = 0
        self.events: list[dict] = []

    def ask(self, method: str, **parameters) -> dict:
        self._number += 1
        data = json.dumps({"id": self._number, "method": method, "params": parameters}).encode()
        # a masked text frame with an empty mask
        self._socket.sendall(b"\x81\xff" + struct.pack(">Q", len(data)) + bytes(4) + data)
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def value(self, script: str):
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, width: int, height: int) -> np.ndarray:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float) / 255

    def close(self) -> None:
        self._socket.close()

    def _message(self) -> bytes:
        head = self._file.read(2)
        size = head[1] & 127
        if size > 125:
            size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
        data = self._file.read(size)
        return data if head[0] & 0x80 else data + self._message()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
    ]
    process = subprocess.Popen([BROWSER, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = folder / "DevToolsActivePort"
        wait_until(lambda: port.exists() and "\n" in port.read_text(), 60)
        time.sleep(0.2)
        tab = Tab(int(port.read_text().splitlines()[0]))
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.ask(f"{domain}.enable")
        yield tab
        tab.close()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server():
    models = ("testing-null", "testing-memory-1", "testing-large-64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observer, "PICTURE_SECONDS", 0.0)
        with serve_in_process(models=models, device=("cpu", "fake:0"), metrics="127.0.0.1:0") as running:
            with Client(running.addresses[0]) as client:
                list(client.matte(frame(n, 320, 180, name=f"plate.{n}.exr") for n in range(1001, 1005)))
                list(client.matte([frame(7, name="<img src=x onerror=alert(1)>")]))
                list(client.matte([frame(1)], model="testing-memory-1", on_error=lambda *_: None))
            yield running


@pytest.fixture(scope="module")
def page(browser, server):
    browser.events.clear()
    browser.ask("Page.navigate", url=f"http://{server.metrics}/")
    wait_until(lambda: browser.value("document.body && document.body.dataset.loaded") == "yes", 20)
    wait_until(lambda: browser.value("[...document.images].every(image => image.complete && image.naturalWidth)"), 20)
    return browser


def text(page, selector):
    return page.value(f"[...document.querySelectorAll({json.dumps(selector)})].map(node => node.textContent)")


def test_it_shows_devices_models_stages_and_frames(page):
    assert text(page, "#state") == ["serving"]
    assert text(page, "#devices h3") == ["cpu", "fake:0"]
    assert text(page, "#models .name") == ["testing-null", "testing-memory-1", "testing-large-64"]
    assert text(page, "#models .tag")[0] == "MIT"
    stages = text(page, "#stages .stage span:first-child")
    assert stages == [
        "receiving", "queued", "decoding", "loading", "preparing", "estimating", "finishing", "encoding", "sending",
    ]  # fmt: skip
    labels = text(page, "#frames .label")
    assert len(labels) >= 6
    assert "resource exhausted" in text(page, "#frames .picture")
    assert "plate.1004.exr, frame 1004" in labels
    assert len(text(page, "#frames img")) >= 5


def test_what_callers_write_is_text(page):
    assert any("<img src=x onerror=alert(1)>" in label for label in text(page, "#frames .label"))
    assert page.value("document.querySelectorAll('img[src=x]').length") == 0


def test_it_asks_nobody_else_and_has_no_errors(page, server):
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert all(url.startswith((f"http://{server.metrics}/", "data:")) for url in asked), asked
    wrong = [event for event in page.events if event["method"] in {"Runtime.exceptionThrown", "Network.loadingFailed"}]
    wrong += [e for e in page.events if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]
    assert wrong == []


@pytest.mark.parametrize("width", [1400, 1024, 480])
def test_nothing_sticks_out(page, width):
    page.picture(width, 1000)
    assert page.value("document.documentElement.scrollWidth <= innerWidth")


def test_it_is_dark_and_can_be_read(page):
    picture = page.picture(1240, 1000)
    assert np.median(picture) < 0.15
    contrast = page.value("""
      (() => {
        const light = color => {
          const parts = color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const ground = light(getComputedStyle(document.body).backgroundColor);
        const words = [...document.querySelectorAll("body *")]
          .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
            && !["SCRIPT", "NOSCRIPT"].includes(node.tagName));
        return Math.min(...words.map(node => (light(getComputedStyle(node).color) + 0.05) / (ground + 0.05)));
      })()""")
    # WCAG AA for small text
    assert contrast >= 4.5


def test_it_follows_the_server(page, server):
    with Client(server.addresses[0]) as client:
        list(client.matte([frame(77, name="late.exr")]))
    wait_until(lambda: "late.exr, frame 77" in text(page, "#frames .label"), 10)
    first = "document.querySelector('#frames li:last-child')"
    page.value(f"window.kept = {first}; 1")
    time.sleep(2.5)
    assert page.value(f"window.kept === {first}"), "drawn anew, so that pictures flicker"
