"""The page of make serve in a browser: recordings chosen and recorded, answered and refused."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser import open_browser, wait_until
from tests.predict.conftest import LABELS, TinyRun
from tests.serve.conftest import RunningServer

MICROPHONE = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser(*MICROPHONE) as chrome:
        yield chrome


@pytest.fixture
def script(browser: webdriver.Chrome, server: RunningServer) -> Callable[..., Any]:
    """The page is open: this runs a line of JavaScript in it."""
    browser.get(server.url)
    return lambda line, *given: browser.execute_script(f"return {line}", *given)


def choose(browser: webdriver.Chrome, *paths: str | Path) -> None:
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys("\n".join(map(str, paths)))


def test_a_recording_that_is_chosen_is_answered(
    browser: webdriver.Chrome, script: Callable[..., Any], server: RunningServer, tiny_run: TinyRun
) -> None:
    path = tiny_run.table["path"].iloc[11]
    choose(browser, path)
    assert wait_until(lambda: script("document.querySelectorAll('article .scores li').length")) == 3
    reply = server.tag(Path(path).read_bytes())[1]
    windows = reply["windows"]
    ranked = sorted(LABELS, key=lambda label: -reply["scores"][label])
    assert script("[...document.querySelectorAll('article .name')].map(each => each.textContent)") == ranked
    shown = script("[...document.querySelectorAll('article .value')].map(each => each.textContent)")
    assert shown == [f"{reply['scores'][label]:.3f}" for label in ranked]
    decided = script("[...document.querySelectorAll('article .decided .name')].map(each => each.textContent)")
    assert sorted(decided) == sorted(reply["labels"])
    drawn = script("[...document.querySelector('.strip canvas').getContext('2d').getImageData(0, 0, 1000, 1).data]")
    middles = [(start + end) / 2 for start, end in zip(windows["start_s"], windows["end_s"], strict=True)]
    shown = [drawn[4 * int(1000 * middle / reply["duration_s"]) + 3] / 255 for middle in middles]
    assert shown == pytest.approx(windows["scores"][ranked[0]], abs=0.01)
    assert browser.get_log("browser") == []


def test_a_click_on_a_strip_plays_that_place(
    browser: webdriver.Chrome, script: Callable[..., Any], tiny_run: TinyRun
) -> None:
    choose(browser, tiny_run.table["path"].iloc[11])
    assert wait_until(lambda: script("document.querySelector('.strip')"))
    assert wait_until(lambda: script("document.querySelector('audio').duration"))
    browser.find_element(By.CSS_SELECTOR, ".strip").click()  # in its middle
    assert wait_until(lambda: script("document.querySelector('audio').currentTime")) == pytest.approx(1.0, abs=0.3)


def test_what_cannot_be_read_is_said_beside_what_can(
    browser: webdriver.Chrome, script: Callable[..., Any], tiny_run: TinyRun, tmp_path: Path
) -> None:
    (tmp_path / "page.wav").write_bytes(b"<html></html>")
    (tmp_path / "large.wav").write_bytes(bytes((1 << 20) + 1))
    choose(browser, tmp_path / "page.wav", tmp_path / "large.wav", tiny_run.table["path"].iloc[11])
    assert wait_until(lambda: script("document.querySelector('article .scores li')"))
    messages = script("[...document.querySelectorAll('article.failed .why')].map(each => each.textContent)")
    assert messages[0] == "It is larger than 1 MB."
    assert messages[1].startswith("page.wav cannot be read: ")
    assert script("document.querySelectorAll('article').length") == 3


def test_what_the_microphone_records_is_answered(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    button = browser.find_element(By.ID, "record")
    button.click()
    assert wait_until(lambda: button.get_attribute("aria-pressed") == "true")
    time.sleep(1)  # of sound
    button.click()
    assert wait_until(lambda: script("document.querySelectorAll('article .scores li').length")) == 3
    assert script("document.querySelector('article h3').textContent").startswith("recorded at ")
