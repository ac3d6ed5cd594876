"""Verdicts as training data, and tables of verdicts that contradict themselves."""

from pathlib import Path

import pandas as pd
import pytest

from core.errors import UserError
from report.verdicts.clip_choice import find_other_labels
from report.verdicts.verdict_table import read_verdicts, training_rows

CLIPS = pd.DataFrame(
    [
        ("1", "a", "r", ""),
        ("1", "b", "r", ""),
        ("2", "a", "s", "b"),
        ("3", "a", "t", "b"),
        ("3", "b", "t", "a"),
        ("4", "a", "t", "c"),
        ("5", "a", "t", "b"),
        ("6", "a", "t", "b"),
    ],
    columns=["clip", "label", "recording", "other_labels"],
)
VERDICTS = [
    ("1", "a", "yes", ""),
    ("1", "b", "Yes", ""),
    ("2", "a", "no", ""),
    ("3", "a", "no", ""),
    ("3", "b", "no", ""),
    ("4", "a", "yes", ""),
    ("5", "a", "other", "d, e"),
    ("6", "a", "", ""),
]


def read(folder: Path, rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    pd.DataFrame(rows, columns=["clip", "label", "verdict", "other"]).to_csv(folder / "verdicts.csv", index=False)
    return read_verdicts(folder / "verdicts.csv", CLIPS)


def test_a_clip_has_all_labels_that_are_there_and_is_a_negative_where_all_found_are_judged(tmp_path: Path) -> None:
    verdicts = read(tmp_path, VERDICTS)
    assert len(verdicts) == 7
    rows, n_left_out = training_rows(verdicts, CLIPS, 2, None)
    assert n_left_out == 1  # clip 2, in which b was found too
    assert rows == [
        ("1", "a;b", "train", "r"),
        ("3", "", "train", "t"),
        ("4", "a", "train", "t"),
        ("5", "d, e", "train", "t"),
    ]
    assert {row[3] for row in training_rows(verdicts, CLIPS, 3, None)[0]} == {""}  # clip 2 is the only one of s


def test_groups_are_what_the_pattern_finds_in_recordings_names(tmp_path: Path) -> None:
    clips = CLIPS.assign(recording="site1/" + CLIPS["recording"])
    clips.loc[clips["clip"] == "1", "recording"], clips.loc[clips["clip"] == "5", "recording"] = "loose", "site2/t"
    verdicts = read(tmp_path, VERDICTS)
    rows, _ = training_rows(verdicts, clips, 3, r"^(site\d+)/")
    assert [row[3] for row in rows] == ["loose", "site1", "site1", "site2"]
    assert {row[3] for row in training_rows(verdicts, clips, 4, r"^(site\d+)/")[0]} == {""}
    assert [row[3] for row in training_rows(verdicts, clips, 2, "nowhere")[0]][:2] == ["loose", "site1/t"]


def test_a_clip_judged_twice_is_refused_where_the_verdicts_differ(tmp_path: Path) -> None:
    assert len(read(tmp_path, [VERDICTS[0], VERDICTS[0]])) == 1
    with pytest.raises(UserError, match="judges clip '1' twice, and differently"):
        read(tmp_path, [VERDICTS[0], ("1", "a", "no", "")])


def test_other_labels_are_of_the_window_and_of_all_windows_within_a_longer_clip() -> None:
    found = [("r", 0, "b"), ("r", 3, "a"), ("r", 3, "c"), ("r", 6, "d"), ("r", 9, "e"), ("s", 3, "f")]
    rows = [(recording, start_s, start_s + 3.0, label, 0.6) for recording, start_s, label in found]
    columns = ["recording", "window_start_s", "window_end_s", "label", "score"]
    detections = pd.DataFrame([*rows, ("r", 3.0, 6.0, "g", 0.4)], columns=columns)
    thresholds = dict.fromkeys("abcdefg", 0.5)
    places = pd.DataFrame({"start_s": [4.0, 3.0, 0.5], "end_s": [5.0, 6.0, 9.5]})  # shorter, as long, longer
    clips = pd.concat([detections.iloc[[1, 1, 1]].reset_index(drop=True), places], axis=1)
    assert find_other_labels(clips, detections, thresholds) == [["c"], ["c"], ["c", "d"]]
    assert find_other_labels(clips.iloc[:0], detections, thresholds) == []
