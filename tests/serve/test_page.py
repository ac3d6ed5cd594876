"""The page of make serve in a browser: recordings chosen and recorded, answered and refused."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browsing import open_browser, until
from tests.predict.conftest import LABELS, Home
from tests.serve.conftest import Served

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
def script(browser: webdriver.Chrome, served: Served) -> Callable[..., Any]:
    """The page is open: this runs a line of JavaScript in it."""
    browser.get(served.url)
    return lambda line, *given: browser.execute_script(f"return {line}", *given)


def choose(browser: webdriver.Chrome, *paths: str | Path) -> None:
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys("\n".join(map(str, paths)))


def test_a_recording_that_is_chosen_is_answered(
    browser: webdriver.Chrome, script: Callable[..., Any], served: Served, home: Home
) -> None:
    path = home.table["path"].iloc[11]
    choose(browser, path)
    assert until(lambda: script("document.querySelectorAll('article .scores li').length")) == 3
    answer = served.tag(Path(path).read_bytes())[1]
    windows = answer["windows"]
    ranked = sorted(LABELS, key=lambda label: -answer["scores"][label])
    assert script("[...document.querySelectorAll('article .name')].map(each => each.textContent)") == ranked
    shown = script("[...document.querySelectorAll('article .value')].map(each => each.textContent)")
    assert shown == [f"{answer['scores'][label]:.3f}" for label in ranked]
    decided = script("[...document.querySelectorAll('article .decided .name')].map(each => each.textContent)")
    assert sorted(decided) == sorted(answer["labels"])
    drawn = script("[...document.querySelector('.strip canvas').getContext('2d').getImageData(0, 0, 1000, 1).data]")
    middles = [(start + end) / 2 for start, end in zip(windows["start_s"], windows["end_s"], strict=True)]
    shown = [drawn[4 * int(1000 * middle / answer["duration_s"]) + 3] / 255 for middle in middles]
    assert shown == pytest.approx(windows["scores"][ranked[0]], abs=0.01)
    assert browser.get_log("browser") == []


def test_a_click_on_a_strip_plays_that_place(browser: webdriver.Chrome, script: Callable[..., Any], home: Home) -> None:
    choose(browser, home.table["path"].iloc[11])
    assert until(lambda: script("document.querySelector('.strip')"))
    assert until(lambda: script("document.querySelector('audio').duration"))
    browser.find_element(By.CSS_SELECTOR, ".strip").click()  # in its middle
    assert until(lambda: script("document.querySelector('audio').currentTime")) == pytest.approx(1.0, abs=0.3)


def test_what_cannot_be_read_is_said_beside_what_can(
    browser: webdriver.Chrome, script: Callable[..., Any], home: Home, tmp_path: Path
) -> None:
    (tmp_path / "page.wav").write_bytes(b"<html></html>")
    (tmp_path / "large.wav").write_bytes(bytes((1 << 20) + 1))
    choose(browser, tmp_path / "page.wav", tmp_path / "large.wav", home.table["path"].iloc[11])
    assert until(lambda: script("document.querySelector('article .scores li')"))
    said = script("[...document.querySelectorAll('article.failed .why')].map(each => each.textContent)")
    assert said[0] == "It is larger than 1 MB."
    assert said[1].startswith("page.wav cannot be read: ")
    assert script("document.querySelectorAll('article').length") == 3


def test_what_the_microphone_records_is_answered(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    button = browser.find_element(By.ID, "record")
    button.click()
    assert until(lambda: button.get_attribute("aria-pressed") == "true")
    time.sleep(1)  # of sound
    button.click()
    assert until(lambda: script("document.querySelectorAll('article .scores li').length")) == 3
    assert script("document.querySelector('article h3').textContent").startswith("recorded at ")
