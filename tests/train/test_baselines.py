"""make baselines: the command a user types, its table against slow second reckoning, and data of several labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from errors import BadInput
from tests.typed import make
from train.baselines import NEIGHBOURS, Study, choose_k, main
from train.simple_inputs import SIZES

KEYS = ["--training.crop_seconds", "0.5", "--features.rate_hz", "16000", "--jobs", "1", "--neighbours", "8"]


def test_the_command_writes_a_table_and_a_plot(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    keys = "--data.layout folders --data.folds 2 --features.rate_hz 16000"
    printed = make(tmp_path, "baselines", keys, RECIPE="esc50", DATA=tone_folders(clips=6), JOBS=2)
    home = tmp_path / "cache" / "esc50"
    table = pd.read_csv(home / "baselines.csv")
    assert set(table["input"]) == set(SIZES)
    assert set(table["model"]) == {"class average", "logistic regression", NEIGHBOURS}
    assert len(table) == 12
    assert (table["score"] == table["accuracy"]).all()
    assert table.loc[table["input"] == "fft", "score"].min() > 0.8, "tones are told apart by their spectra"
    assert (table["lowest_fold"] <= table["score"]).all() and (table["score"] <= table["highest_fold"]).all()
    assert (home / "baselines.png").read_bytes().startswith(b"\x89PNG")
    assert "spectrogram" in printed


def write_several(folder: Path) -> None:
    """Clips of one or two tones, with a table of their labels, one clip noisy and one broken."""
    random = np.random.default_rng(0)
    time_s = np.arange(8_000) / 16_000
    rows = ["fname,labels,trust"]
    for number in range(24):
        here = [hz for hz in (400, 1_500, 5_000) if random.random() < 0.5] or [400]
        sound = sum(0.2 * np.sin(2 * np.pi * hz * time_s) for hz in here) + 0.01 * random.standard_normal(8_000)
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
        rows.append(f"{number}.wav,{';'.join(map(str, here))},{'noisy' if number == 5 else 'curated'}")
    (folder / "7.wav").write_bytes(b"<html>")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")


def test_several_labels_a_clip_are_scored_by_lwlrap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_several(tmp_path)
    keys = f"--data.layout csv --data.folder {tmp_path} --data.folds 3 --cache {tmp_path}/c"
    main([*KEYS, *keys.split()])
    said = capsys.readouterr()
    assert "22 clips, 3 labels, 3 folds" in said.out
    assert "7.wav is left out" in said.err
    table = pd.read_csv(tmp_path / "c" / "recipe" / "baselines.csv")
    assert table["accuracy"].isna().all()
    assert (table["score"] == table["lwlrap"]).all()
    assert table.loc[table["input"] == "spectrogram", "map"].min() > 0.95


def test_fewer_clips_are_drawn_by_the_seed(
    tmp_path: Path, tone_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--data.folder",
        str(tone_folders(clips=6)),
        "--data.folds",
        "2",
        "--cache",
        str(tmp_path),
        "--clips",
        "9",
    ]
    tables = []
    for _ in range(2):
        main([*KEYS, *options])
        assert "9 clips" in capsys.readouterr().out
        tables.append((tmp_path / "recipe" / "baselines.csv").read_text())
    assert tables[0] == tables[1]


def test_no_clip_chooses_its_own_k() -> None:
    hot = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    scores = np.stack([hot, 1 - hot, hot])
    scores[0, :2] = 1 - hot[:2]  # k = 1 fails in fold 0, k = 2 everywhere, k = 3 nowhere
    chosen, ks = choose_k(Study({}, hot, np.array([0, 0, 1, 1])), scores)
    assert ks == "1 3", "fold 1, where k = 1 is right, chooses it for fold 0"
    assert (chosen[:2] == 1 - hot[:2]).all() and (chosen[2:] == hot[2:]).all()


def test_clips_of_one_fold_are_refused(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match="two folds"):
        main([*KEYS, "--data.folder", str(tone_folders(clips=2)), "--data.folds", "2", "--clips", "1"])
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    (tmp_path / "cache").touch()
    options = ["--data.folder", str(tone_folders(clips=4)), "--data.folds", "2", "--cache", str(tmp_path / "cache")]
    with pytest.raises(BadInput, match="cannot be written"):
        main([*KEYS, *options])
