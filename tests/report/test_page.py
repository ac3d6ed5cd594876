"""The page of make inspect in a browser: what a click on it does."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from predict import run
from report import inspect
from tests.browser import check_looks, open_browser, wait_until
from tests.predict.conftest import TinyRun, make_tiny_run


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser() as chrome:
        yield chrome


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A run whose submission has its page."""
    tiny_run = make_tiny_run(tmp_path_factory.mktemp("page"))
    run.main(tiny_run.arguments)
    inspect.main(tiny_run.arguments)
    return tiny_run


@pytest.fixture
def script(browser: webdriver.Chrome, page_run: TinyRun) -> Callable[..., Any]:
    """The page of the run's submission is open: this runs a line of JavaScript in it."""
    browser.get((page_run.run_paths.submission_dir / "report.html").as_uri())
    return lambda line, *given: browser.execute_script(f"return {line}", *given)


@pytest.fixture
def longest(browser: webdriver.Chrome, script: Callable[..., Any]) -> WebElement:
    """The card of the longest clip."""
    cards = browser.find_elements(By.TAG_NAME, "article")
    return next(card for card in cards if card.find_element(By.TAG_NAME, "h3").text.startswith("test11"))


def test_the_page_opens_without_complaint(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    assert browser.title.startswith("tiny")
    assert browser.get_log("browser") == []
    assert script("document.querySelectorAll('article').length") == 6


def test_a_click_on_a_label_shows_its_saliency_map(script: Callable[..., Any]) -> None:
    first, second = script(
        "[...document.querySelector('article').querySelectorAll('button[data-saliency]')].slice(0, 2)"
    )
    maps = "[...document.querySelectorAll('.picture .saliency')]"
    script("arguments[0].click()", first)
    assert script(f"{maps}.map(map => map.src)") == [script("arguments[0].dataset.saliency", first)]
    assert wait_until(lambda: script(f"{maps}[0].naturalWidth"))
    lies = "(([a, b]) => a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height)"
    assert script(f"{lies}([...document.querySelectorAll('.picture img')].map(each => each.getBoundingClientRect()))")
    script("arguments[0].click()", second)
    assert script(f"{maps}.map(map => map.src)") == [script("arguments[0].dataset.saliency", second)]
    assert script("[arguments[0].ariaPressed, arguments[1].ariaPressed]", first, second) == ["false", "true"]
    script("arguments[0].click()", second)
    assert script(f"{maps}.length") == 0


def test_a_filter_leaves_the_clips_of_its_reason(script: Callable[..., Any]) -> None:
    shown = "[...document.querySelectorAll('article')].filter(card => card.getBoundingClientRect().height)"
    assert script(f"{shown}.length") == 6
    reasons = script("[...document.querySelectorAll('.filters button')].map(each => each.dataset.reason)")
    assert len(reasons) > 2
    for reason in reasons:
        script("document.querySelector(`.filters button[data-reason='${arguments[0]}']`).click()", reason)
        kinds = script(f"{shown}.map(card => card.dataset.reasons.split(' '))")
        assert kinds
        assert all(reason in kind for kind in kinds if reason)


def test_a_click_on_a_head_sorts_its_table(script: Callable[..., Any]) -> None:
    script("document.querySelector('table.sortable thead th:nth-child(4) button').click()")
    cells = (
        "[...document.querySelector('table.sortable').tBodies[0].rows].map(row => parseFloat(row.cells[3].textContent))"
    )
    falling = script(cells)
    assert falling == sorted(falling, reverse=True)
    script("document.querySelector('table.sortable thead th:nth-child(4) button').click()")
    assert script(cells) == falling[::-1]


def test_a_clip_s_sound_can_be_played(script: Callable[..., Any]) -> None:
    script("document.querySelector('audio').load()")
    assert wait_until(lambda: script("document.querySelector('audio').duration"))


def test_strips_draw_the_scores_of_windows(browser: webdriver.Chrome, page_run: TinyRun, longest: WebElement) -> None:
    windows = pd.read_csv(page_run.run_paths.submission_dir / "windows.csv")
    windows = windows[windows["clip"] == longest.find_element(By.TAG_NAME, "h3").text]
    pixels = "return [...arguments[0].querySelector('canvas').getContext('2d').getImageData(0, 0, 1000, 1).data]"
    for row in longest.find_elements(By.CSS_SELECTOR, "[data-strip]"):
        label = row.find_element(By.CSS_SELECTOR, ".name").get_attribute("title")
        its, drawn = windows[windows["label"] == label], browser.execute_script(pixels, row)
        columns = (1000 * (its["start_s"] + its["end_s"]) / 2 / 2.0).astype(int)  # the clip has 2 seconds
        assert len(its) == 8
        assert [drawn[4 * column + 3] / 255 for column in columns] == pytest.approx(its["score"].tolist(), abs=0.01)


def test_a_strip_shows_nothing_where_there_is_no_window(script: Callable[..., Any]) -> None:
    windows = {"start_s": [10, 12, 50], "end_s": [13, 15, 53]}
    strip = "stripOf('low', arguments[0], [1, 0.6, 0.8], 60, () => {})"
    pixels = "querySelector('canvas').getContext('2d').getImageData(0, 0, 1000, 1).data"
    opacity = np.array(script(f"[...{strip}.{pixels}]", windows))[3::4] / 255
    seconds = (np.arange(1000) + 0.5) * 60 / 1000
    expected = np.select([(seconds > a) & (seconds < b) for a, b in [(10, 12.5), (12.5, 15), (50, 53)]], [1, 0.6, 0.8])
    is_edge = np.isin(np.arange(1000), [round(1000 * edge / 60 - 0.5) for edge in (10, 12.5, 15, 50, 53)])
    assert opacity[~is_edge] == pytest.approx(expected[~is_edge], abs=0.01)


def test_a_strip_plays_from_where_a_click_or_keys_say(script: Callable[..., Any], longest: WebElement) -> None:
    first, second, *_ = longest.find_elements(By.CSS_SELECTOR, ".strip")
    player = longest.find_element(By.TAG_NAME, "audio")
    first.click()  # in its middle
    assert wait_until(lambda: script("!arguments[0].paused", player))
    assert script("arguments[0].currentTime", player) == pytest.approx(1.0, abs=0.4)
    first.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert first.get_attribute("aria-valuenow") == "0.5"
    first.send_keys(Keys.ENTER)
    assert wait_until(lambda: 0.5 <= script("arguments[0].currentTime", player) < 0.95)
    first.send_keys(Keys.ARROW_DOWN)
    assert script("document.activeElement === arguments[0]", second)
    assert [each.get_attribute("tabindex") for each in (first, second)] == ["-1", "0"]


def test_a_search_leaves_clips_and_cards_of_its_words(
    browser: webdriver.Chrome, script: Callable[..., Any], page_run: TinyRun
) -> None:
    search = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    shown = "[...document.querySelectorAll('.all-clips tbody tr, article')].filter(each => each.offsetHeight).length"
    assert script(shown) == 12
    search.send_keys("TEST7")
    assert script(shown) == 2
    assert browser.find_element(By.ID, "found").text == "1 of 6 clips"
    search.clear()
    search.send_keys("low test")
    scores = pd.read_csv(page_run.run_paths.submission_dir / "submission.csv", index_col="clip")
    is_low = page_run.table.set_index("clip").loc[scores.index, "labels"] == "low"
    n_found = (is_low | (scores["low"] >= 0.5) | (scores.idxmax(axis=1) == "low")).sum()
    assert browser.find_element(By.ID, "found").text == f"{n_found} of 6 clips"
    search.send_keys(" cello")
    assert script(shown) == 0


def test_a_row_of_the_table_leads_to_its_card(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    rows = "[...document.querySelectorAll('.all-clips tbody tr')]"
    script("[...document.querySelectorAll('.all-clips th button')].at(-1).click()")
    scores = script(f"{rows}.map(row => parseFloat(row.lastElementChild.textContent))")
    assert scores == sorted(scores, reverse=True)
    link = browser.find_element(By.CSS_SELECTOR, ".all-clips a")
    link.click()
    assert script("document.activeElement.querySelector('h3').textContent") == link.text


def test_the_page_fits_a_phone_and_the_dark(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    script("document.querySelector('.all-clips').scrollIntoView()")
    check_looks(browser, "inspect")
