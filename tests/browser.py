"""A real browser for the tests of pages, and waiting for what another process does."""

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
CHROMIUM_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1600")


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


def wait_until(found: Callable[[], Any]) -> Any:
    """What is found, once there is something; None after half a minute."""
    for _ in range(300):
        if value := found():
            return value
        time.sleep(0.1)
    return None
