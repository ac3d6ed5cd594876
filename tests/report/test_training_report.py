"""make report, by its command line: the page of a run that was trained on seconds of tones, in a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium import webdriver

from core.errors import UserError
from recipe import as_dict
from report import training_report
from tests.browser import open_browser
from tests.predict.conftest import FEATURES, LABELS, TinyRun, make_tiny_run
from train import fit

FEATURE_KEYS = [f"--features.{key}={value}" for key, value in as_dict(FEATURES).items() if value not in (None, [])]
NOISY = 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Networks of two folds, two epochs each; clip NOISY is noisy."""
    run = make_tiny_run(tmp_path_factory.mktemp("trained"))
    run.table.loc[NOISY, "label_quality"] = "noisy"
    run.write_table(run.table)
    options = ["--training.epochs", "2", "--training.batch_size", "2", "--training.crop_seconds", "0.5"]
    fit.main([*run.arguments, *FEATURE_KEYS, *options, "--restart", "--device", "cpu"])
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
    assert script("document.documentElement.scrollWidth <= innerWidth")


def test_curves_are_those_of_the_log(trained: TinyRun, script: Callable[..., Any]) -> None:
    charts = script("[...document.querySelectorAll('figure')].map(each => each.querySelector('svg').ariaLabel)")
    loss = next(label for label in charts if label.startswith("loss, over epoch"))
    log = pd.read_csv(trained.run_paths.run_dir / "fold1" / "log.csv")
    assert f"fold1, training {log['train_loss'].iloc[-1]:.4g}" in loss
    assert f"fold1, held-out clips {log['val_loss'].iloc[-1]:.4g}" in loss
    assert any(label.startswith("learning rate") for label in charts)
    lines = script("[...document.querySelector('figure').querySelectorAll('polyline')].map(each => each.points.length)")
    assert lines == [2] * 4


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


def test_a_run_that_was_not_trained_says_what_to_run(trained: TinyRun) -> None:
    with pytest.raises(UserError, match="run make train first"):
        training_report.main([*trained.arguments, "--run", "other"])
