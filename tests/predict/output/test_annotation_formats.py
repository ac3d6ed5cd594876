"""Formats of other programs, read back as those programs do."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predict.output.annotation_formats import (
    FORMATS,
    RAVEN_COLUMNS,
    RAVEN_FILE_LIST,
    Exported,
    highest_hz,
    stale_exports,
)
from predict.output.detections import Detection
from recipe import Features
from train.evaluate.score_table import ScoreTable

LABELS = ["Dog, big", "雨\tdrops"]
DETECTIONS = {
    "a/b.wav": [Detection(0.0, 3.0, LABELS[0], 0.9), Detection(21_600.125, 21_603.0, LABELS[1], 0.5)],
    "../../out.wav": [],
}
OUTSIDE = "out.wav~" + hashlib.sha256(b"../../out.wav").hexdigest()[:8]
SCORES = ScoreTable(list(DETECTIONS), LABELS, np.array([[0.9, 0.25], [0.0, 0.1]], np.float32))


def export_of(detections: dict[str, list[Detection]], **changes: object) -> Exported:
    """What is written of detections in recordings below /field, each of 60,000.5 s."""
    recordings = {clip: Path("/field", clip) for clip in detections}
    exported = Exported(detections, SCORES, recordings, dict.fromkeys(detections, 60_000.5), fmax_hz=8_000.0)
    return replace(exported, **changes)  # type: ignore[arg-type]


def write_format(
    tmp_path: Path, name: str, detections: dict[str, list[Detection]] = DETECTIONS, **changes: object
) -> Path:
    filename, write = FORMATS[name]
    path = tmp_path / filename
    write(path, export_of(detections, **changes))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]
    return path


def test_audacity_reads_start_end_and_a_label_with_its_score(tmp_path: Path) -> None:
    folder = write_format(tmp_path, "audacity")
    rows = [line.split("\t") for line in (folder / "a" / "b.wav.txt").read_text(encoding="utf-8").splitlines()]
    assert rows == [["0.000000", "3.000000", "Dog, big 0.900"], ["21600.125000", "21603.000000", "雨 drops 0.500"]]
    assert (folder / f"{OUTSIDE}.txt").read_text() == ""


def test_audacity_labels_may_stand_without_their_scores(tmp_path: Path) -> None:
    lines = (write_format(tmp_path, "audacity", audacity_scores=False) / "a" / "b.wav.txt").read_text(encoding="utf-8")
    assert lines == "0.000000\t3.000000\tDog, big\n21600.125000\t21603.000000\t雨 drops\n"


def test_raven_reads_a_selection_a_detection(tmp_path: Path) -> None:
    folder = write_format(tmp_path, "raven")
    table = pd.read_csv(folder / "a" / "b.wav.selections.txt", sep="\t")
    assert list(table.columns) == [*RAVEN_COLUMNS, "Label", "Score"]
    assert table["Selection"].tolist() == [1, 2]
    assert table["Begin Time (s)"].tolist() == [0.0, 21_600.125]
    assert table["High Freq (Hz)"].tolist() == [8_000.0, 8_000.0]
    assert table["Label"].tolist() == ["Dog, big", "雨 drops"]
    assert pd.read_csv(folder / f"{OUTSIDE}.selections.txt", sep="\t").empty


@pytest.mark.parametrize(
    ("features", "expected_hz"),
    [
        (Features(sample_rate_hz=16_000), 8_000.0),
        (Features(sample_rate_hz=16_000, fmax_hz=6_000.0), 6_000.0),
        (Features("stft", 16_000, fmax_hz=6_000.0), 8_000.0),
        (Features("cqt", 16_000, n_bins=60, fmin_hz=32.0), 32.0 * 2**5),
        (Features("cqt_chroma", 16_000, n_bins=12, fmin_hz=32.0), 32.0 * 2**7),
    ],
)
def test_selections_are_as_high_as_frames_reach(features: Features, expected_hz: float) -> None:
    assert highest_hz(features) == pytest.approx(expected_hz)


def test_raven_reads_all_recordings_as_one_sound(tmp_path: Path) -> None:
    detections = {"a/b.wav": DETECTIONS["a/b.wav"], "empty.wav": [], "c d.wav": [Detection(1.5, 2.0, "Dog, big", 1.0)]}
    table = pd.read_csv(write_format(tmp_path, "raven_merged", detections), sep="\t")
    assert list(table.columns) == [*RAVEN_COLUMNS, "Label", "Score", "Begin Path", "File Offset (s)"]
    assert table["Selection"].tolist() == [1, 2, 3]
    assert table["Begin Path"].tolist() == ["/field/a/b.wav", "/field/a/b.wav", "/field/c d.wav"]
    assert table["File Offset (s)"].tolist() == [0.0, 21_600.125, 1.5]
    assert table["Begin Time (s)"].tolist() == [0.0, 21_600.125, 2 * 60_000.5 + 1.5]
    assert table["End Time (s)"].tolist() == [3.0, 21_603.0, 2 * 60_000.5 + 2.0]
    files = (tmp_path / RAVEN_FILE_LIST).read_text(encoding="utf-8").splitlines()
    assert files == ["/field/a/b.wav", "/field/empty.wav", "/field/c d.wav"]


def test_kaleidoscope_finds_recordings_by_their_folders(tmp_path: Path) -> None:
    found = [Detection(1.5, 2.25, 'say "hi", dog', 0.75)]
    recordings = {"a/b/c.wav": Path("/field/a/b/c.wav"), "d.wav": Path("/field/d.wav"), "other/e": Path("/f/e.wav")}
    path = write_format(tmp_path, "kaleidoscope", dict.fromkeys(recordings, found), recordings=recordings)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,TOP1DIST,MANUAL ID",
        '/field,a/b,c.wav,1.500000,0.750000,"say ""hi"", dog",0.7500,',
        '/field,,d.wav,1.500000,0.750000,"say ""hi"", dog",0.7500,',
        '/f,,e.wav,1.500000,0.750000,"say ""hi"", dog",0.7500,',
    ]


def test_dcase_s_table_has_a_row_a_detection(tmp_path: Path) -> None:
    assert write_format(tmp_path, "dcase").read_text(encoding="utf-8").splitlines() == [
        "filename\tonset\toffset\tevent_label",
        "a/b.wav\t0.000000\t3.000000\tDog, big",
        "a/b.wav\t21600.125000\t21603.000000\t雨 drops",
    ]


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
    table = pd.read_parquet(write_format(tmp_path, "parquet", detections))
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
    for name in ("audacity", "raven"):
        folder = write_format(tmp_path, name, {clip: [] for clip in names})
        assert len(list((folder / "a").iterdir())) == len(names)
    assert stale_exports("raven", tmp_path / FORMATS["raven"][0], names) == []
