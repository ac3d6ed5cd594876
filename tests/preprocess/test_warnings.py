"""Recordings that are read in part or look odd, as make features and make survey tell them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocess import survey
from tests.preprocess.feature_runs import arguments, make, start, store_path

SAMPLE_RATE_HZ = 16_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, with FLAC that breaks off, is damaged in the middle, or has a tag behind it; opposite channels."""
    random = np.random.default_rng(0)
    noise = random.uniform(-0.5, 0.5, 4 * SAMPLE_RATE_HZ)
    for label in ("low", "high"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(2):
            soundfile.write(tmp_path / "set" / label / f"{number}.wav", noise[: 8_000 + number], SAMPLE_RATE_HZ)
    low = tmp_path / "set" / "low"
    soundfile.write(low / "whole.flac", noise, SAMPLE_RATE_HZ)
    content = (low / "whole.flac").read_bytes()
    middle = len(content) // 2
    (low / "cut.flac").write_bytes(content[:-1_000])
    (low / "damaged.flac").write_bytes(content[:middle] + bytes(500) + content[middle + 500 :])
    (low / "tagged.flac").write_bytes(content + b"TAG" + bytes(125))
    soundfile.write(low / "opposite.wav", np.stack([noise, -noise], axis=1), SAMPLE_RATE_HZ)
    return tmp_path / "set"


def test_make_features_tells_and_keeps_it(folder: Path) -> None:
    process = start(folder)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    table_csv = store_path(folder).with_name("warnings.csv")
    assert "3 recordings are to be checked (low/cut.flac: " in printed
    assert str(table_csv) in printed
    table = pd.read_csv(table_csv).set_index("clip")
    assert table.index.tolist() == ["low/cut.flac", "low/damaged.flac", "low/opposite.wav"]
    assert table["path"].tolist() == [str(folder / clip) for clip in table.index]
    assert "breaks off at 3." in table["warning"]["low/cut.flac"]
    assert "from 1." in table["warning"]["low/damaged.flac"]
    assert "opposite phase" in table["warning"]["low/opposite.wav"]
    with h5py.File(store_path(folder)) as file:
        lengths_s = dict(zip((clip.decode() for clip in file["clip"]), file["duration_s"], strict=True))
    assert lengths_s["low/damaged.flac"] == lengths_s["low/tagged.flac"] == 4.0
    table_csv.unlink()
    assert make(folder) == 0  # nothing is computed, all is told again
    assert len(pd.read_csv(table_csv)) == 3
    for name in ("cut.flac", "damaged.flac", "opposite.wav"):
        (folder / "low" / name).unlink()
    make(folder)
    assert not table_csv.exists()


def test_a_chosen_channel_is_what_is_read(folder: Path) -> None:
    make(folder, "mean")
    make(folder, "right", "--features.channel", "right")
    warned = [pd.read_csv(store_path(folder, name).with_name("warnings.csv"))["clip"] for name in ("mean", "right")]
    assert ["low/opposite.wav" in clips.tolist() for clips in warned] == [True, False]
    assert make(folder, "second", "--features.channel", "1", "--max_failures", "1") == 0
    failed = pd.read_csv(store_path(folder, "second").with_name("failed.csv"))
    assert "no channel 1 (features.channel)" in failed["reason"][0]
    with h5py.File(store_path(folder, "second")) as file:
        assert file["clip"][:].tolist() == [b"low/opposite.wav"]


def test_make_survey_tells_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = arguments(folder)
    survey.main(command)
    printed = capsys.readouterr().out
    assert "! recordings to check: 3" in printed
    assert "low/cut.flac: it breaks off at 3." in printed
    recordings = json.loads((store_path(folder).with_name("survey.json")).read_text(encoding="utf-8"))["recordings"]
    assert sum(bool(one["warning"]) for one in recordings) == 3
