"""What every test does with a browser."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def css(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def until(act: Callable[[], Any], *, seconds: float = 15) -> Any:
    """The first truthy answer. What a live page has just replaced is looked for again."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(StaleElementReferenceException):
            if found := act():
                return found
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def text_of(browser: Any) -> str:
    return str(browser.execute_script("return document.querySelector('main').innerText"))


def type_keys(browser: Any, keys: str) -> None:
    """Press keys wherever the focus is. Late import: the fixture skips where selenium is absent."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(keys).perform()


def look(browser: Any, width_px: int, scheme: str) -> None:
    """Begin afresh: a width, a colour scheme, and an empty console."""
    browser.get_log("browser")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width_px, "height": 860, "deviceScaleFactor": 1, "mobile": width_px < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def complaints(browser: Any) -> list[str]:
    """What the console holds: refused scripts and styles, missing pictures, thrown errors."""
    return [entry["message"] for entry in browser.get_log("browser") if "/nothing" not in entry["message"]]


def keep_picture(browser: Any, folder: Path | None, name: str) -> None:
    """A picture of the whole page, if somebody wants to look at them."""
    if folder is None:
        return
    script = "const r = document.documentElement; scrollTo(0, 0); return [innerWidth, r.scrollHeight]"
    width_px, height_px = browser.execute_script(script)
    clip = {"x": 0, "y": 0, "width": width_px, "height": min(height_px, 4000), "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def line(browser: Any, *, online: bool = True, bytes_a_second: int = -1) -> None:
    """What the network is like from now on."""
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": not online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
