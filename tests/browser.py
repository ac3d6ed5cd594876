"""A real browser for the tests of pages, how a page looks in it, and waiting for what another process does."""

import os
import shutil
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parents[1]
BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
CHROMIUM_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1600")

WIDTHS = {"phone": 390, "desktop": 1280}
MIN_CONTRAST = 4.5
"""Of text on its background, by WCAG 2.2, level AA; 3 for letters of 24 px."""
FIND_FAULTS = Path(__file__).with_name("find_faults.js").read_text(encoding="utf-8")


def open_browser(*arguments: str) -> webdriver.Chrome:
    """Chromium without a window; the test is skipped, saying so, where it cannot be had."""
    if not (BROWSER and DRIVER):
        pytest.skip("no chromium with its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*CHROMIUM_OPTIONS, *arguments):
        options.add_argument(argument)
    try:
        return webdriver.Chrome(options=options, service=Service(DRIVER))
    except WebDriverException as error:
        pytest.skip(f"chromium does not start here: {error.msg}")


def keep_screenshot(browser: webdriver.Chrome, name: str) -> None:
    """Write what the browser shows to NAME.png in $SCREENSHOTS, by default test-artifacts/, for people to look at."""
    folder = Path(os.environ.get("SCREENSHOTS", ROOT / "test-artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(folder / f"{name}.png"))


def check_looks(browser: webdriver.Chrome, page: str) -> None:
    """Text of the open page is in sight and has contrast, and controls have names, on a phone and a desktop, in light
    and dark, with all details open; a screenshot of each is kept.
    """
    devtools, faults = browser.execute_cdp_cmd, dict[str, list[str]]()
    try:
        for (device, width), scheme in product(WIDTHS.items(), ("light", "dark")):
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": device == "phone"}
            devtools("Emulation.setDeviceMetricsOverride", size)
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            devtools("Emulation.setEmulatedMedia", media)
            keep_screenshot(browser, f"{page}_{device}_{scheme}")
            faults[f"{device}, {scheme}"] = browser.execute_script(FIND_FAULTS, MIN_CONTRAST)
    finally:
        devtools("Emulation.clearDeviceMetricsOverride", {})
        devtools("Emulation.setEmulatedMedia", {"features": []})
    assert not any(faults.values()), faults


def wait_until(found: Callable[[], Any]) -> Any:
    """What is found, once there is something; None after half a minute."""
    for _ in range(300):
        if value := found():
            return value
        time.sleep(0.1)
    return None


def is_downloaded(path: Path) -> bool:
    """Whether a download is there: Chrome may make the file before it has content. Waits for half a minute."""
    return bool(wait_until(lambda: path.exists() and path.stat().st_size))
