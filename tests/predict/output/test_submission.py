"""Submissions: the sample's shape, what is refused, and CSVs that read back as they were written."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.csv_tables import read_table
from core.errors import UserError
from predict.inference.tagger import ClipPrediction
from predict.output.detections import DetectionFilter
from predict.output.submission import (
    SampleSubmission,
    align_to_sample,
    read_sample,
    read_windows,
    write_decisions,
    write_submission,
    write_windows,
)
from train.evaluate.score_table import ScoreTable, read_scores

SCORES = ScoreTable(["b.wav", "a,.wav"], ["rain", "Dog, big"], np.array([[0.1, 0.9], [0.3, 0.7]], np.float32))


def test_scores_take_the_sample_s_rows_columns_and_order() -> None:
    fitted, missing = align_to_sample(SCORES, SampleSubmission("fname", ["a,.wav", "b.wav"], ["Dog, big", "rain"]))
    assert missing == []
    assert (fitted.clips, fitted.labels) == (["a,.wav", "b.wav"], ["Dog, big", "rain"])
    np.testing.assert_array_equal(fitted.values, np.array([[0.7, 0.3], [0.9, 0.1]], np.float32))


def test_a_clip_without_scores_gets_the_mean_of_the_others_and_is_named() -> None:
    fitted, missing = align_to_sample(
        SCORES, SampleSubmission("fname", ["a,.wav", "lost.wav", "b.wav"], ["rain", "Dog, big"])
    )
    assert missing == ["lost.wav"]
    np.testing.assert_allclose(fitted.values[1], [0.2, 0.8], rtol=1e-6)


class Counted(list[str]):
    """Names that count how often they are gone through."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


def test_the_sample_s_clips_are_not_gone_through_for_every_clip() -> None:
    names = Counted(f"{number}.wav" for number in range(100))
    scores = ScoreTable(list(names), ["rain"], np.full((100, 1), 0.5, np.float32))
    align_to_sample(scores, SampleSubmission("fname", names, ["rain"]))
    assert names.times < 10


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        (SampleSubmission("fname", ["b.wav"], ["rain", "Dog, big"]), "a,.wav"),
        (SampleSubmission("fname", SCORES.clips, ["rain"]), "Dog, big"),
        (SampleSubmission("fname", SCORES.clips, ["rain", "Dog, big", "cat"]), "cat"),
    ],
)
def test_scores_that_are_not_the_sample_s_are_refused(sample: SampleSubmission, named: str) -> None:
    with pytest.raises(UserError, match=named):
        align_to_sample(SCORES, sample)


def test_a_submission_reads_back_as_written(tmp_path: Path) -> None:
    path, sample = tmp_path / "deep" / "run.csv", SampleSubmission("fname", SCORES.clips, SCORES.labels)
    write_submission(path, SCORES, sample)
    assert path.read_text().splitlines()[0] == 'fname,rain,"Dog, big"'
    back = read_scores(path)
    assert (back.clips, back.labels) == (SCORES.clips, SCORES.labels)
    np.testing.assert_array_equal(back.values, SCORES.values)


@pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
def test_a_score_that_is_no_probability_gets_no_name(tmp_path: Path, value: float) -> None:
    wrong = ScoreTable(["a"], ["x", "y"], np.array([[0.5, value]], np.float32))
    with pytest.raises(UserError, match="'a', 'y'"):
        write_submission(tmp_path / "run.csv", wrong, None)
    assert list(tmp_path.iterdir()) == []


def test_no_submission_yet_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv.*make predict"):
        read_scores(tmp_path / "none.csv")


def test_the_sample_is_its_first_column_and_its_labels(tmp_path: Path) -> None:
    assert read_sample(tmp_path / "none.csv") is None
    (tmp_path / "sample.csv").write_text('fname,"Dog, big",rain\n1.wav,0,0\n')
    assert read_sample(tmp_path / "sample.csv") == SampleSubmission("fname", ["1.wav"], ["Dog, big", "rain"])


def test_windows_are_a_row_a_window_and_label(tmp_path: Path) -> None:
    starts, ends = np.array([0.0, 1.0 / 3]), np.array([3.0, 3 + 1.0 / 3])
    clip_prediction = ClipPrediction(
        starts, ends, np.array([[0.5, 1e-7], [0.25, 1.0]], np.float32), np.array([0.4, 0.5], np.float32), 9.0
    )
    clip, labels = 'a,"b" 5%d.wav', ["50 %s, wet", "100%"]
    write_windows(tmp_path / "windows.csv", {clip: clip_prediction}, labels)
    table = pd.read_csv(tmp_path / "windows.csv")
    assert list(table.columns) == ["clip", "start_s", "end_s", "label", "score"]
    assert set(table["clip"]) == {clip}
    assert table["label"].tolist() == labels * 2
    assert table["start_s"].tolist() == [0, 0, 0.333, 0.333]
    assert table["score"].tolist() == [0.5, 1e-7, 0.25, 1.0]


