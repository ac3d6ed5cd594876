"""Clips that are known to have none of the labels, from their folder to the scores."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from core.csv_tables import read_table
from tests.make_commands import SMALL_RECIPE, run_in_process


def test_negatives_are_trained_on_and_scored(
    tmp_path: Path, tone_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tone_folders(clips=8)
    (data / "mid").rename(data / "_background")
    keys = f"{SMALL_RECIPE} --training.epochs 12"
    run_in_process(tmp_path, "features train predict score inspect", keys, data=data)
    printed = capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "submissions" / "demo" / "submission.csv", index_col="clip")
    assert list(submission.columns) == ["low, deep", "高い"]
    negatives = submission.index.str.startswith("_background/")
    assert negatives.sum() == 8
    assert submission[negatives].to_numpy().mean() < 0.5 < submission[~negatives].max(axis=1).mean()
    assert "24 of 24 clips" in printed
    assert "8 clips without a label are left out of lwlrap, and are negatives elsewhere" in printed
    assert "accuracy" not in printed
    n_false = int((submission[negatives] >= 0.5).to_numpy().sum())
    labels = {"low, deep": "low, deep", "高い": "高い"}
    for label, folder in labels.items():
        others = ~submission.index.str.startswith(f"{folder}/")
        (line,) = re.findall(rf"^{label} +(\d+) +(\d+) +(\d+)", printed, flags=re.M)[:1]
        assert int(line[2]) == (submission.loc[others, label] >= 0.5).sum() >= 0
    assert n_false <= 8
    clips = read_table(tmp_path / "cache" / "demo" / "clips.csv")
    assert (clips.loc[clips["clip"].str.startswith("_background/"), "labels"] == ";").all()
