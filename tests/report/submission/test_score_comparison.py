"""make inspect AGAINST=: two runs' scores side by side, in numbers counted by hand, and on the page."""

import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from predict import run
from predict.decide.fitted_params import Thresholds
from predict.output.summary import SubmissionSummary
from report.inspect import main
from report.submission.score_comparison import Comparison
from tests.browser import ROOT, keep_screenshot, open_browser
from tests.predict.conftest import LABELS, TinyRun

SCORES = np.array([[0.9, 0.1], [0.2, 0.6], [0.4, 0.3], [0.8, 0.1]], np.float32)
OTHERS = np.array([[0.8, 0.1], [0.7, 0.4], [0.4, 0.5], [0.5, 0.1]], np.float32)
TRUTH = np.array([[1, 0], [0, 1], [0, 1], [np.nan, np.nan]], np.float32)


def test_clips_that_are_decided_differently_come_first() -> None:
    half = Thresholds(np.full(2, 0.5, np.float32), "0.5")
    summary = SubmissionSummary(list("abcd"), ["x", "y"], SCORES, half, TRUTH)
    comparison = Comparison(("one", "two"), summary, replace(summary, scores=OTHERS))
    clips = comparison.clips
    assert clips["clip"].tolist() == ["b", "c", "d", "a"]
    assert comparison.differing == [1, 2]
    assert clips["label"].tolist() == ["x", "y", "x", "x"]
    np.testing.assert_allclose(clips[["score", "other_score"]], [[0.2, 0.7], [0.3, 0.5], [0.8, 0.5], [0.9, 0.8]])
    assert clips["decided"].tolist() == ["y", "", "x", "x"]
    assert clips["other_decided"].tolist() == ["x", "y", "x", "x"]
    assert clips["is_right"].tolist() == [True, False, False, True]
    assert clips["other_is_right"].tolist() == [False, True, False, True]
    assert {name: values for name, *values in comparison.metrics}["accuracy"] == ["0.667", "0.667"]
    assert "decided differently by two: 2 of 4 clips" in comparison.format()


@pytest.fixture
def two_runs(tiny_run: TinyRun) -> TinyRun:
    """A run and another, named other, of networks of their own; both have predicted."""
    other = replace(tiny_run, run_paths=replace(tiny_run.run_paths, run="other"))
    for fold in (2, 3):
        other.write_network(fold)
    run.main(tiny_run.arguments)
    run.main([*tiny_run.arguments, "--run", "other"])
    return tiny_run


def test_the_page_has_both_runs(two_runs: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    main([*two_runs.arguments, "--against", "other"])
    assert "decided differently by other: " in capsys.readouterr().out
    folder = two_runs.run_paths.submission_dir
    own, other = (pd.read_csv(path / "submission.csv", index_col=0) for path in (folder, folder.with_name("other")))
    differ = ((own >= 0.5) != (other >= 0.5)).any(axis=1)
    assert differ.sum() > 0
    with open_browser() as browser:
        browser.get((folder / "report.html").as_uri())
        assert browser.get_log("browser") == []
        names = "return [...document.querySelectorAll('.against tbody tr')].map(row => row.cells[0].textContent)"
        assert set(browser.execute_script(names)[: differ.sum()]) == set(differ[differ].index)
        cells = "return [...document.querySelector('article').querySelectorAll('h3, .name, .other')]"
        clip, *shown = browser.execute_script(f"{cells}.map(each => each.title || each.textContent)")
        values = browser.execute_script(f"{cells}.map(each => each.textContent)")[1:]
        assert shown[1::2] == ["other"] * len(LABELS)
        expected = [f"{other.loc[clip, label]:.3f}" for label in shown[::2]]
        assert values[1::2] == expected
        keep_screenshot(browser, "inspect_against")


def test_a_run_that_is_missing_or_unlike_is_one_line(two_runs: TinyRun) -> None:
    with pytest.raises(UserError, match=r"none/submission\.csv is not there: run make predict RUN=none first"):
        main([*two_runs.arguments, "--against", "none"])
    path = two_runs.run_paths.submission_dir.with_name("other") / "submission.csv"
    pd.read_csv(path).rename(columns={"low": "bass"}).to_csv(path, index=False)
    (path.with_name("provenance.json")).unlink()
    with pytest.raises(UserError, match="tiny has no scores of label 'bass', which other has"):
        main([*two_runs.arguments, "--against", "other"])
    assert not (two_runs.run_paths.submission_dir / "report.html").exists()


def test_make_names_the_other_run() -> None:
    command = ["make", "-n", "-o", ".venv/.ready", "inspect", "AGAINST=other"]
    line = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m report.inspect" in line
    assert " --against='other'" in line