def test_a_wide_table_has_a_row_a_window_and_blanks_for_what_is_not_shown(tmp_path: Path) -> None:
    windows = np.array([[0.5, 0.125], [0.25, 1.0]], np.float32)
    clip_prediction = ClipPrediction(np.array([0.0, 0.5]), np.array([1.0, 1.5]), windows, windows.mean(0), 9.0)
    for filters, cells in ((None, windows), (DetectionFilter(0.2, 1), [[0.5, np.nan], [np.nan, 1.0]])):
        write_windows(tmp_path / "wide.csv", {"a,.wav": clip_prediction}, SCORES.labels, filters, wide=True)
        table = pd.read_csv(tmp_path / "wide.csv")
        assert list(table.columns) == ["clip", "start_s", "end_s", *SCORES.labels]
        assert table["clip"].tolist() == ["a,.wav"] * 2
        assert table["end_s"].tolist() == [1.0, 1.5]
        np.testing.assert_array_equal(table[SCORES.labels], cells)


@pytest.mark.parametrize("wide", [False, True])
def test_absolute_times_stand_behind_the_others_where_any_is_known(tmp_path: Path, wide: bool) -> None:
    prediction = ClipPrediction(
        np.array([59.9996]), np.array([61.5]), np.array([[0.5, 0.125]], np.float32), np.zeros(2), 61.5
    )
    start = datetime(2020, 4, 10, 23, 59, tzinfo=timezone(timedelta(hours=-3)))
    both = {"a.wav": prediction, "b.wav": prediction}
    write_windows(tmp_path / "windows.csv", both, SCORES.labels, wide=wide, start_times={"a.wav": start})
    table = pd.read_csv(tmp_path / "windows.csv", keep_default_na=False)
    assert list(table.columns[-2:]) == ["start_time", "end_time"]
    times = table.groupby("clip")[["start_time", "end_time"]].first()
    assert list(times.loc["a.wav"]) == ["2020-04-11T00:00:00.000-03:00", "2020-04-11T00:00:01.500-03:00"]
    assert list(times.loc["b.wav"]) == ["", ""]
    found = read_windows(tmp_path / "windows.csv", ["b.wav"], SCORES.labels)["b.wav"]
    assert found.to_numpy().tolist() == [[0.5, 0.125]]


@pytest.mark.parametrize("clip", ["two\nlines.wav", "a\rreturn.wav", 'say "hi"\r\n%d.wav'])
def test_names_with_line_breaks_stay_in_their_cells(tmp_path: Path, clip: str) -> None:
    windows = np.array([[0.5, 0.125]], np.float32)
    clip_prediction = ClipPrediction(np.array([0.0]), np.array([1.0]), windows, windows[0], 9.0)
    for wide, n_rows in ((False, 2), (True, 1)):
        write_windows(tmp_path / "windows.csv", {clip: clip_prediction}, ["one\nlabel", "other"], wide=wide)
        table = read_table(tmp_path / "windows.csv")
        assert table["clip"].tolist() == [clip] * n_rows
        assert "one\nlabel" in [*table.columns, *table.get("label", [])]


def test_windows_of_no_length_are_in_no_table(tmp_path: Path) -> None:
    windows = np.array([[0.5, 0.125], [0.25, 1.0], [0.75, 0.5]], np.float32)
    clip_prediction = ClipPrediction(
        np.array([0.0, 0.0, 0.4]), np.array([0.0, 0.4, 0.4]), windows, windows.mean(0), 9.0
    )
    for wide, n_rows in ((False, 2), (True, 1)):
        write_windows(tmp_path / "windows.csv", {"a.wav": clip_prediction}, SCORES.labels, wide=wide)
        table = pd.read_csv(tmp_path / "windows.csv")
        assert table[["start_s", "end_s"]].to_numpy().tolist() == [[0, 0.4]] * n_rows


@pytest.mark.parametrize("wide", [False, True])
def test_windows_are_read_back_for_some_clips(tmp_path: Path, wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predict.output.submission.CHUNK_ROWS", 5)  # which part windows of one clip
    random, labels = np.random.default_rng(0), ["NA", 'a,"b"', "score"]
    predictions = {
        clip: ClipPrediction(np.arange(n) / 4, np.arange(n) / 4 + 0.5, windows, windows[0], 9.0)
        for clip, n in (("nan", 7), ("other", 4), ("c\r.wav", 2))
        for windows in [random.random((n, 3)).astype(np.float32)]
    }
    for filters in (DetectionFilter(), DetectionFilter(0.1, 1)):
        write_windows(tmp_path / "windows.csv", predictions, labels, filters, wide=wide)
        found = read_windows(tmp_path / "windows.csv", ["nan", "c\r.wav", "unknown"], labels)
        assert found.keys() == {"nan", "c\r.wav"}
        for clip, table in found.items():
            prediction = predictions[clip]
            expected = np.where(filters.select(prediction.windows), prediction.windows, np.nan)
            np.testing.assert_allclose(table, expected, atol=1e-5)
            assert table.index.get_level_values("start_s").tolist() == prediction.start_s.tolist()
            assert table.index.get_level_values("end_s").tolist() == prediction.end_s.tolist()


def test_another_table_is_no_table_of_windows(tmp_path: Path) -> None:
    (tmp_path / "windows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no table of windows"):
        read_windows(tmp_path / "windows.csv", ["a"], ["b"])


def test_decisions_are_joined_labels(tmp_path: Path) -> None:
    write_decisions(tmp_path / "labels.csv", SCORES, np.array([[True, True], [False, False]]))
    table = pd.read_csv(tmp_path / "labels.csv", keep_default_na=False)
    assert table["labels"].tolist() == ["rain;Dog, big", ""]
    assert table["clip"].tolist() == SCORES.clips
