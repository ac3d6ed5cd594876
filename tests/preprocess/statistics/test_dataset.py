"""Counts of a small dataset, by hand; and its lines in the terminal."""

import json
from typing import Any

import pandas as pd
import pytest

from preprocess.audio.blocks import DecodeError
from preprocess.dataset.clip_table import COLUMNS
from preprocess.dataset.loader import Dataset
from preprocess.statistics.dataset import DatasetStatistics, dataset_statistics
from preprocess.statistics.measure import AudioStats
from preprocess.statistics.report import format_report

ROWS = [
    ("a", "犬;rain", 0, "train", "g1", "curated"),
    ("b", "rain", 1, "train", "g2", "noisy"),
    ("c", "rain", 1, "train", "g3", "curated"),
    ("d", "犬", 0, "train", "g4", "curated"),
    ("e", "", -1, "test", "g4", "curated"),
    ("f", "rain", -1, "test", "g5", "curated"),
]


def sound(digest: str, **changes: Any) -> AudioStats:
    measures: dict[str, Any] = {
        "sample_rate_hz": 8000,
        "n_channels": 1,
        "format": "WAV PCM_16",
        "duration_s": 1800.0,
        "rms_db": -20.0,
        "peak": 0.5,
        "silent_share": 0.0,
        "clipped_share": 0.0,
        "warning": "",
    }
    return AudioStats(**measures | changes, digest=digest)


@pytest.fixture
def stats() -> DatasetStatistics:
    """b cannot be read; a and c are one sound in two folds; d and e too, in training and test; f is silent."""
    table = pd.DataFrame([(row[0], f"/{row[0]}", *row[1:]) for row in ROWS], columns=COLUMNS)
    measured: list[AudioStats | DecodeError] = [
        sound("1"),
        DecodeError("/b", "empty"),
        sound("1", sample_rate_hz=16_000),
        sound("2", clipped_share=0.02),
        sound("2", n_channels=2),
        sound("", silent_share=1.0, duration_s=3600.0),
    ]
    return dataset_statistics(Dataset(table, ["rain", "犬"], warnings=["something was left out"]), measured)


def test_clips_and_hours_are_counted_by_part(stats: DatasetStatistics) -> None:
    assert stats["clips"] == {"all": 6, "curated": 3, "noisy": 1, "unlabelled": 0, "test": 2}
    assert stats["hours"] == {"all": 3.0, "curated": 1.5, "noisy": 0.0, "unlabelled": 0, "test": 1.5}
    assert stats["rates_hz"] == {"8000": 4, "16000": 1}
    assert stats["channels"] == {"1": 4, "2": 1}
    assert stats["lengths_s"]["least"] == stats["lengths_s"]["median"] == 1800
    assert stats["lengths_s"]["most"] == 3600
    assert stats["silent_share"] == pytest.approx(1 / 3)
    assert stats["clipped_share"] == pytest.approx(0.02 / 6, abs=1e-6)


def test_labels_are_counted_by_part_and_fold(stats: DatasetStatistics) -> None:
    rain, dog = stats["labels"]
    assert rain == {
        "label": "rain",
        "clips": {"all": 4, "curated": 2, "noisy": 1, "unlabelled": 0, "test": 1},
        "hours": 2.0,
        "by_fold": {"0": 1, "1": 1},  # the clips it is scored on
    }
    assert dog["by_fold"] == {"0": 2, "1": 0}
    assert stats["co_occurrence"] == [[4, 1], [1, 2]]
    assert stats["labels_per_clip"] == {"1": 4, "2": 1, "0": 1}
    assert stats["folds"] == {
        "0": {"clips": 2, "groups": 2, "hours": 1.0},
        "1": {"clips": 2, "groups": 2, "hours": 0.5},
    }


