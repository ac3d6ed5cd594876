"""The page of make serve in a browser: recordings chosen and recorded, answered and refused."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from preprocess.dataset.label_names import IRMAS_NAMES
from tests.browser import check_looks, is_downloaded, keep_screenshot, open_browser, wait_until
from tests.predict.conftest import LABELS, TinyRun
from tests.serve.conftest import RunningServer, end, start

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
    names = script("[...document.querySelectorAll('.downloads a')].map(each => each.textContent)")
    assert names == ["↓ CSV of windows", "↓ JSON", "↓ Audacity labels", "↓ The recording"]
    file = script("document.querySelector('.downloads a:last-child').download")
    assert file.startswith("recorded at ")
    assert file.endswith(".webm")


def test_a_button_that_records_shows_for_how_long(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    button = browser.find_element(By.ID, "record")
    assert script("getComputedStyle(document.querySelector('#record i')).animationName") == "none"
    button.click()
    assert wait_until(lambda: "0:01" in button.text)
    assert script("getComputedStyle(document.querySelector('#record i')).animationName") == "pulse"
    keep_screenshot(browser, "serve_recording")
    button.click()
    assert wait_until(lambda: button.text == "Record from the microphone")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotFoundError", "There is no microphone at this machine."),
        ("NotAllowedError", "The microphone may not be used: allow it for this page in the browser's address bar."),
        ("NotReadableError", "Another program has the microphone."),
    ],
)
def test_a_microphone_that_cannot_be_used_is_said(
    browser: webdriver.Chrome, script: Callable[..., Any], error: str, words: str
) -> None:
    browser.execute_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', arguments[0]))", error
    )
    browser.find_element(By.ID, "record").click()
    assert wait_until(lambda: browser.find_element(By.ID, "message").text) == words
    assert browser.find_element(By.ID, "record").text == "Record from the microphone"


def test_a_page_to_which_the_browser_gives_no_microphone_says_so(
    browser: webdriver.Chrome, script: Callable[..., Any], server: RunningServer
) -> None:
    browser.execute_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    browser.find_element(By.ID, "record").click()
    said = wait_until(lambda: browser.find_element(By.ID, "message").text)
    assert said.startswith("Browsers give the microphone only to pages at https")
    assert said.endswith(f"and not at {server.host}:{server.port}.")


def test_what_is_answered_can_be_taken_away(
    browser: webdriver.Chrome, script: Callable[..., Any], server: RunningServer, tiny_run: TinyRun, tmp_path: Path
) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    path = Path(tiny_run.table["path"].iloc[11])
    choose(browser, path)
    assert wait_until(lambda: script("document.querySelectorAll('.downloads a').length")) == 3
    files = []
    for link in browser.find_elements(By.CSS_SELECTOR, ".downloads a"):
        link.click()
        name = link.get_attribute("download")
        assert name and is_downloaded(tmp_path / name)
        files.append((tmp_path / name).read_bytes().decode())
    table, answer, icons = files
    reply = server.tag(path.read_bytes(), name=path.name)[1]
    assert json.loads(answer) == reply
    rows = list(csv.DictReader(io.StringIO(table)))
    assert rows[0].keys() == {"clip", "start_s", "end_s", "label", "score"}
    for label, scores in reply["windows"]["scores"].items():
        assert [float(row["score"]) for row in rows if row["label"] == label] == scores
    lines = [line.split("\t") for line in icons.splitlines()]
    assert [(float(start), float(end), label) for start, end, label in lines] == [
        (one["start_s"], one["end_s"], one["label"]) for one in reply["detections"]
    ]


def test_the_spectrogram_shows_the_sound_and_moves_with_it(
    browser: webdriver.Chrome, script: Callable[..., Any], tiny_run: TinyRun, tmp_path: Path
) -> None:
    tone, rate_hz = soundfile.read(tiny_run.table["path"].iloc[11])  # of 2,700 Hz
    soundfile.write(tmp_path / "cafe\u0301 แมว?.wav", np.stack([0 * tone, tone], 1), rate_hz)
    choose(browser, str(tmp_path / "cafe\u0301 แมว?.wav"))
    assert wait_until(lambda: script("document.querySelector('.spectrogram')?.hidden === false"))
    column = script(
        "[...document.querySelector('.spectrogram canvas').getContext('2d').getImageData(250, 0, 1, 160).data]"
    )
    brightest = max(range(160), key=lambda y: sum(column[4 * y : 4 * y + 3]))
    mel_share = np.log10(1 + 2_700 / 700) / np.log10(1 + 8_000 / 700)
    assert 1 - brightest / 160 == pytest.approx(mel_share, abs=0.03)
    assert script("document.querySelector('.downloads a').download") == "cafe\u0301 แมว_.wav.csv"
    slider = browser.find_element(By.CSS_SELECTOR, ".spectrogram")
    assert slider.get_attribute("aria-valuemax") == "2"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert wait_until(lambda: slider.get_attribute("aria-valuenow") == "1.0")
    assert float(script("document.querySelector('article').style.getPropertyValue('--played')")) == 0.5
    slider.click()
    assert wait_until(lambda: script("document.querySelector('audio').currentTime > 1.2"))
    keep_screenshot(browser, "serve_answer")


def test_a_card_says_what_was_not_read_and_why_there_is_no_spectrogram(
    browser: webdriver.Chrome, script: Callable[..., Any], tmp_path: Path
) -> None:
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 8 * 8_000)
    soundfile.write(tmp_path / "cut.flac", sound, 8_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    choose(browser, tmp_path / "cut.flac")
    notes = "[...document.querySelectorAll('article .note')].map(each => each.textContent)"
    assert wait_until(lambda: script(notes))[0].startswith("To be checked: it breaks off at ")
    card = "document.querySelector('article')"
    for given, why in [
        ("new Blob(['no sound']), 1", "this browser cannot read the recording"),
        ("new Blob(['no sound']), 901", "the recording is longer than 15 minutes"),
        ("{ size: 51 * 1048576 }, 1", "the recording is larger than 50 MB"),
    ]:
        script(f"drawSpectrogram({card}, {given})")
        assert f"There is no spectrogram: {why}." in script(notes)


def test_labels_have_their_names_and_icons(browser: webdriver.Chrome, tiny_run: TinyRun) -> None:
    names = ["--data.label_names", "{low: double bass}", "--data.label_icons", "{low: cello, 'mid, dle': 🥁}"]
    server = start(tiny_run, *names)
    browser.get_log("browser")  # of pages before
    browser.get(server.url)
    browser.find_element(By.CSS_SELECTOR, ".about summary").click()
    texts = [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".about .label")]
    assert texts == ["double bass", "🥁mid, dle", LABELS[2]]
    assert browser.execute_script("return document.querySelector('.about use').getAttribute('href')") == "#icon-cello"
    assert "trained on 20" in browser.find_element(By.CSS_SELECTOR, ".about summary").text
    choose(browser, tiny_run.table["path"].iloc[11])
    assert wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, "article .scores li"))
    assert "double bass" in [each.text for each in browser.find_elements(By.CSS_SELECTOR, "article .name")]
    assert browser.get_log("browser") == []
    end(server)


def test_every_instrument_of_irmas_has_an_icon(browser: webdriver.Chrome, script: Callable[..., Any]) -> None:
    for name in IRMAS_NAMES.values():
        assert script(f"document.getElementById('icon-{name.replace(' ', '-')}') !== null"), name
    browser.execute_script(
        "document.querySelector('.about').open = true;"
        "document.querySelector('.about ul').replaceChildren(...arguments[0].map(name => {"
        "NAMES[name] = name; return fillLabel(make('li', ''), name); }))",
        list(IRMAS_NAMES.values()),
    )
    assert script("document.querySelectorAll('.about use').length") == len(IRMAS_NAMES)
    assert script("document.querySelector('.about svg').getBoundingClientRect().width") > 10
    assert script("document.querySelector('h1').getBoundingClientRect().top") < 80
    keep_screenshot(browser, "serve_icons")


def test_the_page_fits_a_phone_and_the_dark(
    browser: webdriver.Chrome, script: Callable[..., Any], tiny_run: TinyRun
) -> None:
    choose(browser, tiny_run.table["path"].iloc[11])
    assert wait_until(lambda: script("document.querySelector('.spectrogram')?.hidden === false"))
    check_looks(browser, "serve")


def test_the_pages_load_nothing_from_elsewhere(browser: webdriver.Chrome, server: RunningServer) -> None:
    for path in ("", "docs"):
        browser.get(server.url + path)
        loaded = "return performance.getEntriesByType('resource').map(each => each.name)"
        if path == "docs":
            assert wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".opblock-summary-path"))
        assert all(each.startswith(server.url) or each.startswith("data:") for each in browser.execute_script(loaded))
        assert browser.get_log("browser") == []
