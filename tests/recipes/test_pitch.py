"""The pitch recipes as they are, by the commands a user types, on seconds of tones whose names say their notes."""

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocess.dataset.loader import read_dataset
from recipe.cli import parse_command
from tests.make_commands import ROOT, run_in_process

SAMPLE_RATE_HZ = 22_050
SMALL_RECIPE = "--training.epochs 1 --training.batch_size 4 --data.folds 2"


def write_tones(folder: Path, names: list[str]) -> Path:
    """Two training instruments and a test instrument of different overtones, each playing every name."""
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for overtones, player in enumerate(("train/flute", "train/violin", "test/oboe"), 1):
        _write(folder / player, names, overtones, time_s)
    return folder


def _write(folder: Path, names: list[str], overtones: int, time_s: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name in names:
        sound = np.zeros(len(time_s))
        for hz in librosa.note_to_hz(name.split("+")):
            sound += sum(np.sin(2 * np.pi * hz * n * time_s) / n for n in range(1, overtones + 1))
        soundfile.write(folder / f"{name}_1.wav", 0.1 * sound, SAMPLE_RATE_HZ)


def test_notes_by_their_names_become_a_submission_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_tones(tmp_path / "tones", ["A3", "C3", "G3"])
    run_in_process(tmp_path, "features train predict inspect", SMALL_RECIPE, "pitch", data=data)
    printed = capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "submissions" / "pitch" / "submission.csv")
    assert list(submission.columns) == ["clip", "C3", "G3", "A3"]
    assert set(submission["clip"]) == {f"test/oboe/{name}_1.wav" for name in ("A3", "C3", "G3")}
    assert "accuracy" in printed
    page = (tmp_path / "submissions" / "pitch" / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix" in page
    assert "Top losses" in page


@pytest.mark.parametrize(
    ("recipe", "names", "labels"),
    [
        ("pitch_twelve", ["A3", "C#4", "A5"], ["C#", "A"]),
        ("pitch_chords", ["A3+C4", "C5+E3", "E4"], ["C", "E", "A"]),
    ],
)
def test_the_later_stages_learn_pitch_classes_of_any_octave(
    tmp_path: Path, recipe: str, names: list[str], labels: list[str]
) -> None:
    for name in names:
        for player in ("train/flute", "train/violin", "test/oboe"):
            (tmp_path / player).mkdir(parents=True, exist_ok=True)
            (tmp_path / player / f"{name}_1.wav").touch()
    keys = ["--recipe", str(ROOT / "recipes" / f"{recipe}.yaml"), "--data.folder", str(tmp_path), "--data.folds", "2"]
    dataset = read_dataset(parse_command(keys, "test").recipe.data)
    assert dataset.vocabulary == labels
    assert dataset.table.groupby("split")["group"].unique().map(set).to_dict() == {
        "test": {"oboe"},
        "train": {"flute", "violin"},
    }