def test_one_sound_twice_is_found_with_leaks_and_conflicting_labels(stats: DatasetStatistics) -> None:
    assert stats["duplicates"] == [["a", "c"], ["d", "e"]]
    assert [leak["clip"] for leak in stats["leaks"]] == [["a", "c"], ["d", "e"]]
    assert stats["leaks"][1]["split"] == ["train", "test"]
    assert stats["conflicting_labels"] == [{"clip": ["a", "c"], "labels": ["犬;rain", "rain"]}]
    assert stats["groups_in_train_and_test"] == ["g4"]


def test_every_recording_is_in_the_file_or_unreadable(stats: DatasetStatistics) -> None:
    assert [one["clip"] for one in stats["recordings"]] == ["a", "c", "d", "e", "f"]
    assert stats["recordings"][1] == {
        "clip": "c",
        "duration_s": 1800.0,
        "sample_rate_hz": 16_000,
        "channels": 1,
        "rms_db": -20.0,
        "peak": 0.5,
        "silent_share": 0.0,
        "clipped_share": 0.0,
        "warning": "",
    }
    assert stats["unreadable"] == [{"clip": "b", "reason": "empty"}]
    assert json.loads(json.dumps(stats)) == stats


def test_the_report_lists_every_warning(stats: DatasetStatistics) -> None:
    lines = list(format_report(stats))
    warnings = lines[next(place for place, line in enumerate(lines) if line.startswith("! ")) :]
    assert warnings == [
        "! recordings that cannot be read: 1",
        "    b: empty",
        "! recordings of silence: 1",
        "    f",
        "! clipped recordings: 1",
        "    d: 2.0% of its samples",
        "! sounds in two folds, or in training and test: 2",
        "    a (fold 0) = c (fold 1)",
        "    d (fold 0) = e (test)",
        "! sounds labelled in two ways: 1",
        "    a (犬;rain) = c (rain)",
        "! groups with training and test clips: 1",
        "    g4",
        "! folds without a clip of a label, so without a score for it: 1",
        "    犬 in 1",
        "! left out: 1",
        "    something was left out",
    ]
    assert "3.0 h: curated 1.5 h, test 1.5 h" in lines[1]


def test_columns_stand_below_each_other_whatever_the_script(stats: DatasetStatistics) -> None:
    table = [line for line in format_report(stats) if "█" in line]
    assert len(table) == 2
    assert table[0].startswith("rain ")
    wide = [line.replace("犬", "xx").replace("▌", " ") for line in table]
    assert len({len(line) for line in wide}) == 1


def test_a_set_without_warnings_says_so() -> None:
    table = pd.DataFrame([(row[0], "", *row[1:3], *row[3:]) for row in ROWS], columns=COLUMNS)
    table = table.assign(labels="rain", group=table["clip"])
    measured = [sound(str(number)) for number in range(len(ROWS))]
    dataset = Dataset(table, ["rain"], notes=["2 of 9 clips were moved"])
    lines = list(format_report(dataset_statistics(dataset, measured)))
    assert "note      2 of 9 clips were moved" in lines
    assert not [line for line in lines if line.startswith("!")]
    assert lines[-1].startswith("warnings  none")


def test_nothing_readable_is_still_a_survey() -> None:
    table = pd.DataFrame([(row[0], f"/{row[0]}", *row[1:]) for row in ROWS], columns=COLUMNS)
    stats = dataset_statistics(Dataset(table, ["rain", "犬"]), [DecodeError("", "gone")] * len(ROWS))
    assert stats["lengths_s"] == {}
    assert "recordings that cannot be read: 6" in "\n".join(format_report(stats))


def test_many_labels_show_the_most_and_the_least_frequent() -> None:
    vocabulary = [f"label{number:03}" for number in range(100)]
    rows = [(f"{clip}", "", vocabulary[clip % 100], clip % 2, "train", f"{clip}", "curated") for clip in range(150)]
    stats = dataset_statistics(
        Dataset(pd.DataFrame(rows, columns=COLUMNS), vocabulary), [sound(str(row)) for row in range(len(rows))]
    )
    lines = list(format_report(stats))
    assert sum("█" in line for line in lines) == 40
    assert any("60 between" in line for line in lines)
