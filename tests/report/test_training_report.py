"""make report, by its command line: the page of a run that was trained on seconds of tones, in a browser."""

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from core.csv_tables import read_table
from core.errors import UserError
from predict.decide.fitted_params import write_params
from recipe import as_dict
from report import training_report
from tests.browser import check_looks, is_downloaded, keep_screenshot, open_browser, wait_until
from tests.predict.conftest import FEATURES, LABELS, TinyRun, make_tiny_run
from train import fit
from train.data.corrected_clips import read_corrected_clips
from train.runs.checkpoint import load_checkpoint
from train.runs.run_folder import find_best_checkpoints

FEATURE_KEYS = [f"--features.{key}={value}" for key, value in as_dict(FEATURES).items() if value not in (None, [])]
OPTIONS = ["--training.epochs", "2", "--training.batch_size", "2", "--training.crop_seconds", "0.5", "--device", "cpu"]
NOISY = 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Networks of two folds, two epochs each; clips of fold 1 have wrong labels, and one of them is noisy."""
    run = make_tiny_run(tmp_path_factory.mktemp("trained"))
    run.table.loc[[1, 3, NOISY], "labels"] = [LABELS[2], LABELS[1], LABELS[0]]
    run.table.loc[NOISY, "label_quality"] = "noisy"
    run.write_table(run.table)
    fit.main([*run.arguments, *FEATURE_KEYS, *OPTIONS, "--restart"])
    return run


@pytest.fixture(scope="module")
def page(trained: TinyRun) -> Path:
    """The page, as the command writes it."""
    training_report.main([*trained.arguments, "--device", "cpu", "--jobs", "1"])
    return trained.run_paths.submission_dir / "training_report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser() as chrome:
        yield chrome


@pytest.fixture
def script(browser: webdriver.Chrome, page: Path) -> Callable[..., Any]:
    """The page is open: this runs a line of JavaScript in it."""
    browser.get(page.as_uri())
    return lambda line, *given: browser.execute_script(f"return {line}", *given)


def test_the_page_opens_without_complaint_and_needs_no_other_file(
    browser: webdriver.Chrome, script: Callable[..., Any]
) -> None:
    assert browser.title == "tiny, training · Earmark"
    assert browser.get_log("browser") == []
    links = script("[...document.querySelectorAll('[src], [href]')].map(each => each.src || each.href)")
    assert all(link.startswith("data:") for link in links)
    check_looks(browser, "training_report")


def test_curves_are_those_of_the_log(trained: TinyRun, script: Callable[..., Any]) -> None:
    charts = script("[...document.querySelectorAll('figure')].map(each => each.querySelector('svg').ariaLabel)")
    loss = next(label for label in charts if label.startswith("loss, over epoch"))
    log = pd.read_csv(trained.run_paths.run_dir / "fold1" / "log.csv")
    assert f"fold1, training {log['train_loss'].iloc[-1]:.4g}" in loss
    assert f"fold1, held-out clips {log['val_loss'].iloc[-1]:.4g}" in loss
    assert any(label.startswith("learning rate at the end of an epoch") for label in charts)
    lines = script("[...document.querySelector('figure').querySelectorAll('polyline')].map(each => each.points.length)")
    assert lines == [2] * 4


def test_the_page_names_what_the_networks_were_trained_with(trained: TinyRun, script: Callable[..., Any]) -> None:
    versions = {load_checkpoint(path).versions["torch"] for path in find_best_checkpoints(trained.run_paths.run_dir)}
    assert versions == {version("torch")}
    text = script("document.body.innerText")
    assert f"Trained with Python {platform.python_version()}, torch {version('torch')}, torchvision " in text
    assert ", device CPU." in text
    assert 'RECIPE=… RUN=tiny_corrected ARGS="… --training.corrections' in text  # the page knows not which recipe file


def test_labels_have_the_metrics_of_make_train(trained: TinyRun, script: Callable[..., Any]) -> None:
    rows = script("[...document.querySelectorAll('.labels tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    expected = pd.read_csv(trained.run_paths.run_dir / "per_label.csv", index_col="label")
    assert sorted(row[0] for row in rows) == sorted(LABELS)
    for label, average_precision, _, _, f1, clips, threshold in rows:
        assert float(average_precision) == pytest.approx(expected.loc[label, "average_precision"], abs=6e-4)
        assert float(f1.replace("\N{EN DASH}", "nan")) == pytest.approx(
            expected.loc[label, "f1"], abs=6e-4, nan_ok=True
        )
        assert (int(clips), threshold) == (expected.loc[label, "clips"], "0.500")
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)
    script("document.querySelectorAll('.labels th button')[5].click()")
    clips = script("[...document.querySelectorAll('.labels tbody tr')].map(row => Number(row.cells[5].textContent))")
    assert clips == sorted(clips, reverse=True) == [2, 2, 1]


def test_the_confusion_matrix_is_that_of_make_train(trained: TinyRun, script: Callable[..., Any]) -> None:
    row = "row => [...row.querySelectorAll('td')].map(cell => Number(cell.textContent))"
    cells = f"[...document.querySelectorAll('.matrix tbody tr')].map({row})"
    expected = pd.read_csv(trained.run_paths.run_dir / "confusion.csv", index_col="label")
    assert script(cells) == expected.to_numpy().tolist()


def test_the_map_names_its_clips_to_the_mouse_the_keyboard_and_in_the_dark(
    trained: TinyRun, browser: webdriver.Chrome, script: Callable[..., Any]
) -> None:
    points = "[...document.querySelectorAll('.map path')]"
    titles = script(f"{points}.map(point => point.textContent)")
    table = trained.table[(trained.table["split"] == "train") & (trained.table["fold"] == 0)]
    assert sorted(titles) == sorted(f"{row.clip}: {row.labels}" for row in table.itertuples())
    assert "The 3 clips of fold 0, by one network" in script("document.querySelector('.clip-map').parentNode.innerText")
    svg, name = browser.find_element("css selector", ".map"), "document.querySelector('.clip-map output').textContent"
    for key, expected in ((Keys.ARROW_RIGHT, 0), (Keys.ARROW_DOWN, 1), (Keys.ARROW_LEFT, 0), (Keys.ARROW_UP, 2)):
        svg.send_keys(key)
        assert script(name) == titles[expected]
    script(f"{points}[1].dispatchEvent(new MouseEvent('mouseenter'))")
    assert script(name) == titles[1]
    assert script("document.querySelectorAll('.map .current').length") == 1
    button = browser.find_element("css selector", ".clip-map button:last-of-type")
    button.send_keys(Keys.ENTER)
    alone = "[...document.querySelectorAll('.map g:not(.unchosen)')].map(group => group.dataset.group)"
    assert script(alone) == [button.get_attribute("data-group")]
    svg.send_keys(Keys.ARROW_RIGHT)
    assert script(name).endswith(script(alone)[0])
    button.send_keys(Keys.ENTER)
    assert len(script(alone)) == 3
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        colours = script("[...document.querySelectorAll('.map g path')].map(point => getComputedStyle(point).fill)")
        assert len(set(colours)) == 3
        assert script("getComputedStyle(document.querySelector('.map')).backgroundColor") not in colours
        script("document.querySelector('.clip-map').scrollIntoView({block: 'center'})")
        keep_screenshot(browser, f"clip_map_{scheme}")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def downloads(browser: webdriver.Chrome, tmp_path: Path) -> Path:
    """The folder to which the browser downloads."""
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    return tmp_path


def download(script: Callable[..., Any], folder: Path) -> Path:
    path = folder / "corrections.csv"
    path.unlink(missing_ok=True)
    script("document.querySelector('.download').click()")
    assert is_downloaded(path)
    return path


def test_clips_to_check_are_the_label_issues_of_make_train_and_play(
    trained: TinyRun, script: Callable[..., Any]
) -> None:
    issues = pd.read_csv(trained.run_paths.run_dir / "label_issues.csv")["clip"].tolist()
    assert issues
    shown = "[...document.querySelectorAll('article:not([hidden])')].map(card => card.dataset.clip)"
    assert script(shown) == issues
    script("document.querySelector('.filters [data-reason=loss]').click()")
    assert len(script(shown)) == 5
    assert trained.table["clip"][NOISY] not in script(shown)
    script("document.querySelector('audio').load()")
    assert wait_until(lambda: script("document.querySelector('audio').duration"))
    maps = "document.querySelectorAll('.picture .saliency').length"
    script("document.querySelector('button[data-saliency]').click()")
    assert script(maps) == 1


def test_decisions_become_corrections_that_training_takes(
    trained: TinyRun, browser: webdriver.Chrome, script: Callable[..., Any], downloads: Path
) -> None:
    assert script("document.querySelector('.download').disabled")
    first, second, third, *_ = script("[...document.querySelectorAll('article:not([hidden])')]")
    clips = [script("arguments[0].dataset.clip", card) for card in (first, second, third)]
    script("arguments[0].querySelector('[data-decision=drop]').click()", first)
    second.send_keys("r")
    boxes = script("[...arguments[0].querySelectorAll('input')]", second)
    assert script("arguments[0].checkVisibility() && document.activeElement === arguments[0]", boxes[0])
    for box in boxes:
        script(
            "arguments[0].checked !== (arguments[1] !== 'low') && arguments[0].click()", box, box.get_attribute("value")
        )
    third.send_keys("k")
    assert script("document.querySelector('#decided').textContent") == "1 kept, 1 relabelled, 1 dropped, of 6"
    path = download(script, downloads)
    corrected = read_corrected_clips(trained.run_paths, str(path))
    labels = corrected.table.set_index("clip")["labels"]
    assert corrected.dropped == {clips[0]}
    relabelled = labels[clips[1]]
    assert sorted(relabelled.split(";")) == sorted(LABELS[1:])
    before = trained.table.set_index("clip")["labels"]
    assert labels.drop(clips[1]).equals(before[labels.index].drop(clips[1]))

    run = [*trained.arguments, "--run", "corrected"]
    fit.main([*run, *FEATURE_KEYS, *OPTIONS, "--training.corrections", str(path.rename(downloads / "first.csv"))])
    training_report.main([*run, "--device", "cpu", "--clips", "3"])
    browser.get((trained.run_paths.submissions / "corrected" / "training_report.html").as_uri())
    card = script("document.querySelector('article:not([hidden])')")
    card.send_keys("d")
    again = read_table(download(script, downloads)).set_index("clip")["labels"].to_dict()
    assert again == {clips[0]: "drop", clips[1]: relabelled, card.get_attribute("data-clip"): "drop"}


def test_clips_with_events_cannot_be_relabelled(
    trained: TinyRun, page: Path, browser: webdriver.Chrome, script: Callable[..., Any]
) -> None:
    events = trained.table.assign(start_s=0.0, end_s=1.0).rename(columns={"labels": "label"})
    events[["clip", "start_s", "end_s", "label"]].to_csv(trained.run_paths.events_csv, index=False)
    try:
        training_report.main([*trained.arguments, "--device", "cpu", "--jobs", "1"])
    finally:
        trained.run_paths.events_csv.unlink()
    browser.get(page.as_uri())
    decisions = "[...document.querySelectorAll('.decision button')].map(each => each.textContent)"
    assert set(script(decisions)) == {"keep", "drop"}
    card = browser.find_element("css selector", "article[data-clip]")
    card.send_keys("k", "r")
    assert script("arguments[0].querySelector('[data-decision=keep]').ariaPressed", card) == "true"
    assert "mend the tables of events" in script("document.querySelector('#clips').textContent")


def test_calibration_of_another_prediction_is_left_out_and_said_to_be(trained: TinyRun, page: Path) -> None:
    path = trained.run_paths.run_dir / "calibration.json"
    measures = {"calibration_error": 0.125, "log_loss": 1.0, "reliability": []}
    fitted = {"temperature": 1.0, "fold_temperature": 1.0, "prediction": {"pooling": "mean"}}
    write_params(path, {"before": measures, "after": measures, **fitted})
    training_report.main([*trained.arguments, "--device", "cpu", "--jobs", "1", "--prediction.pooling", "max"])
    html = page.read_text(encoding="utf-8")
    path.unlink()
    assert f"There are no figures of calibration: {path} is for prediction.pooling mean: run make calibrate" in html
    assert "0.1250" not in html


def test_thresholds_of_the_same_clips_are_told(
    trained: TinyRun, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained.run_paths.run_dir / "thresholds.json"
    write_params(path, {"thresholds": dict.fromkeys(LABELS, 0.4), "prediction": {}})
    training_report.main([*trained.arguments, "--device", "cpu", "--jobs", "1"])
    path.unlink()
    assert "thresholds were tuned on these clips: F1" in capsys.readouterr().out
    assert "These thresholds were tuned on the same clips" in page.read_text(encoding="utf-8")


def test_a_run_that_was_not_trained_says_what_to_run(trained: TinyRun) -> None:
    with pytest.raises(UserError, match="run make train first"):
        training_report.main([*trained.arguments, "--run", "other"])
