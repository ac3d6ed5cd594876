"""Absolute times, from recordings' names to tables and the page of make inspect."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.support.ui import Select

from predict import run
from predict.output.submission import read_windows
from report import inspect
from report.html_pages import render_page
from report.submission.activity import MAX_DATES, read_activity
from tests.browser import keep_screenshot, open_browser
from tests.predict.conftest import LABELS, TinyRun

NAMES = ["20200410_235959.wav", "a_20200412_063000.wav", "unknown.wav"]
THRESHOLD = 0.3
TEMPLATE = inspect.TEMPLATE.with_name("activity.html.j2")


@pytest.fixture
def field(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """Three recordings of 2, 2 and 1.3 s: one until the next day, one of another hour, one of unknown time."""
    folder = tmp_path / "field"
    folder.mkdir()
    for name, row in zip(NAMES, [11, 11, 10], strict=True):
        shutil.copy(tiny_run.table["path"].iloc[row], folder / name)
    return folder


def test_times_are_in_tables_and_on_the_page(
    tiny_run: TinyRun, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*tiny_run.arguments, "--input", str(field), "--jobs", "1"]
    folder = tiny_run.run_paths.input_dir(field)
    run.main([*arguments, "--export", "json", "parquet", "--min_score", "0"])
    assert "windows.csv, with the times of 2 of 3 recordings" in capsys.readouterr().out
    windows = pd.read_csv(folder / "windows.csv", keep_default_na=False)
    assert list(windows) == ["clip", "start_s", "end_s", "label", "score", "start_time", "end_time"]
    firsts = windows[windows["start_s"] == 0.75].groupby("clip")[["start_time", "end_time"]].first()
    assert firsts.to_numpy().tolist()[:2] == [
        ["2020-04-10T23:59:59.750", "2020-04-11T00:00:00.250"],
        ["2020-04-12T06:30:00.750", "2020-04-12T06:30:01.250"],
    ]
    assert set(windows.loc[windows["clip"] == NAMES[2], "start_time"]) == {""}
    parquet = pd.read_parquet(folder / "detections.parquet")
    assert parquet.groupby("clip")["start_time"].min()[NAMES[1]] == "2020-04-12T06:30:00.000"
    clips = json.loads((folder / "detections.json").read_text())["clips"]
    assert [clip["detections"][0]["start_time"] for clip in clips] == [
        "2020-04-10T23:59:59.000",
        "2020-04-12T06:30:00.000",
        "",
    ]
    inspect.main([*arguments, "--prediction.threshold", str(THRESHOLD), "--no_maps"])
    check_page(folder, windows[windows["score"] >= THRESHOLD])


def check_page(folder: Path, detected: pd.DataFrame) -> None:
    """The table by date and hour of the page, of all labels and of each."""
    known = detected[detected["start_time"] != ""]
    keys = [known["label"], known["start_time"].str[:10], known["start_time"].str[11:13]]
    counts = known.groupby(keys).size()
    with open_browser() as browser:
        browser.get((folder / "report.html").as_uri())
        rows = (
            "return [...document.querySelectorAll('#activity tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
        )
        for number, label in enumerate(["", *counts.groupby("label").sum().sort_values(ascending=False).index]):
            Select(browser.find_element("css selector", "#activity select")).select_by_index(number)
            by_place = counts[label] if label else counts.groupby(level=[1, 2]).sum()
            shown = {row[0]: row[1:] for row in browser.execute_script(rows)}
            assert list(shown) == ["2020-04-10", "2020-04-11", "2020-04-12", "all"]
            for date, hour, column in [("2020-04-10", "23", 23), ("2020-04-11", "00", 0), ("2020-04-12", "06", 6)]:
                assert shown[date][column] == str(by_place.get((date, hour), 0))
            assert shown["2020-04-12"][7] == ""
            assert shown["all"][24] == str(by_place.sum())
        assert browser.get_log("browser") == []
        browser.execute_script("document.querySelector('#activity').scrollIntoView()")
        keep_screenshot(browser, "activity")


@pytest.mark.parametrize("is_wide", [True, False])
def test_many_days_are_shown_by_month(tmp_path: Path, is_wide: bool) -> None:
    days = pd.date_range("2020-01-01T05:00", periods=100, freq="D")
    assert len(days) > MAX_DATES
    scores = np.random.default_rng(0).random((100, 2))
    rows = pd.DataFrame({"clip": "a", "start_s": range(100), "end_s": range(1, 101)})
    times = pd.DataFrame({"start_time": days.strftime("%Y-%m-%dT%H:%M:%S.000+02:00"), "end_time": ""})
    if is_wide:
        table = pd.concat([rows, pd.DataFrame(scores, columns=["x", "score"]), times], axis=1)
    else:
        by_label = dict(zip(["x", "score"], scores.T, strict=True))
        parts = [rows.assign(label=label, score=values) for label, values in by_label.items()]
        table = pd.concat([pd.concat([part, times], axis=1) for part in parts])
    table.to_csv(tmp_path / "windows.csv", index=False)
    activity = read_activity(tmp_path / "windows.csv", ["x", "score"], ["X", "Score"], np.array([0.5, 0.25]))
    assert activity
    assert (activity["unit"], activity["dates"]) == ("month", ["2020-01", "2020-02", "2020-03", "2020-04"])
    expected = [(scores[days.month == month] >= [0.5, 0.25]).sum(axis=0).tolist() for month in (1, 2, 3, 4)]
    assert activity["labels"] == ["all labels", "Score", "X"]
    counts = np.array(activity["counts"])
    assert counts[2:0:-1, :, 5].T.tolist() == expected
    assert counts[0].tolist() == counts[1:].sum(axis=0).tolist()
    assert counts[0].sum() == np.sum(expected)
    assert np.argwhere(activity["has_windows"]).tolist() == [[month, 5] for month in range(4)]
    found = read_windows(tmp_path / "windows.csv", ["a"], ["x", "score"])["a"]
    np.testing.assert_allclose(found.to_numpy(), scores)


def test_labels_that_are_not_to_choose_from_are_counted(tmp_path: Path) -> None:
    labels = [str(number) for number in range(50)]
    rows = [f"a,0,1,{label},{int(k < int(label))},2020-01-01T07:00:00,\n" for label in labels for k in range(50)]
    (tmp_path / "windows.csv").write_text("".join(["clip,start_s,end_s,label,score,start_time,end_time\n", *rows]))
    activity = read_activity(tmp_path / "windows.csv", labels, labels, 0.5)
    assert activity
    assert activity["labels"] == ["all labels", *labels[:-41:-1]]
    assert [counts[0][7] for counts in activity["counts"]] == [sum(range(50)), *range(49, 9, -1)]
    assert activity["n_detected"] == 49
    html = render_page(TEMPLATE, activity=activity)
    assert "the 40 of 49 labels that are detected most often" in html


def test_a_label_that_holds_the_name_of_a_column_is_none(tmp_path: Path) -> None:
    (tmp_path / "windows.csv").write_text("clip,start_s,end_s,bark,restart_time\nx,0,1,0.5,0.9\n")
    assert read_activity(tmp_path / "windows.csv", ["bark", "restart_time"], ["bark", "restart_time"], 0.5) is None


def test_a_submission_without_times_has_no_section(tiny_run: TinyRun) -> None:
    run.main(tiny_run.arguments)
    folder = tiny_run.run_paths.submission_dir
    assert list(pd.read_csv(folder / "windows.csv")) == ["clip", "start_s", "end_s", "label", "score"]
    assert read_activity(folder / "windows.csv", LABELS, LABELS, 0.5) is None
