"""The benchmark of negatives trains with and without background, and counts false positives on it alone."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from benchmarks import negatives
from core.errors import UserError
from train.runs.checkpoint import load_checkpoint
from train.runs.seen_clips import hash_names


def write_esc50(root: Path) -> Path:
    """ESC-50's folder of two folds: two clips of each of three free classes a fold, half a second long."""
    folder, random, rows = root / "ESC-50", np.random.default_rng(0), []
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    for fold in (1, 2):
        for number, category in enumerate(["dog", "rain", "rooster"] * 2):
            name = f"{fold}-{number}-A-0.wav"
            soundfile.write(folder / "audio" / name, 0.1 * random.standard_normal(22_050), 44_100)
            rows.append((name, fold, 0, category, True, 10 * fold + number, "A"))
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "meta" / "esc50.csv", index=False)
    return folder


def test_false_positives_are_counted_with_and_without_negatives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(write_esc50(tmp_path)), "--cache", str(tmp_path / "cache"), "--background", "[rain]"]
    arguments += ["--epochs", "1", "--seeds", "[3]", "--jobs", "1"]
    negatives.main(arguments)
    printed = capsys.readouterr().out
    runs = tmp_path / "cache" / "negatives" / "runs"
    for setting in ("without negatives", "with negatives"):
        seed, mean = re.findall(rf"^{setting}, (?:seed 3|1 seeds): (.*)$", printed, re.M)
        assert seed == mean
        metrics = dict(part.rsplit(" ", 1) for part in seed.split(", "))
        given = float(metrics["false_positives_per_hour"]) * 4 * 5 / 3600
        assert given == pytest.approx(round(given), abs=1e-3), "a whole number of labels on four clips of 5 s"
        assert 0 <= float(metrics["recall"]) <= 1
        checkpoint = load_checkpoint(runs / f"{setting.replace(' ', '_')}_1epochs_seed3" / "fold1" / "best.pt")
        assert checkpoint.labels == ["dog", "rooster"]
        assert bool(torch.isin(hash_names(["2-1-A-0.wav"]), checkpoint.seen_clips)) is (setting == "with negatives")
    negatives.main(arguments)
    assert "loss" not in capsys.readouterr().out, "finished runs are not trained again"
    with pytest.raises(UserError, match=r"--background wind: no such class among \['dog', 'rain', 'rooster'\]"):
        negatives.main([*arguments[:4], "--background", "[wind]"])
