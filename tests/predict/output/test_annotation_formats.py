"""Formats of other programs, read back as those programs do."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predict.output.annotation_formats import FORMATS, RAVEN_COLUMNS, stale_exports
from predict.output.detections import Detection
from train.evaluate.score_table import ScoreTable

LABELS = ["Dog, big", "雨\tdrops"]
DETECTIONS = {
    "a/b.wav": [Detection(0.0, 3.0, LABELS[0], 0.9), Detection(21_600.125, 21_603.0, LABELS[1], 0.5)],
    "../../out.wav": [],
}
OUTSIDE = "out.wav~" + hashlib.sha256(b"../../out.wav").hexdigest()[:8]
SCORES = ScoreTable(list(DETECTIONS), LABELS, np.array([[0.9, 0.25], [0.0, 0.1]], np.float32))


def write_format(tmp_path: Path, name: str) -> Path:
    filename, write = FORMATS[name]
    path = tmp_path / filename
    write(path, DETECTIONS, SCORES, 8_000.0)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]
    return path


def test_audacity_reads_start_end_and_a_label_with_its_score(tmp_path: Path) -> None:
    folder = write_format(tmp_path, "audacity")
    rows = [line.split("\t") for line in (folder / "a" / "b.wav.txt").read_text(encoding="utf-8").splitlines()]
    assert rows == [["0.000000", "3.000000", "Dog, big 0.900"], ["21600.125000", "21603.000000", "雨 drops 0.500"]]
    assert (folder / f"{OUTSIDE}.txt").read_text() == ""


def test_raven_reads_a_selection_a_detection(tmp_path: Path) -> None:
    folder = write_format(tmp_path, "raven")
    table = pd.read_csv(folder / "a" / "b.wav.selections.txt", sep="\t")
    assert list(table.columns) == [*RAVEN_COLUMNS, "Label", "Score"]
    assert table["Selection"].tolist() == [1, 2]
    assert table["Begin Time (s)"].tolist() == [0.0, 21_600.125]
    assert table["High Freq (Hz)"].tolist() == [8_000.0, 8_000.0]
    assert table["Label"].tolist() == ["Dog, big", "雨 drops"]
    assert pd.read_csv(folder / f"{OUTSIDE}.selections.txt", sep="\t").empty


def test_json_has_scores_and_detections_of_every_clip(tmp_path: Path) -> None:
    content = json.loads(write_format(tmp_path, "json").read_text(encoding="utf-8"))
    assert content["labels"] == LABELS
    assert [clip["clip"] for clip in content["clips"]] == list(DETECTIONS)
    assert content["clips"][0]["scores"] == {"Dog, big": 0.9, "雨\tdrops": 0.25}
    assert content["clips"][0]["detections"][1] == {
        "start_s": 21_600.125,
        "end_s": 21_603.0,
        "label": LABELS[1],
        "score": 0.5,
    }
    assert content["clips"][1]["detections"] == []


@pytest.mark.parametrize("detections", [DETECTIONS, {clip: [] for clip in DETECTIONS}])
def test_parquet_has_the_columns_of_the_window_table(tmp_path: Path, detections: dict[str, list[Detection]]) -> None:
    filename, write = FORMATS["parquet"]
    write(tmp_path / filename, detections, SCORES, 8_000.0)
    table = pd.read_parquet(tmp_path / filename)
    assert list(table.columns) == ["clip", "start_s", "end_s", "label", "score"]
    assert [str(kind) for kind in table.dtypes[["start_s", "score"]]] == ["float64", "float32"]
    assert len(table) == sum(map(len, detections.values()))


@pytest.mark.parametrize(
    ("name", "files"), [("audacity", ["a/b.wav.txt", f"{OUTSIDE}.txt"]), ("json", ["detections.json"])]
)
def test_files_of_an_earlier_prediction_are_known(tmp_path: Path, name: str, files: list[str]) -> None:
    path = write_format(tmp_path, name)
    assert stale_exports(name, path, list(DETECTIONS)) == []
    folder = path if path.is_dir() else tmp_path
    assert stale_exports(name, path, []) == [folder / file for file in files]
    assert stale_exports(name, path, ["a/b.wav"]) == [folder / file for file in files[1:]]


def test_clips_of_long_and_outward_names_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["a/" + "雨" * 80 + ending for ending in ("1.wav", "2.wav")] + ["a/b.wav", "../a/b.wav", "/a/b.wav"]
    for filename, write in (FORMATS[name] for name in ("audacity", "raven")):
        write(tmp_path / filename, {name: [] for name in names}, SCORES, 8_000.0)
        assert len(list((tmp_path / filename / "a").iterdir())) == len(names)
    assert stale_exports("raven", tmp_path / FORMATS["raven"][0], names) == []
