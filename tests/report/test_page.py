"""The page of make inspect in a browser: what a click on it does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver

from predict import run
from report import inspect
from tests.browser import open_browser, wait_until
from tests.predict.conftest import TinyRun


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser() as chrome:
        yield chrome


@pytest.fixture
def script(browser: webdriver.Chrome, tiny_run: TinyRun) -> Callable[..., Any]:
    """The page of the run's submission is open: this runs a line of JavaScript in it."""
    run.main(tiny_run.arguments)
    inspect.main(tiny_run.arguments)
    browser.get((tiny_run.run_paths.submission_dir / "report.html").as_uri())
    return lambda line, *given: browser.execute_script(f"return {line}", *given)


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
    cells = "[...document.querySelectorAll('table.sortable tbody tr')].map(row => parseFloat(row.cells[3].textContent))"
    falling = script(cells)
    assert falling == sorted(falling, reverse=True)
    script("document.querySelector('table.sortable thead th:nth-child(4) button').click()")
    assert script(cells) == falling[::-1]


def test_a_clip_s_sound_can_be_played(script: Callable[..., Any]) -> None:
    script("document.querySelector('audio').load()")
    assert wait_until(lambda: script("document.querySelector('audio').duration"))
