"""A real browser for pages that we serve: headless Chromium, driven over WebDriver.

    def test_a_page(browser: Browser) -> None:
        browser.open(server.address)
        browser.press("a", Keys.ENTER)
        browser.until("document.title === 'done'")
        assert browser.console() == []
        assert browser.foreign_requests() == []

The fixture ``browser`` (``tests/conftest.py``) gives each test an empty window of the one Chromium of its process, and
skips where none is installed. Chromium resolves no name and asks no proxy, so a page reaches 127.0.0.1 alone; what it
asked for elsewhere is recorded all the same. There is no WebGL, since what stands for a GPU takes whole cores; a test
that is about it has a Chromium of its own, ``launched(WEBGL)``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock
from urllib.parse import urlsplit

import cv2
import numpy as np
import numpy.typing as npt
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE = 60.0
BUTTONS = {"left": 0, "right": 2}
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium's own needs a user namespace, which containers often lack; the pages are ours
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--disable-gpu",
    "--disable-3d-apis",
    "--disable-background-networking",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)
WEBGL = (*(flag for flag in FLAGS if flag not in ("--disable-gpu", "--disable-3d-apis")), "--enable-unsafe-swiftshader")
"""With what stands for a GPU: SwiftShader."""


@dataclass(frozen=True, slots=True)
class ConsoleEntry:
    """What the page's console says.

    Attributes:
        source: ``javascript``, ``console-api``, ``security`` (the Content-Security-Policy), or ``network``, which has
            every response from 400 on and every request without one.
    """

    source: str
    level: str
    text: str


def missing() -> str:
    """Why there is no browser; empty if there is one."""
    if _program() is None:
        return f"no browser: none of {', '.join(PROGRAMS)} is installed; on Debian, apt-get install chromium"
    if shutil.which("chromedriver") is None:
        return "no browser: chromedriver is not installed; on Debian, apt-get install chromium-driver"
    return ""


@contextmanager
def launched(flags: Sequence[str] = FLAGS) -> Iterator[webdriver.Chrome]:
    """Chromium, until the end of the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program() or ""
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # the driver is on this computer, and no proxy leads there
    with mock.patch.dict(os.environ, {"SE_OFFLINE": "true", "NO_PROXY": "127.0.0.1,localhost"}):
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        driver.set_script_timeout(PATIENCE)
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def empty_window(driver: webdriver.Chrome) -> Iterator[Browser]:
    """A window for one test; it is closed with those that the test opened."""
    before = driver.window_handles[0]  # the current one may be gone, where a test before could not clean up
    driver.switch_to.window(before)
    driver.switch_to.new_window("window")
    browser = Browser(driver)
    try:
        yield browser
    finally:
        for handle in driver.window_handles:
            if handle != before:
                driver.switch_to.window(handle)
                driver.close()
        driver.switch_to.window(before)


class Browser:
    """A window, and what its page said and asked for.

    Args:
        driver: at a window; what its logs have so far is not this one's.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._console: list[ConsoleEntry] = []
        self._requests: list[str] = []
        self._address = ""
        self._handle = driver.current_window_handle
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        self.look(1280, 800)

    def open(self, address: str) -> None:
        """Load a page and wait for it."""
        self._address = address
        self.driver.get(address)

    def reload(self) -> None:
        """Load the page again."""
        self.driver.refresh()

    def another(self) -> Browser:
        """A second window. Call ``use`` to come back to this one."""
        self._read_logs()
        self.driver.switch_to.new_window("window")
        return Browser(self.driver)

    def use(self) -> None:
        """Act in this window from here on, as a person would who brings it to the front."""
        self.driver.switch_to.window(self._handle)

    def look(self, width: int, height: int, scheme: Literal["light", "dark"] = "light") -> None:
        """Set the size of the page's window in CSS pixels, which are the screenshot's, and the preferred colours."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other; ``Keys.ENTER`` and so on, a capital letter with Shift."""
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def click(self, x: float, y: float, button: Literal["left", "right"] = "left", shift: bool = False) -> None:
        """Click at a place, in CSS pixels from the window's upper left corner."""
        actions = ActionChains(self.driver, duration=0)
        if shift:
            actions.key_down(Keys.SHIFT)
        mouse, keyboard = actions.w3c_actions.pointer_action, actions.w3c_actions.key_action
        mouse.move_to_location(round(x), round(y)).pointer_down(button=BUTTONS[button]).pointer_up(
            button=BUTTONS[button]
        )
        if shift:
            for _ in ("move", "down", "up"):  # mouse and keyboard go in step
                keyboard.pause()
            actions.key_up(Keys.SHIFT)
        actions.perform()

    def evaluate(self, expression: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression, of the kinds that JSON has; ``arguments[0]`` and so on are given."""
        return self.driver.execute_script(f"return ({expression.strip()})", *arguments)

    def settled(self, body: str, *arguments: Any) -> Any:
        """What the body of an asynchronous function returns; it may ``await import("/x.js")``."""
        found = self.driver.execute_async_script(
            "const given = [...arguments], done = given.pop();"
            f"(async (...arguments) => {{ {body} }})(...given)"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }));",
            *arguments,
        )
        assert "error" not in found, found["error"]
        return found.get("value")

    def heap(self) -> float:
        """Bytes that the page's JavaScript holds, after everything that it does not has gone."""
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        return float(self.driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"])

    def text(self, selector: str) -> str:
        """The text of the first element of a CSS selector."""
        return str(self.evaluate("document.querySelector(arguments[0]).textContent.trim()", selector))

    def until(self, expression: str, *arguments: Any) -> None:
        """Wait until a JavaScript expression is true."""
        holds = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.02)
        holds.until(lambda _: self.evaluate(expression, *arguments), f"did not come to: {expression} {arguments}")

    def console(self) -> list[ConsoleEntry]:
        """Warnings and errors of the page so far."""
        self._read_logs()
        return list(self._console)

    def requests(self) -> list[str]:
        """Addresses that the page asked for so far, redirects and refused ones included."""
        self._read_logs()
        return list(self._requests)

    def foreign_requests(self) -> list[str]:
        """Those that are not the opened page's server's. Images in ``data:`` and ``blob:`` never leave the browser."""
        home = urlsplit(self._address).netloc
        inside = {"data", "blob"}
        return [at for at in self.requests() if urlsplit(at).scheme not in inside and urlsplit(at).netloc != home]

    def screenshot(self, path: Path | None = None) -> npt.NDArray[np.uint8]:
        """What is to be seen, RGB uint8 [H, W, 3]; also as a PNG at ``path``, for people."""
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        png = base64.b64decode(taken["data"])
        if path is not None:
            path.write_bytes(png)
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        return np.asarray(pixels[..., ::-1], np.uint8)

    def _read_logs(self) -> None:
        for entry in self.driver.get_log("browser"):
            if entry["level"] in ("WARNING", "SEVERE"):
                self._console.append(ConsoleEntry(entry["source"], entry["level"], entry["message"]))
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self._requests.append(event["params"]["request"]["url"])
            elif event["method"] == "Network.webSocketCreated":
                self._requests.append(event["params"]["url"])


def _program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)
